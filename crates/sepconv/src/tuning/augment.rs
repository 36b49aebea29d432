//! Variations of samples that keep their content.

use sepconv_data::Layout;
use sepconv_ir::Tensor;
use sepconv_tune::Draw;
use serde::{Deserialize, Serialize};

/// Variations of pictures. Teacher and student see the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Augment {
    /// Half of them are mirrored, left to right.
    pub flip: bool,
    /// Greatest shift along each axis, in elements; the edge is repeated.
    pub shift: usize,
}

impl Augment {
    /// Varies the inputs of a sample that are maps, all alike, of the layouts given. Without a draw, of
    /// the held-out part, they are mirrored where pictures may be: the calibrated fit has seen
    /// the others, and would look better than it is.
    pub(super) fn apply(
        self,
        inputs: Vec<Tensor>,
        layouts: &[Layout],
        draw: Option<Draw>,
    ) -> Vec<Tensor> {
        let (mirrored, down, right) = match draw {
            None => (self.flip, 0, 0),
            Some(mut draw) => {
                let mirrored = self.flip && draw.below(2) == 1;
                let mut offset = || draw.below(2 * self.shift + 1) as i64 - self.shift as i64;
                (mirrored, offset(), offset())
            }
        };
        if (mirrored, down, right) == (false, 0, 0) {
            return inputs;
        }
        let vary = |(i, t): (usize, Tensor)| {
            let layout = layouts.get(i).copied().unwrap_or_default();
            varied(&t, layout, mirrored, [down, right]).unwrap_or(t)
        };
        inputs.into_iter().enumerate().map(vary).collect()
    }
}

/// `None` where the tensor is no map of 32-bit numbers.
fn varied(
    tensor: &Tensor,
    layout: Layout,
    mirrored: bool,
    [down, right]: [i64; 2],
) -> Option<Tensor> {
    // Elements that lie side by side go together.
    let (height, width, side) = match (layout, tensor.dims()) {
        (Layout::Nchw, &[_, _, height, width]) => (height, width, 1),
        (Layout::Nhwc, &[_, height, width, channels]) => (height, width, channels),
        _ => return None,
    };
    if tensor.dtype() != sepconv_ir::DType::F32 || height * width * side == 0 {
        return None;
    }
    let values = tensor.to_f32()?;
    let from =
        |at: usize, by: i64, extent: usize| (at as i64 - by).clamp(0, extent as i64 - 1) as usize;
    let mut moved = Vec::with_capacity(values.len());
    for map in values.chunks_exact(height * width * side) {
        for y in 0..height {
            let row = &map[from(y, down, height) * width * side..][..width * side];
            for x in 0..width {
                let x = from(x, right, width);
                let x = if mirrored { width - 1 - x } else { x };
                moved.extend_from_slice(&row[x * side..][..side]);
            }
        }
    }
    Some(Tensor::from_f32(tensor.dims().to_vec(), moved))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn maps_are_mirrored_and_shifted_over_their_edge() {
        let map = Tensor::from_f32(vec![1, 1, 2, 3], vec![1., 2., 3., 4., 5., 6.]);
        let of = |m, d, r| {
            varied(&map, Layout::Nchw, m, [d, r])
                .unwrap()
                .to_f32()
                .unwrap()
                .into_owned()
        };
        assert_eq!(of(false, 0, 0), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(of(true, 0, 0), [3., 2., 1., 6., 5., 4.]);
        assert_eq!(of(false, 1, 0), [1., 2., 3., 1., 2., 3.]);
        assert_eq!(of(false, 0, -1), [2., 3., 3., 5., 6., 6.]);
        let row = Tensor::from_f32(vec![1, 3], vec![1., 2., 3.]);
        assert!(varied(&row, Layout::Nchw, true, [0, 0]).is_none());
        let last = Tensor::from_f32(vec![1, 1, 3, 2], vec![1., 2., 3., 4., 5., 6.]);
        let mirrored = varied(&last, Layout::Nhwc, true, [0, 0]).unwrap();
        assert_eq!(*mirrored.to_f32().unwrap(), [5., 6., 3., 4., 1., 2.]);
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        let map = Tensor::from_f32(vec![1, 1, 1, 2], vec![1., 2.]);
        for (augment, draw) in [
            (Augment::default(), Some(Draw::new(1, 1))),
            (
                Augment {
                    flip: false,
                    shift: 3,
                },
                None,
            ),
        ] {
            let same = augment.apply(vec![map.clone()], &[], draw);
            assert_eq!(&*same[0].to_f32().unwrap(), &[1., 2.]);
        }
        let flip = Augment {
            flip: true,
            shift: 0,
        };
        let mirrored = flip.apply(vec![map], &[], None);
        assert_eq!(&*mirrored[0].to_f32().unwrap(), &[2., 1.]);
    }
}
