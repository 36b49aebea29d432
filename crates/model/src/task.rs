//! The task of a model.

use serde::{Serialize, Serializer};

/// The task of a model, by which its outputs are measured against the original's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Task {
    /// By the outputs: their shapes, names and values.
    #[default]
    Auto,
    /// Classes of whole samples.
    Classify,
    /// Boxes of objects with their classes and scores.
    Detect,
    /// A class for every position.
    Segment,
    /// Pictures.
    Restore,
    /// A class for every step of a sequence: the characters of a line of text.
    Sequence,
    /// Labels of which a sample may have several.
    Tag,
    /// Vectors whose directions tell how alike samples are.
    Embed,
    /// Numbers, each on its own scale.
    Regress,
}

impl Task {
    /// The name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Classify => "classify",
            Self::Detect => "detect",
            Self::Segment => "segment",
            Self::Restore => "restore",
            Self::Sequence => "sequence",
            Self::Tag => "tag",
            Self::Embed => "embed",
            Self::Regress => "regress",
        }
    }
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}
