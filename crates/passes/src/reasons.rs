//! Counts of the reasons why layers stay.

use std::fmt;

use crate::kept::Kept;

/// Reasons why layers stay, each with the number of its layers, in the order of the first layers;
/// displays as one line, such as "3 x pointwise kernel, 1 x not selected".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reasons(Vec<(Kept, usize)>);

impl Reasons {
    /// The reasons, each once.
    pub fn kinds(&self) -> impl Iterator<Item = &Kept> {
        self.0.iter().map(|(kept, _)| kept)
    }
}

/// Counts reasons, one for each layer. Those of the same phrase are the same.
impl<'a> FromIterator<&'a Kept> for Reasons {
    fn from_iter<T: IntoIterator<Item = &'a Kept>>(reasons: T) -> Self {
        let mut counts: Vec<(Kept, usize)> = Vec::new();
        for kept in reasons {
            let phrase = kept.to_string();
            match counts.iter_mut().find(|(k, _)| k.to_string() == phrase) {
                Some((_, n)) => *n += 1,
                None => counts.push((kept.clone(), 1)),
            }
        }
        Self(counts)
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the model has none");
        }
        for (i, (kept, n)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{n} x {kept}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_by_their_phrase() {
        let memory = |needed| Kept::Memory {
            needed,
            allowed: 1 << 20,
        };
        let all = [
            memory((5 << 20) - 1),
            Kept::Quantized,
            memory((5 << 20) - 2),
        ];
        let reasons: Reasons = all.iter().collect();
        let line =
            "2 x a fit of it takes 5 MB of memory, 1 MB are allowed, 1 x weight is quantised";
        assert_eq!(reasons.to_string(), line);
        assert!(reasons.kinds().eq(&all[..2]));
        assert_eq!(Reasons::default().to_string(), "the model has none");
    }
}
