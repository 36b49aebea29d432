//! Geometry of a layer's window over its input.

#[cfg(test)]
mod tests;

use sepconv_analysis::ConvAttributes;
use sepconv_factor::ConvGeometry;

/// The window of a convolution over a map of the extents `input`. `None` where the output is
/// empty.
pub fn geometry(attributes: &ConvAttributes, input: &[usize]) -> Option<ConvGeometry> {
    let input: Vec<u64> = input.iter().map(|n| *n as u64).collect();
    let explicit = attributes.explicit(&input)?;
    let size = |v: &[u64]| v.iter().map(|n| *n as usize).collect::<Vec<usize>>();
    let (begin, end) = explicit.pads.split_at(explicit.axes());
    Some(ConvGeometry {
        strides: size(&explicit.strides),
        dilations: size(&explicit.dilations),
        pads_begin: size(begin),
        pads_end: size(end),
        transposed: explicit.transposed.then(|| size(&explicit.output_padding)),
    })
}
