//! Reading and validating a convolution's attributes.

use sepconv_ir::{AttributeValue, Operator};

use super::{ConvAttributes, ConvError, ConvFault};
use crate::window::AutoPad;

impl ConvAttributes {
    /// Reads the attributes of a convolution.
    ///
    /// `weight_dims` is the shape of the weight: `[Co, Ci/group, k…]`, or `[Ci, Co/group, k…]`
    /// where the operator type is `ConvTranspose`. `pads` is ignored where `auto_pad` is set,
    /// as runtimes do.
    ///
    /// # Errors
    /// [`ConvError`] names the node and the attribute that is malformed or does not fit the
    /// weight.
    pub fn read(op: &Operator, weight_dims: &[usize]) -> Result<Self, ConvError> {
        read(op, weight_dims).map_err(|reason| ConvError {
            node: op.name.clone(),
            op_type: op.op_type.clone(),
            reason,
        })
    }
}

fn read(op: &Operator, weight: &[usize]) -> Result<ConvAttributes, ConvFault> {
    let (channels, spatial) = match weight {
        [outer, inner, spatial @ ..] if !spatial.is_empty() => ((*outer, *inner), spatial),
        _ => return Err(ConvFault::WeightRank(weight.len())),
    };
    if weight.contains(&0) {
        return Err(ConvFault::EmptyWeight(weight.to_vec()));
    }
    let axes = spatial.len();
    let kernel: Vec<u64> = spatial.iter().map(|k| *k as u64).collect();
    let declared = list(op, "kernel_shape", axes, 1)?;
    if let Some(attribute) = declared.filter(|declared| *declared != kernel) {
        return Err(ConvFault::Kernel {
            attribute,
            weight: kernel,
        });
    }
    let ones = || vec![1; axes];
    let strides = list(op, "strides", axes, 1)?.unwrap_or_else(ones);
    let dilations = list(op, "dilations", axes, 1)?.unwrap_or_else(ones);
    let auto_pad = auto_pad(op)?;
    let pads = match auto_pad {
        AutoPad::NotSet => list(op, "pads", 2 * axes, 0)?,
        _ => None,
    };
    let group = group(op)?;
    let transposed = op.op_type == "ConvTranspose";
    let (outer, inner) = (channels.0 as u64, channels.1 as u64);
    if outer % group != 0 {
        return Err(ConvFault::Group {
            channels: outer,
            group,
        });
    }
    let inner = inner.checked_mul(group).ok_or(ConvFault::Overflow)?;
    let (in_channels, out_channels) = if transposed {
        (outer, inner)
    } else {
        (inner, outer)
    };
    let (output_padding, output_shape) = if transposed {
        (
            list(op, "output_padding", axes, 0)?,
            output_shape(op, axes)?,
        )
    } else {
        (None, None)
    };
    Ok(ConvAttributes {
        transposed,
        in_channels,
        out_channels,
        group,
        kernel,
        strides,
        dilations,
        pads: pads.unwrap_or_else(|| vec![0; 2 * axes]),
        auto_pad,
        output_padding: output_padding.unwrap_or_else(|| vec![0; axes]),
        output_shape,
    })
}

fn output_shape(op: &Operator, axes: usize) -> Result<Option<Vec<u64>>, ConvFault> {
    // Some exporters write the batch and the channels as well.
    let skip = match op.attribute("output_shape") {
        Some(AttributeValue::Ints(v)) if v.len() == axes + 2 => 2,
        _ => 0,
    };
    let shape = list(op, "output_shape", axes + skip, 0)?;
    Ok(shape
        .filter(|v| !v.is_empty())
        .and_then(|v| v.get(skip..).map(<[u64]>::to_vec)))
}

fn group(op: &Operator) -> Result<u64, ConvFault> {
    match op.attribute("group") {
        None => Ok(1),
        Some(AttributeValue::Int(v)) => number("group", *v, 1),
        Some(_) => Err(ConvFault::Type("group")),
    }
}

/// The attribute `auto_pad`, `NOTSET` where it is absent.
pub(crate) fn auto_pad(op: &Operator) -> Result<AutoPad, ConvFault> {
    match op.attribute("auto_pad") {
        None => Ok(AutoPad::NotSet),
        Some(AttributeValue::String(text)) => {
            let text = String::from_utf8_lossy(text);
            AutoPad::parse(&text).ok_or_else(|| ConvFault::AutoPad(text.into_owned()))
        }
        Some(_) => Err(ConvFault::Type("auto_pad")),
    }
}

/// A list attribute of `expected` numbers, each at least `least`; `None` where it is absent
/// or empty.
pub(crate) fn list(
    op: &Operator,
    name: &'static str,
    expected: usize,
    least: i64,
) -> Result<Option<Vec<u64>>, ConvFault> {
    let values = match op.attribute(name) {
        None => return Ok(None),
        Some(AttributeValue::Ints(v)) if v.is_empty() => return Ok(None),
        Some(AttributeValue::Ints(v)) => v,
        Some(_) => return Err(ConvFault::Type(name)),
    };
    if values.len() != expected {
        return Err(ConvFault::Length {
            name,
            found: values.len(),
            expected,
        });
    }
    values
        .iter()
        .map(|v| number(name, *v, least))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn number(name: &'static str, value: i64, least: i64) -> Result<u64, ConvFault> {
    u64::try_from(value)
        .ok()
        .filter(|_| value >= least)
        .ok_or(ConvFault::Range { name, value, least })
}
