//! No circle of imports spans more than two modules of a folder.
//!
//! The rule holds among the modules that stand side by side in a crate or in a folder of it, the
//! folder's own file (`lib.rs`, `mod.rs`) included; a module stands for all that it declares. Test
//! code is left out. `imports.rs` defines an import.
#![allow(clippy::unwrap_used)]

mod circles;
mod imports;
mod source;

use std::path::{Path, PathBuf};

use source::Crate;

/// Crates in which circles are still to be broken.
const EXCEPTIONS: [&str; 0] = [];

/// Modules of a circle that are taken for one concept in two files.
const ALLOWED: usize = 2;

/// The circles of a crate that are too long, each with the lines of its imports.
fn complaints(root: &Path) -> Vec<String> {
    let all = Crate::read(root);
    let imports = imports::imports(&all);
    let folders = all.modules().filter(|m| !m.children.is_empty());
    let circles = folders.flat_map(|m| circles::circles(&imports, &m.place));
    let name = |place: &[String]| format!("crate::{}", place.join("::"));
    let long = circles.filter(|c| c.modules.len() > ALLOWED).map(|c| {
        let modules: Vec<String> = c.modules.iter().map(|m| name(m)).collect();
        let lines = c.imports.iter();
        let lines = lines.map(|i| format!("  {}: {} -> {}\n", i.at, name(&i.from), name(&i.to)));
        let lines: String = lines.collect();
        format!("{} import one another:\n{lines}", modules.join(", "))
    });
    long.collect()
}

/// The root files of all crates but the exceptions.
fn roots() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = std::fs::read_dir(crates.canonicalize().unwrap()).unwrap();
    let folders = folders.map(|entry| entry.unwrap());
    let folders = folders.filter(|e| !EXCEPTIONS.contains(&e.file_name().to_str().unwrap()));
    let files = folders.flat_map(|e| ["src/lib.rs", "src/main.rs"].map(|f| e.path().join(f)));
    files.filter(|f| f.is_file()).collect()
}

#[test]
fn modules_import_one_another_one_way() {
    let roots = roots();
    assert!(roots.len() > 5, "crates were not found: {roots:?}");
    let found: Vec<String> = roots.iter().flat_map(|r| complaints(r)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The complaints about a crate of these files.
fn complaints_of(files: &[(&str, &str)]) -> Vec<String> {
    let scratch = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = scratch.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let found = complaints(&scratch.path().join("lib.rs"));
    let folder = format!("{}/", scratch.path().display());
    found.iter().map(|c| c.replace(&folder, "")).collect()
}

#[test]
fn a_circle_of_three_is_named_with_its_lines() {
    let found = complaints_of(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "pub struct B;\nfn f() { super::c::f() }"),
        ("c.rs", "pub fn f() { assert!(true, \"{}\", crate::a::A); }"),
        ("d.rs", "use crate::a::A;"),
    ]);
    let expected = "crate::a, crate::b, crate::c import one another:\n  \
        a.rs:1: crate::a -> crate::b\n  \
        b.rs:2: crate::b -> crate::c\n  \
        c.rs:1: crate::c -> crate::a\n";
    assert_eq!(found, [expected]);
}

#[test]
fn two_modules_may_import_one_another() {
    let found = complaints_of(&[
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use crate::b::B;\npub struct A;"),
        ("b.rs", "use crate::a::A;\npub struct B;"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn reexports_lead_to_what_they_stand_for() {
    let files = |lib: &'static str| {
        [
            ("lib.rs", lib),
            ("a.rs", "use crate::{B, own};\npub struct A(B);"),
            ("b/mod.rs", "mod inner;\npub use inner::*;"),
            ("b/inner.rs", "use crate::own;\npub struct B;"),
        ]
    };
    let facade = "mod a;\nmod b;\npub use a::A;\npub use b::B;\npub fn own() {}";
    assert_eq!(complaints_of(&files(facade)), [""; 0]);
    let user = "mod a;\nmod b;\npub use a::A;\npub use b::B;\npub fn own() -> (A, B) {}";
    let found = complaints_of(&files(user));
    assert_eq!(found.len(), 1, "{found:?}");
    let lines = [
        "lib.rs:5: crate:: -> crate::b::inner",
        "a.rs:1: crate::a -> crate::\n",
    ];
    assert!(lines.iter().all(|l| found[0].contains(l)), "{found:?}");
}

#[test]
fn folders_are_looked_into_and_tests_are_not() {
    let checked = |attribute: &str| {
        let c = format!("mod inner {{\n{attribute}\nuse super::super::A;\n}}");
        complaints_of(&[
            ("lib.rs", "mod f;"),
            ("f.rs", "mod a;\nmod b;\nmod c;\npub use a::A;"),
            ("f/a.rs", "use super::b::{self, B};\npub struct A;"),
            ("f/b.rs", "pub struct B(super::c::C);"),
            ("f/c.rs", &c),
        ])
    };
    assert_eq!(checked("#[cfg(test)]"), [""; 0]);
    let found = checked("#[cfg(not(test))]");
    assert_eq!(found.len(), 1);
    let line = "f/c.rs:3: crate::f::c::inner -> crate::f::a";
    assert!(found[0].contains(line), "{found:?}");
}
