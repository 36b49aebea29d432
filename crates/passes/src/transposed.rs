//! Transposed convolutions as convolutions of channels.
//!
//! `ConvTranspose` (ONNX opsets 1 to 22) is linear in each tap of its kernel as `Conv` is, with
//! another operator on space that acts on every channel alike. Kernels therefore decompose
//! alike, and so do their chains, once the weight `[Ci, Co / groups, k...]` is turned into the
//! `[Co, Ci / groups, k...]` of `Conv`; a stage that carries an axis is written back as a
//! `ConvTranspose`, one that carries none is an ordinary 1x1 convolution.

/// Swaps the channel axes of a weight within its groups: from `[groups * outer, inner, taps]`,
/// row-major, to `[groups * inner, outer, taps]`. Swapping back is the same with `outer` and
/// `inner` exchanged.
pub(crate) fn swap_channels<T: Copy>(
    weight: &[T],
    groups: usize,
    outer: usize,
    inner: usize,
) -> Vec<T> {
    let taps = weight.len() / (groups * outer * inner).max(1);
    let mut out = Vec::with_capacity(weight.len());
    for group in weight.chunks_exact((outer * inner * taps).max(1)) {
        for i in 0..inner {
            for o in 0..outer {
                out.extend_from_slice(&group[(o * inner + i) * taps..][..taps]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_swap_within_their_groups() {
        // 2 groups of 2 x 3 channels, 2 taps; each weight is its own index.
        let weight: Vec<u8> = (0..24).collect();
        let swapped = swap_channels(&weight, 2, 2, 3);
        #[rustfmt::skip]
        assert_eq!(swapped, [
            0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11,
            12, 13, 18, 19, 14, 15, 20, 21, 16, 17, 22, 23,
        ]);
        assert_eq!(swap_channels(&swapped, 2, 3, 2), weight);
    }

    #[test]
    fn a_matrix_is_one_group_of_one_tap() {
        let turned = swap_channels(&[1, 2, 3, 4, 5, 6], 1, 2, 3);
        assert_eq!(turned, [1, 4, 2, 5, 3, 6]);
        assert!(swap_channels::<u8>(&[], 1, 0, 3).is_empty());
    }
}
