//! Circles of imports within one folder of modules.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::Import;
use crate::source::Place;

/// Modules of one folder that import one another, directly or through others.
pub struct Circle<'a> {
    pub modules: Vec<Place>,
    /// The imports between two of them.
    pub imports: Vec<&'a Import>,
}

/// The circles among the modules of `folder` and the folder's own file. A module stands for all
/// that it declares.
pub fn circles<'a>(imports: &'a [Import], folder: &Place) -> Vec<Circle<'a>> {
    let between: Vec<(&[String], &[String], &Import)> = imports
        .iter()
        .filter_map(|i| Some((member(&i.from, folder)?, member(&i.to, folder)?, i)))
        .filter(|(from, to, _)| from != to)
        .collect();
    let mut arrows: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (from, to, _) in &between {
        arrows.entry(from).or_default().insert(to);
    }
    let starts = arrows.keys();
    let reached: BTreeMap<_, _> = starts.map(|m| (*m, reachable(&arrows, m))).collect();
    let mut found: Vec<Circle> = Vec::new();
    for (module, reach) in &reached {
        let known = found.iter().any(|c| c.modules.iter().any(|m| m == module));
        if known || !reach.contains(module) {
            continue;
        }
        let back = |other: &[String]| reached.get(other).is_some_and(|r| r.contains(module));
        let together: BTreeSet<_> = reach.iter().copied().filter(|m| back(m)).collect();
        let inside = between.iter();
        let inside = inside.filter(|(a, b, _)| together.contains(a) && together.contains(b));
        found.push(Circle {
            modules: together.iter().map(|m| m.to_vec()).collect(),
            imports: inside.map(|(_, _, import)| *import).collect(),
        });
    }
    found
}

/// The module of `folder` that `place` is in: the folder itself for its own file.
fn member<'a>(place: &'a Place, folder: &Place) -> Option<&'a [String]> {
    let inside = place.starts_with(folder);
    inside.then(|| &place[..place.len().min(folder.len() + 1)])
}

/// The modules that one arrow or more lead to from `start`.
fn reachable<'a>(
    arrows: &BTreeMap<&'a [String], BTreeSet<&'a [String]>>,
    start: &'a [String],
) -> BTreeSet<&'a [String]> {
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(module) = open.pop() {
        let next = arrows.get(module).into_iter().flatten();
        open.extend(next.filter(|m| seen.insert(**m)));
    }
    seen
}
