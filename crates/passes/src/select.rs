//! The convolutions that the user means.

use globset::{Glob, GlobMatcher};
use sepconv_analysis::constants::Sight;

use crate::error::PassError;

/// Layer names chosen by globs: in one of `layers` (all where it is empty) and in none of
/// `skip`. `*` matches any characters, `/` included.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The prefix of the labels of the graph's operators in the names of layers.
    scope: String,
    sight: Sight,
    layers: Vec<GlobMatcher>,
    skip: Vec<GlobMatcher>,
}

impl Selection {
    /// Compiles globs.
    ///
    /// # Errors
    /// [`PassError::Glob`] names the glob that is not valid.
    pub fn new<S: AsRef<str>>(layers: &[S], skip: &[S]) -> Result<Self, PassError> {
        Ok(Self {
            scope: String::new(),
            sight: Sight::Plain,
            layers: compile(layers)?,
            skip: compile(skip)?,
        })
    }

    /// The globs as given: of the layers that are meant, and of those that are not.
    pub fn globs(&self) -> (Vec<String>, Vec<String>) {
        let text = |globs: &[GlobMatcher]| globs.iter().map(|g| g.glob().glob().into()).collect();
        (text(&self.layers), text(&self.skip))
    }

    /// The same globs for a graph within the model: the layers of its convolutions are called
    /// `<scope>/<label>`.
    #[must_use]
    pub fn within(&self, scope: &str) -> Self {
        Self {
            scope: format!("{scope}/"),
            ..self.clone()
        }
    }

    /// The same layers, those of quantised weights among them or not.
    #[must_use]
    pub fn quantized(self, too: bool) -> Self {
        let sight = if too { Sight::Quantized } else { Sight::Plain };
        Self { sight, ..self }
    }

    /// The operators that weights are seen through.
    pub fn sight(&self) -> Sight {
        self.sight
    }

    /// The name of the layer of an operator's label.
    pub fn layer(&self, label: &str) -> String {
        format!("{}{label}", self.scope)
    }

    /// True where the layer of an operator's label is selected.
    pub fn includes(&self, label: &str) -> bool {
        let name = &self.layer(label);
        (self.layers.is_empty() || self.layers.iter().any(|g| g.is_match(name)))
            && !self.skip.iter().any(|g| g.is_match(name))
    }

    /// Checks that every glob matches at least one of `names`, so that a misspelt one does
    /// not pass in silence.
    ///
    /// # Errors
    /// [`PassError::NoMatch`] names the first that matches nothing.
    pub fn check<S: AsRef<str>>(&self, names: &[S]) -> Result<(), PassError> {
        let dead = self
            .layers
            .iter()
            .chain(&self.skip)
            .find(|g| g.glob().glob() != "*" && !names.iter().any(|n| g.is_match(n.as_ref())));
        dead.map_or(Ok(()), |g| {
            Err(PassError::NoMatch {
                glob: g.glob().glob().to_owned(),
                convolutions: names.len(),
                example: names
                    .first()
                    .map_or(String::new(), |n| format!(" (such as '{}')", n.as_ref())),
            })
        })
    }
}

fn compile<S: AsRef<str>>(globs: &[S]) -> Result<Vec<GlobMatcher>, PassError> {
    let matcher = |text: &S| {
        let text = text.as_ref();
        // A layer whose very name looks like a glob can be named as it is.
        Glob::new(text)
            .map(|g| g.compile_matcher())
            .map_err(|e| PassError::Glob {
                glob: text.to_owned(),
                reason: e.kind().to_string(),
            })
    };
    globs.iter().map(matcher).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn globs_select_and_skip() {
        let s = Selection::new(&["stage*"], &["*conv1"]).unwrap();
        assert!(s.includes("stage1/conv2"));
        assert!(!s.includes("stage1/conv1"));
        assert!(!s.includes("head"));
        assert!(Selection::default().includes("anything"));
    }

    #[test]
    fn globs_see_where_a_layer_is() {
        let s = Selection::new(&[], &["if/then*"]).unwrap();
        assert!(!s.within("if/then_branch").includes("conv"));
        assert!(s.within("if/else_branch").includes("conv"));
        assert!(s.includes("conv"));
        assert_eq!(
            s.within("if/else_branch").layer("conv"),
            "if/else_branch/conv"
        );
    }

    #[test]
    fn a_glob_without_a_match_is_an_error() {
        let s = Selection::new(&["stge*"], &[]).unwrap();
        let err = s.check(&["stage1", "stage2"]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "layer glob 'stge*' matches none of the 2 convolutions (such as 'stage1')"
        );
        assert!(Selection::new(&["["], &[]).is_err());
    }
}
