//! Labels and class names.

use std::path::Path;

use crate::convert::to_i64;
use crate::error::DataError;
use crate::table::Table;

/// The class names of a file, one a line; blank lines at the end are dropped.
pub(crate) fn read_classes(path: &Path) -> Result<Vec<String>, DataError> {
    let bytes = std::fs::read(path).map_err(DataError::io(path, "read"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| DataError::malformed(path, "class names in UTF-8", "other bytes"))?;
    let names: Vec<String> = text
        .trim_end()
        .lines()
        .map(|l| l.trim().to_string())
        .collect();
    let mut seen = std::collections::HashSet::new();
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() || !seen.insert(name) {
            return Err(DataError::malformed(
                path,
                "one class folder name per line, each once",
                format!("'{name}' at line {}", i + 1),
            ));
        }
    }
    if names.is_empty() {
        return Err(DataError::malformed(path, "class names", "none"));
    }
    Ok(names)
}

/// The labels of `rows` samples from an integer array of shape `[rows]` or `[rows, 1]`.
pub(crate) fn from_table(path: &Path, table: &Table, rows: usize) -> Result<Vec<i64>, DataError> {
    let wrong = |expected: String, found: String| {
        Err(DataError::mismatch(path, &table.what, expected, found))
    };
    if !table.dtype.is_int() {
        return wrong("integer labels".into(), table.dtype.to_string());
    }
    if table.shape != [rows] && table.shape != [rows, 1] {
        return wrong(
            format!("shape [{rows}], one label per sample"),
            format!("{:?}", table.shape),
        );
    }
    let all: Vec<usize> = (0..rows).collect();
    to_i64(&table.read(&all)?)
        .ok_or_else(|| DataError::mismatch(path, &table.what, "labels within i64", "larger ones"))
}

/// Checks that every label is an output index.
pub(crate) fn check_range(
    path: &Path,
    labels: &[i64],
    class_count: Option<usize>,
) -> Result<(), DataError> {
    let end = class_count.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
    match labels.iter().position(|l| !(0..end).contains(l)) {
        None => Ok(()),
        Some(i) => Err(DataError::mismatch(
            path,
            format!("label of sample {i}"),
            class_count.map_or("0 or more".to_string(), |n| {
                format!("0 to {}", n.saturating_sub(1))
            }),
            labels[i],
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sepconv_ir::Tensor;

    #[test]
    fn class_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("classes.txt");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_classes(&path)
        };
        assert_eq!(read("b\r\na \n\n").unwrap(), ["b", "a"]);
        for (bad, part) in [
            ("a\n\nb", "line 2"),
            ("a\nb\na", "'a' at line 3"),
            ("\n", "none"),
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn labels_are_checked() {
        let path = Path::new("a.npz");
        let table = |array| Table::from_array(path, "array 'labels'".into(), array).unwrap();
        let good = table(Tensor::from_slice(&[3], &[2u8, 0, 1]).unwrap());
        assert_eq!(from_table(path, &good, 3).unwrap(), [2, 0, 1]);
        assert!(from_table(path, &good, 4).is_err());
        let float = table(Tensor::from_f32(vec![1], vec![1.0]));
        assert!(from_table(path, &float, 1).is_err());
        assert!(check_range(path, &[0, 9], Some(10)).is_ok());
        assert!(check_range(path, &[-1], None).is_err());
        let error = check_range(path, &[0, 10], Some(10)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.npz: label of sample 1: expected 0 to 9, found 10"
        );
    }
}
