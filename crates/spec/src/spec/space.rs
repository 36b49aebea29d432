//! The search space: the layers, and the forms that they may take.

use sepconv_factor::{WeightBits, families, family};
use sepconv_passes::{Families, Selection};
use serde::{Deserialize, Serialize};

use super::choices::{LoweringChoice, OrderChoice, PrecisionChoice};
#[cfg(feature = "clap")]
use super::heading::COMMON;
use super::{SpecError, values};

/// Which layers are rewritten, by which families, and how they are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Layers and their forms")
)]
pub struct SearchSpace {
    /// Order of the depthwise and the pointwise convolution
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Self::default().order))]
    pub order: OrderChoice,
    /// How separable convolutions are written into the graph
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Self::default().lowering))]
    pub lowering: LoweringChoice,
    /// Only layers whose names match (repeatable; * matches anything)
    #[serde(deserialize_with = "values::names")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "GLOB"))]
    pub layers: Vec<String>,
    /// All but the layers whose names match (repeatable); in eight bits they stay in floats
    #[serde(deserialize_with = "values::names")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "GLOB"))]
    pub skip: Vec<String>,
    /// Also quantise to eight bits (QDQ, from opset 13 on), form and precision planned together;
    /// needs --calib. The same as --precision int8
    #[cfg_attr(feature = "clap", arg(long, help_heading = COMMON, display_order = 15))]
    pub int8: bool,
    /// The numbers that the result computes in; all but f32 need --calib
    #[cfg_attr(
        feature = "clap",
        arg(long, value_enum, conflicts_with = "int8", default_value_t = Self::default().precision)
    )]
    pub precision: PrecisionChoice,
    /// In eight bits, raise a model of opset 7 to 12 to this one, which they need: 13
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(13..=13))
    )]
    pub opset: Option<i64>,
    /// In eight bits, bits that weights are rounded to: 7 where the model is deployed on x86 processors without
    /// VNNI, whose sums end at 16 bits [default: 8, or by measuring where this processor is one]
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(7..=8))
    )]
    pub weight_bits: Option<u8>,
    /// Rewrite convolutions of quantised weights (behind DequantizeLinear) too, with floats
    #[cfg_attr(feature = "clap", arg(long))]
    pub quantized: bool,
    /// Families to choose from: dw-pw, pw-dw, spatial, channel, tucker, cp [default: dw-pw and
    /// pw-dw with --rank or --energy, else all of these]; +lowrank adds 1x1 convolutions,
    /// Gemm and MatMul by low rank to the default, as + does for any name; none: eight bits alone
    #[serde(deserialize_with = "values::comma_separated")]
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "LIST", value_delimiter = ',')
    )]
    pub families: Vec<String>,
}

impl SearchSpace {
    /// The families.
    ///
    /// # Errors
    /// [`SpecError::Family`].
    pub fn families(&self) -> Result<Families, SpecError> {
        let asked = Families {
            order: self.order.into(),
            names: self.families.clone(),
            ..Families::default()
        };
        if asked.is_none() {
            return match self.precision()? {
                PrecisionChoice::F32 => Err(SpecError::refused(&["families"])(
                    "without families there is nothing to do but eight bits: int8",
                )),
                _ => Ok(asked),
            };
        }
        let known = |name: &str| family(name.strip_prefix('+').unwrap_or(name)).is_some();
        if let Some(name) = self.families.iter().find(|name| !known(name)) {
            return Err(SpecError::Family {
                found: name.clone(),
                known: families().iter().map(|f| f.name()).collect(),
            });
        }
        Ok(asked)
    }

    /// The numbers that the result computes in.
    ///
    /// # Errors
    /// [`SpecError::Refused`] where `int8` and `precision` say different things.
    pub fn precision(&self) -> Result<PrecisionChoice, SpecError> {
        match (self.int8, self.precision) {
            (true, PrecisionChoice::F32 | PrecisionChoice::Int8) => Ok(PrecisionChoice::Int8),
            (false, precision) => Ok(precision),
            (true, PrecisionChoice::Auto) => {
                let both = SpecError::refused(&["int8", "precision"]);
                Err(both("one at a time"))
            }
        }
    }

    /// True where a model of an opset below 13 is raised to it.
    ///
    /// # Errors
    /// [`SpecError::Refused`] for any other opset, and where the result is not in eight bits.
    pub fn raises(&self) -> Result<bool, SpecError> {
        if self.opset.is_some() && self.precision()? == PrecisionChoice::F32 {
            let needs = SpecError::refused(&["opset"]);
            return Err(needs("models are raised for eight bits alone: int8"));
        }
        raises(self.opset)
    }

    /// The integers that weights are rounded to; `None` where measurements choose.
    ///
    /// # Errors
    /// [`SpecError::Value`] for any but 7 and 8, [`SpecError::Refused`] where the result is not in eight bits.
    pub fn weight_bits(&self) -> Result<Option<WeightBits>, SpecError> {
        if self.weight_bits.is_some() && self.precision()? == PrecisionChoice::F32 {
            let needs = SpecError::refused(&["weight_bits"]);
            return Err(needs("weights are rounded for eight bits alone: int8"));
        }
        weight_bits(self.weight_bits)
    }

    /// The layers.
    ///
    /// # Errors
    /// [`SpecError::Refused`] where a glob is not valid.
    pub fn selection(&self) -> Result<Selection, SpecError> {
        Selection::new(&self.layers, &self.skip).map_err(SpecError::refused(&["layers", "skip"]))
    }
}

impl Default for SearchSpace {
    fn default() -> Self {
        Self {
            order: OrderChoice::Best,
            lowering: LoweringChoice::Auto,
            layers: Vec::new(),
            skip: Vec::new(),
            int8: false,
            precision: PrecisionChoice::F32,
            opset: None,
            weight_bits: None,
            quantized: false,
            families: Vec::new(),
        }
    }
}

/// True where a model of an opset below 13 is raised to it.
///
/// # Errors
/// [`SpecError::Refused`] for any other opset.
pub(super) fn raises(opset: Option<i64>) -> Result<bool, SpecError> {
    match opset {
        None => Ok(false),
        Some(13) => Ok(true),
        Some(other) => Err(SpecError::refused(&["opset"])(format!(
            "models are raised to opset 13, not {other}"
        ))),
    }
}

/// The integers of so many bits.
///
/// # Errors
/// [`SpecError::Value`] for any but 7 and 8.
pub(super) fn weight_bits(count: Option<u8>) -> Result<Option<WeightBits>, SpecError> {
    let known = [WeightBits::Seven, WeightBits::Eight];
    match count {
        None => Ok(None),
        Some(count) => match known.iter().find(|bits| bits.count() == count) {
            Some(bits) => Ok(Some(*bits)),
            None => Err(SpecError::Value {
                option: "weight_bits".into(),
                reason: format!("expected 7 or 8, found {count}"),
            }),
        },
    }
}
