//! Imports between the modules of a crate.
//!
//! A path of a `use`, an expression, a type or the arguments of a macro is an import of the module
//! that defines its target: re-exports are followed, so that `crate::Graph` imports the
//! module `graph` where the root of the crate says `pub use graph::Graph`, and not the root. The
//! re-export itself is an import only where its own module uses the name.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::source::{self, Crate, Module, Place, Use};

/// One module names something of another one.
pub struct Import {
    pub from: Place,
    pub to: Place,
    /// File and line.
    pub at: String,
}

/// All imports of a crate.
pub fn imports(all: &Crate) -> Vec<Import> {
    all.modules().flat_map(|m| of_module(all, m)).collect()
}

fn of_module(all: &Crate, module: &Module) -> Vec<Import> {
    let mut mentions = Mentions {
        module,
        found: Vec::new(),
    };
    let own = module.uses.iter().filter(|u| !u.exported);
    let own = own.map(|u| (u.path.clone(), u.line));
    mentions.found.extend(own);
    for item in &module.items {
        mentions.visit_item(item);
    }
    let mut imports: Vec<Import> = mentions
        .found
        .into_iter()
        .filter_map(|(path, line)| {
            let to = all.definition(&all.absolute(module, &path)?);
            (to != module.place).then(|| Import {
                from: module.place.clone(),
                to,
                at: format!("{}:{line}", module.file.display()),
            })
        })
        .collect();
    imports.dedup_by(|a, b| a.to == b.to && a.at == b.at);
    imports
}

/// The paths that the code of a module names, with their lines.
struct Mentions<'a> {
    module: &'a Module,
    found: Vec<(Vec<String>, usize)>,
}

impl Mentions<'_> {
    /// Notes a path that may be an import. Of a name without a path, one that the module
    /// re-exports counts: other imports stand in its `use` lines. In lower case it may be a
    /// variable, so it has to be called.
    fn note(&mut self, path: Vec<String>, line: usize, called: bool) {
        let first = path[0].as_str();
        let exported = |u: &Use| u.exported && u.name.as_deref() == Some(first);
        let exported = self.module.uses.iter().any(exported);
        let counts = if path.len() == 1 {
            exported && (called || first.starts_with(char::is_uppercase))
        } else {
            let keyword = ["crate", "super", "self"].contains(&first);
            keyword || exported || self.module.children.contains(first)
        };
        if counts {
            self.found.push((path, line));
        }
    }

    /// Notes the paths among the arguments of a macro, which are tokens only.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Punct(p) if p.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Ident(name) if colons == 2 => {
                    path.push(name.to_string());
                    colons = 0;
                }
                other => {
                    if !path.is_empty() {
                        let called = matches!(other, TokenTree::Group(_));
                        self.note(std::mem::take(&mut path), line, called);
                    }
                    colons = 0;
                    match other {
                        TokenTree::Ident(name) => {
                            line = name.span().start().line;
                            path.push(name.to_string());
                        }
                        TokenTree::Group(group) => self.note_tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        if !path.is_empty() {
            self.note(path, line, false);
        }
    }
}

/// The names of a path, and its line.
fn parts(path: &syn::Path) -> (Vec<String>, usize) {
    let names = path.segments.iter().map(|s| s.ident.to_string());
    let line = path.segments[0].ident.span().start().line;
    (names.collect(), line)
}

impl<'ast> Visit<'ast> for Mentions<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !source::is_test(source::attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let names = source::uses(item);
        self.found
            .extend(names.into_iter().map(|u| (u.path, u.line)));
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && function.path.segments.len() == 1
        {
            let (names, line) = parts(&function.path);
            self.note(names, line, true);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let (names, line) = parts(path);
            self.note(names, line, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.note_tokens(call.tokens.clone());
    }

    /// The path of `pub(super)` is no import.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}
