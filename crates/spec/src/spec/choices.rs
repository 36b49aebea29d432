//! Options with a few named values.

use crate::calibration::Effort;
use sepconv_model::Task;
use sepconv_passes::{Lowering, Order, lowering};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Defines such an option's values with their names.
macro_rules! choices {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident { $($(#[doc = $help:literal])+ $value:ident = $text:literal,)+ }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
        pub enum $name {
            $($(#[doc = $help])+ #[cfg_attr(feature = "clap", value(name = $text))] $value,)+
        }

        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The name of the value.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                let found = Self::ALL.iter().find(|value| value.name() == text);
                found.copied().ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|value| value.name()).collect();
                    let (text, known) = (text.escape_debug(), known.join(", "));
                    de::Error::custom(format!("there is no '{text}' (there are {known})"))
                })
            }
        }
    )+};
}

choices! {
    /// The inputs that layers are fitted to without data.
    DataFreeChoice {
        /// Synthetic pictures with the statistics of natural ones
        Pictures = "pictures",
        /// The weights alone
        Weights = "weights",
    }

    /// Work that is spent on fits.
    EffortChoice {
        /// About a third of the usual work
        Quick = "quick",
        /// The usual work
        Normal = "normal",
        /// About three times the usual work
        Thorough = "thorough",
    }

    /// The numbers that the result computes in.
    PrecisionChoice {
        /// Those of the model's weights
        F32 = "f32",
        /// Eight bits, with separable forms where both together are faster
        Int8 = "int8",
        /// Eight bits where they are faster on the runtime and keep the budget that is judged, else floats
        Auto = "auto",
    }

    /// The order of the depthwise and the pointwise convolution that is allowed.
    OrderChoice {
        /// Depthwise, then pointwise
        DwPw = "dw-pw",
        /// Pointwise, then depthwise
        PwDw = "pw-dw",
        /// The better one for each layer
        Best = "best",
    }

    /// The purpose of a model.
    TaskChoice {
        /// By the outputs: their shapes, names and values
        Auto = "auto",
        /// Classes of whole samples
        Classify = "classify",
        /// Boxes with classes and scores
        Detect = "detect",
        /// A class for every position
        Segment = "segment",
        /// Pictures
        Restore = "restore",
        /// A class for every step: lines of text, phonemes
        Sequence = "sequence",
        /// Labels of which a sample may have several
        Tag = "tag",
        /// Vectors whose directions tell how alike samples are
        Embed = "embed",
        /// Numbers, each on its own scale
        Regress = "regress",
    }

    /// How separable convolutions are written into the graph.
    LoweringChoice {
        /// K depthwise and K pointwise convolutions, summed
        Branches = "branches",
        /// K depthwise convolutions, concatenated, one pointwise
        Concat = "concat",
        /// The input K times, one depthwise, one pointwise
        Tiled = "tiled",
        /// One depthwise of multiplier K, one pointwise
        Fused = "fused",
        /// As branches, filters reading maps that were padded before: for tract (opset 9)
        BranchesPadded = "branches-padded",
        /// As tiled, so padded
        TiledPadded = "tiled-padded",
        /// As fused, so padded
        FusedPadded = "fused-padded",
        /// As branches, PW->DW, the input padded once before everything
        BranchesInputPadded = "branches-input-padded",
        /// As fused, the input padded before the first pointwise
        FusedInputPadded = "fused-input-padded",
        /// The form that runs fastest on most runtimes
        Auto = "auto",
    }
}

impl From<OrderChoice> for Order {
    fn from(order: OrderChoice) -> Self {
        match order {
            OrderChoice::DwPw => Self::DwPw,
            OrderChoice::PwDw => Self::PwDw,
            OrderChoice::Best => Self::Best,
        }
    }
}

impl From<EffortChoice> for Effort {
    fn from(effort: EffortChoice) -> Self {
        match effort {
            EffortChoice::Quick => Self::Quick,
            EffortChoice::Normal => Self::Normal,
            EffortChoice::Thorough => Self::Thorough,
        }
    }
}

impl From<TaskChoice> for Task {
    fn from(task: TaskChoice) -> Self {
        match task {
            TaskChoice::Auto => Self::Auto,
            TaskChoice::Classify => Self::Classify,
            TaskChoice::Detect => Self::Detect,
            TaskChoice::Segment => Self::Segment,
            TaskChoice::Restore => Self::Restore,
            TaskChoice::Sequence => Self::Sequence,
            TaskChoice::Tag => Self::Tag,
            TaskChoice::Embed => Self::Embed,
            TaskChoice::Regress => Self::Regress,
        }
    }
}

impl LoweringChoice {
    /// The lowering of that name; `None` chooses by itself.
    pub fn lowering(self) -> Option<&'static dyn Lowering> {
        lowering(self.name())
    }
}
