//! Names of files that stand for one another in different places.

use std::collections::HashMap;
use std::path::Path;

/// Positions of files by their names: paths with `/`, from the folder of a data set or from elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Names {
    whole: HashMap<String, usize>,
    /// By the last part of the path; `None` where several have it.
    last: HashMap<String, Option<usize>>,
}

impl Names {
    /// Of names in their order.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for (i, name) in names.enumerate() {
            let name = plain(name);
            let last = all.last.entry(last(&name).to_owned());
            last.and_modify(|known| *known = None).or_insert(Some(i));
            all.whole.insert(name, i);
        }
        all
    }

    /// The position of the same path, else of the only one with the same last part.
    pub fn find(&self, name: &str) -> Option<usize> {
        let name = plain(name);
        let whole = self.whole.get(&name).copied();
        whole.or_else(|| self.last.get(last(&name)).copied().flatten())
    }
}

/// The path of a file below a folder, with `/`.
pub(crate) fn below(folder: &Path, file: &Path) -> String {
    let below = file.strip_prefix(folder).unwrap_or(file);
    slashed(&below.to_string_lossy())
}

fn slashed(name: &str) -> String {
    name.replace('\\', "/")
}

fn plain(name: &str) -> String {
    slashed(name).trim_start_matches("./").to_owned()
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_path_counts_before_its_last_part() {
        let names = Names::of(["a/x.png", "b/x.png", "val/y.png"].into_iter());
        assert_eq!(names.find("b\\x.png"), Some(1));
        assert_eq!(names.find("./a/x.png"), Some(0));
        assert_eq!(names.find("y.png"), Some(2));
        // Two could be meant.
        assert_eq!(names.find("x.png"), None);
        assert_eq!(names.find("z.png"), None);
    }
}
