//! Unique, readable, stable names.

use std::collections::HashSet;

/// A set of names in use that hands out new ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// Marks `name` as used; true where it was free.
    pub(crate) fn insert(&mut self, name: &str) -> bool {
        self.0.insert(name.to_owned())
    }

    /// Marks all names of `other` as used.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// Frees `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Takes `wanted`, or the first free of `wanted_1`, `wanted_2`, …
    pub(crate) fn fresh(&mut self, wanted: &str) -> String {
        if self.insert(wanted) {
            return wanted.to_owned();
        }
        for n in 1u64.. {
            let candidate = format!("{wanted}_{n}");
            if self.insert(&candidate) {
                return candidate;
            }
        }
        unreachable!("there are more numbers than names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_up() {
        let mut names = Names::default();
        assert_eq!(names.fresh("a/pw"), "a/pw");
        assert_eq!(names.fresh("a/pw"), "a/pw_1");
        assert_eq!(names.fresh("a/pw"), "a/pw_2");
        names.remove("a/pw");
        assert_eq!(names.fresh("a/pw"), "a/pw");
    }
}
