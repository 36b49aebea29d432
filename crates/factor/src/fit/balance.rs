//! The scale of the channels between two stages, and room for more of them.

use crate::chain::StageShape;
use crate::shape::KernelShape;

/// Scales every channel between two stages so that the weights that make it and those that read
/// it have the same norm: neither side overflows or vanishes in f16. A channel that one side
/// leaves at zero becomes zero on both. `weights` are those of `stages`, in ONNX's order.
pub(crate) fn balance(stages: &[StageShape], weights: &mut [Vec<f64>]) {
    // A second pass evens out the moves of the later boundaries.
    for boundary in (1..stages.len()).chain(1..stages.len().saturating_sub(1)) {
        let (head, tail) = weights.split_at_mut(boundary);
        let (Some(made), Some(read)) = (head.last_mut(), tail.first_mut()) else {
            continue;
        };
        let reader = &stages[boundary].kernel;
        let width = made.len() / reader.in_channels;
        for (channel, row) in made.chunks_exact_mut(width).enumerate() {
            let norm = |sum: f64| sum.sqrt();
            let left = norm(row.iter().map(|x| x * x).sum());
            let mut right = 0.0;
            each_reader(reader, read, channel, |x| right += *x * *x);
            let right = norm(right);
            let scale = if left > 0.0 && right > 0.0 {
                (right / left).sqrt()
            } else {
                0.0
            };
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            row.iter_mut().for_each(|x| *x *= scale);
            each_reader(reader, read, channel, |x| *x *= inverse);
        }
    }
}

/// The weights that read input channel `channel`.
fn each_reader(
    shape: &KernelShape,
    weight: &mut [f64],
    channel: usize,
    mut visit: impl FnMut(&mut f64),
) {
    let (group_in, taps) = (shape.group_in(), shape.taps());
    let outputs = shape.group_out();
    let first = channel / group_in * outputs;
    for output in first..first + outputs {
        let at = (output * group_in + channel % group_in) * taps;
        weight[at..at + taps].iter_mut().for_each(&mut visit);
    }
}

/// The channels of a chain.
pub(crate) struct ChannelLayout<'a> {
    /// The stages.
    pub stages: &'a [StageShape],
    /// Channels of a block at every boundary between stages, see
    /// [`crate::Decomposition::widths`].
    pub widths: &'a [usize],
}

/// A chain's weights at a higher rank: the channels that it has stay where they are in their blocks,
/// new ones are zero.
pub(crate) fn widened(
    weights: &[Vec<f64>],
    from: &ChannelLayout<'_>,
    to: &ChannelLayout<'_>,
) -> Vec<Vec<f64>> {
    let block = |widths: &[usize], boundary: usize| {
        let inside = boundary.checked_sub(1).and_then(|b| widths.get(b));
        inside.copied().unwrap_or(1)
    };
    let moved = |index: usize, from: usize, to: usize| index / from * to + index % from;
    let stage = |(s, weight): (usize, &Vec<f64>)| {
        let (old, new) = (&from.stages[s].kernel, &to.stages[s].kernel);
        let taps = old.taps();
        let mut out = vec![0.0; new.len()];
        for (index, values) in weight.chunks_exact(taps).enumerate() {
            let (output, input) = (index / old.group_in(), index % old.group_in());
            let output = if old.out_channels == new.out_channels {
                output
            } else {
                moved(output, block(from.widths, s + 1), block(to.widths, s + 1))
            };
            let input = if old.group_in() == new.group_in() {
                input
            } else {
                moved(input, block(from.widths, s), block(to.widths, s))
            };
            out[(output * new.group_in() + input) * taps..][..taps].copy_from_slice(values);
        }
        out
    };
    weights.iter().enumerate().map(stage).collect()
}
