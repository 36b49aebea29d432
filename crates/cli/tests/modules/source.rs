//! Modules of a crate as its files declare them, test code left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::{Attribute, Item, ItemMod, ItemUse, Meta, Token, UseTree, Visibility};

/// The names from the root of a crate to a module; none for the root.
pub type Place = Vec<String>;

/// One module.
pub struct Module {
    pub place: Place,
    pub file: PathBuf,
    /// Its items but for `use`, the modules that it declares, and test code.
    pub items: Vec<Item>,
    pub children: BTreeSet<String>,
    /// Names of the items that it defines.
    defined: BTreeSet<String>,
    pub uses: Vec<Use>,
}

/// One name that a `use` brings in.
pub struct Use {
    /// The name here; none for a glob.
    pub name: Option<String>,
    /// The path as it is written.
    pub path: Vec<String>,
    pub line: usize,
    /// True where other modules may import it from here.
    pub exported: bool,
}

/// The modules of one crate.
pub struct Crate(BTreeMap<Place, Module>);

impl Crate {
    /// Reads the root file of a crate and all that it declares.
    pub fn read(root: &Path) -> Self {
        let mut all = Self(BTreeMap::new());
        all.add_file(root, root.parent().unwrap(), Place::new());
        all
    }

    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.0.values()
    }

    /// The path from the root of the crate that `path` means in `module`; none where it leads out
    /// of the crate.
    pub fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let base = match first.as_str() {
            "crate" => Place::new(),
            "self" => module.place.clone(),
            "super" => {
                let outer = module.place.split_last()?.1;
                let further = rest.iter().take_while(|s| *s == "super").count();
                let outer = &outer[..outer.len().checked_sub(further)?];
                return Some([outer, &rest[further..]].concat());
            }
            name if module.children.contains(name) => join(&module.place, first),
            _ => {
                let named = module
                    .uses
                    .iter()
                    .find(|u| u.name.as_ref() == Some(first))?;
                // `use serde::Serialize as serde` and the like lead out.
                if named.path.first() == Some(first) {
                    return None;
                }
                self.absolute(module, &named.path)?
            }
        };
        Some([&base, rest].concat())
    }

    /// The module that defines the item of `path`, which starts at the root of the crate.
    pub fn definition(&self, path: &[String]) -> Place {
        let mut module = &self.0[&Place::new()];
        for (i, name) in path.iter().enumerate() {
            if module.children.contains(name) {
                module = &self.0[&path[..=i]];
                continue;
            }
            let named = module.uses.iter().find(|u| u.name.as_ref() == Some(name));
            let target = match named {
                Some(used) => self.absolute(module, &used.path),
                None => self.through_globs(module, name),
            };
            return match target {
                Some(target) => self.definition(&[&target, &path[i + 1..]].concat()),
                None => module.place.clone(),
            };
        }
        module.place.clone()
    }

    /// The path of a name of another module of which `module` takes all names.
    fn through_globs(&self, module: &Module, name: &String) -> Option<Vec<String>> {
        if module.defined.contains(name) {
            return None;
        }
        let globs = module.uses.iter().filter(|u| u.name.is_none());
        let mut targets = globs.filter_map(|u| self.absolute(module, &u.path));
        targets.find_map(|target| {
            let target = self.definition(&target);
            let defined = self.0[&target].defined.contains(name);
            (defined && target != module.place).then(|| join(&target, name))
        })
    }

    fn add_file(&mut self, file: &Path, folder: &Path, place: Place) {
        let text = std::fs::read_to_string(file);
        let text = text.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let parsed = syn::parse_file(&text);
        let parsed = parsed.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        self.add(parsed.items, file, folder, place);
    }

    /// Adds a module; `folder` holds the files of those that it declares.
    fn add(&mut self, items: Vec<Item>, file: &Path, folder: &Path, place: Place) {
        let mut module = Module {
            place,
            file: file.to_owned(),
            items: Vec::new(),
            children: BTreeSet::new(),
            defined: BTreeSet::new(),
            uses: Vec::new(),
        };
        for item in items {
            if is_test(attributes(&item)) {
                continue;
            }
            module.defined.extend(defined(&item));
            match item {
                Item::Use(item) => module.uses.extend(uses(&item)),
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let below = join(&module.place, &name);
                    self.add_child(child, file, &folder.join(&name), below);
                    module.children.insert(name);
                }
                other => module.items.push(other),
            }
        }
        self.0.insert(module.place.clone(), module);
    }

    /// Adds a declared module, which is in `file` itself, or in the file or folder of its name.
    fn add_child(&mut self, child: ItemMod, file: &Path, folder: &Path, place: Place) {
        if let Some((_, items)) = child.content {
            return self.add(items, file, folder, place);
        }
        let flat = folder.with_extension("rs");
        let found = if flat.is_file() {
            flat
        } else {
            folder.join("mod.rs")
        };
        self.add_file(&found, folder, place);
    }
}

fn join(place: &[String], name: &str) -> Place {
    [place, &[name.to_owned()]].concat()
}

/// The names that a `use` brings in.
pub fn uses(item: &ItemUse) -> Vec<Use> {
    let mut found = Vec::new();
    let exported = !matches!(item.vis, Visibility::Inherited);
    add_leaves(&item.tree, Vec::new(), exported, &mut found);
    found
}

fn add_leaves(tree: &UseTree, mut path: Vec<String>, exported: bool, found: &mut Vec<Use>) {
    let mut leaf = |name: Option<String>, path: Vec<String>, span: Span| {
        let line = span.start().line;
        found.push(Use {
            name,
            path,
            line,
            exported,
        });
    };
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            add_leaves(&inner.tree, path, exported, found);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                add_leaves(tree, path.clone(), exported, found);
            }
        }
        UseTree::Name(name) if name.ident == "self" => {
            leaf(path.last().cloned(), path, name.ident.span());
        }
        UseTree::Name(name) => {
            path.push(name.ident.to_string());
            leaf(path.last().cloned(), path, name.ident.span());
        }
        UseTree::Rename(name) => {
            if name.ident != "self" {
                path.push(name.ident.to_string());
            }
            leaf(Some(name.rename.to_string()), path, name.ident.span());
        }
        UseTree::Glob(glob) => leaf(None, path, glob.star_token.spans[0]),
    }
}

/// True where an item with these attributes is compiled for tests alone.
pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            attribute.parse_args::<Meta>().is_ok_and(|m| needs_test(&m))
        }
        _ => false,
    })
}

fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if !list.path.is_ident("not") => {
            let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
            let parts = list.parse_args_with(parser);
            parts.is_ok_and(|p| p.iter().any(needs_test))
        }
        _ => false,
    }
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

/// The name that an item defines.
fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(i) => &i.ident,
        Item::Enum(i) => &i.ident,
        Item::Fn(i) => &i.sig.ident,
        Item::Macro(i) => i.ident.as_ref()?,
        Item::Mod(i) => &i.ident,
        Item::Static(i) => &i.ident,
        Item::Struct(i) => &i.ident,
        Item::Trait(i) => &i.ident,
        Item::Type(i) => &i.ident,
        _ => return None,
    };
    Some(name.to_string())
}
