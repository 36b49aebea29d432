//! Patches of a map under a convolution's window, at sampled output positions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::FactorError;
use crate::random::{mix, scaled};
use crate::shape::KernelShape;

/// The way that a convolution's window moves over its input, per spatial axis; any number of axes. The
/// kernel's extents and groups are in [`KernelShape`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConvGeometry {
    /// ONNX attribute `strides`.
    pub strides: Vec<usize>,
    /// ONNX attribute `dilations`.
    pub dilations: Vec<usize>,
    /// First half of ONNX's `pads`: zeros before the map. Not negative.
    pub pads_begin: Vec<usize>,
    /// Second half of ONNX's `pads`: zeros behind the map.
    pub pads_end: Vec<usize>,
    /// `output_padding` of a transposed convolution (ONNX `ConvTranspose`), whose pads cut its
    /// output; `None` for `Conv`.
    pub transposed: Option<Vec<usize>>,
}

/// The input map of one sample.
#[derive(Debug, Clone, Copy)]
pub struct InputMap<'a> {
    /// Row-major `[Ci, extents...]`.
    pub values: &'a [f32],
    /// Extents along the spatial axes.
    pub extents: &'a [usize],
}

impl ConvGeometry {
    /// Stride 1, dilation 1, no padding along `axes` axes.
    pub fn unit(axes: usize) -> Self {
        Self {
            strides: vec![1; axes],
            dilations: vec![1; axes],
            pads_begin: vec![0; axes],
            pads_end: vec![0; axes],
            transposed: None,
        }
    }

    /// Extents of the output map of an input map with the extents `input`.
    ///
    /// # Errors
    /// [`FactorError::Geometry`] where the numbers of axes differ, a stride or a dilation is
    /// zero, or the window is larger than the padded map.
    pub fn output_spatial(
        &self,
        shape: &KernelShape,
        input: &[usize],
    ) -> Result<Vec<usize>, FactorError> {
        let axes = shape.spatial.len();
        let fields = [
            &self.strides,
            &self.dilations,
            &self.pads_begin,
            &self.pads_end,
        ];
        let added = self.transposed.iter();
        if input.len() != axes || fields.into_iter().chain(added).any(|f| f.len() != axes) {
            return Err(FactorError::Geometry("the number of spatial axes differs"));
        }
        if self.strides.contains(&0) || self.dilations.contains(&0) {
            return Err(FactorError::Geometry("a stride or a dilation is zero"));
        }
        (0..axes)
            .map(|a| {
                let window = (shape.spatial[a] - 1).checked_mul(self.dilations[a]);
                if let Some(added) = &self.transposed {
                    return self.transposed_extent(a, input[a], window, added[a]);
                }
                let padded = input[a]
                    .checked_add(self.pads_begin[a])
                    .and_then(|p| p.checked_add(self.pads_end[a]));
                match (window, padded) {
                    (Some(window), Some(padded)) if window < padded => {
                        Ok((padded - window - 1) / self.strides[a] + 1)
                    }
                    _ => Err(FactorError::Geometry("the window is larger than the map")),
                }
            })
            .collect()
    }

    fn transposed_extent(
        &self,
        axis: usize,
        input: usize,
        window: Option<usize>,
        added: usize,
    ) -> Result<usize, FactorError> {
        let spread = input.checked_sub(1);
        let spread = spread.and_then(|n| n.checked_mul(self.strides[axis]));
        let whole = spread.zip(window).and_then(|(spread, window)| {
            spread
                .checked_add(window)?
                .checked_add(added)?
                .checked_add(1)
        });
        let cut = self.pads_begin[axis].checked_add(self.pads_end[axis]);
        let left = whole
            .zip(cut)
            .and_then(|(whole, cut)| whole.checked_sub(cut));
        left.filter(|n| *n > 0)
            .ok_or(FactorError::Geometry("the output is empty"))
    }

    /// Input coordinate along an axis that tap `tap` reads for output coordinate `at`; `None` for
    /// a zero before the map or between its elements.
    fn source(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        let (stride, begin) = (self.strides[axis], self.pads_begin[axis]);
        let offset = tap * self.dilations[axis];
        if self.transposed.is_none() {
            return (at * stride + offset).checked_sub(begin);
        }
        let spread = (at + begin).checked_sub(offset)?;
        spread.is_multiple_of(stride).then_some(spread / stride)
    }

    /// For each group the patches that it sees at `positions` (row-major indices into the output map):
    /// row-major `[positions, d]`, `d = Ci/g * taps` in the order of ONNX's
    /// `W` of `Conv`, channel first, tap last. Outside the map, and between its elements where
    /// the convolution is transposed, there are zeros.
    ///
    /// # Errors
    /// [`FactorError::Geometry`] as [`ConvGeometry::output_spatial`], and where the length of
    /// the map or a position does not fit.
    pub fn gather(
        &self,
        shape: &KernelShape,
        map: InputMap<'_>,
        positions: &[usize],
    ) -> Result<Vec<Vec<f32>>, FactorError> {
        let output = self.output_spatial(shape, map.extents)?;
        let plane: usize = map.extents.iter().product();
        if plane == 0 || map.values.len() != plane * shape.in_channels {
            return Err(FactorError::Geometry(
                "the map does not have the kernel's channels",
            ));
        }
        let total: usize = output.iter().product();
        if positions.iter().any(|&p| p >= total) {
            return Err(FactorError::Geometry(
                "a position is outside the output map",
            ));
        }
        let (group_in, taps) = (shape.group_in(), shape.taps());
        let places = self.places(shape, map.extents, &output, positions);
        let of_group = |group: &[f32]| {
            let mut patches = Vec::with_capacity(positions.len() * group_in * taps);
            for places in places.chunks_exact(taps) {
                for channel in group.chunks_exact(plane) {
                    let values = places.iter().map(|at| channel.get(*at));
                    patches.extend(values.map(|value| value.copied().unwrap_or(0.0)));
                }
            }
            patches
        };
        let groups = map.values.chunks_exact(group_in * plane);
        Ok(groups.map(of_group).collect())
    }

    /// The index into the input plane, or [`OUTSIDE`], that each tap reads at `positions`: `[positions, taps]`.
    fn places(
        &self,
        shape: &KernelShape,
        input: &[usize],
        output: &[usize],
        positions: &[usize],
    ) -> Vec<usize> {
        // Per axis, the coordinate that each tap reads for each output coordinate.
        let coordinates = (0..input.len()).map(|axis| {
            let inside = |at, tap| {
                let source = self.source(axis, at, tap);
                source.filter(|i| *i < input[axis]).unwrap_or(OUTSIDE)
            };
            let taps = shape.spatial[axis];
            let all = (0..output[axis]).flat_map(|at| (0..taps).map(move |tap| inside(at, tap)));
            all.collect()
        });
        let coordinates: Vec<Vec<usize>> = coordinates.collect();
        let mut places = Vec::with_capacity(positions.len() * shape.taps());
        let (mut own, mut before) = (Vec::new(), Vec::new());
        for position in positions {
            own.clear();
            own.push(0);
            let mut stride: usize = output.iter().product();
            let mut rest = *position;
            for (axis, coordinates) in coordinates.iter().enumerate() {
                stride /= output[axis];
                let taps = shape.spatial[axis];
                let read = &coordinates[rest / stride * taps..][..taps];
                rest %= stride;
                std::mem::swap(&mut own, &mut before);
                own.clear();
                for place in &before {
                    own.extend(read.iter().map(|at| match (*place, *at) {
                        (OUTSIDE, _) | (_, OUTSIDE) => OUTSIDE,
                        (place, at) => place * input[axis] + at,
                    }));
                }
            }
            places.extend_from_slice(&own);
        }
        places
    }
}

/// The place of a zero outside the map, or between its elements.
const OUTSIDE: usize = usize::MAX;

/// Appends the values of a map `y` `[channels, positions...]` at `positions` to `values`:
/// row-major `[positions, channels]`.
///
/// # Errors
/// [`FactorError::Geometry`] where the length or a position does not fit.
pub fn gather_outputs(
    y: &[f32],
    channels: usize,
    positions: &[usize],
    values: &mut Vec<f32>,
) -> Result<(), FactorError> {
    let plane = y.len().checked_div(channels).unwrap_or(0);
    if plane * channels != y.len() || positions.iter().any(|&p| p >= plane) {
        return Err(FactorError::Geometry(
            "a position is outside the output map",
        ));
    }
    for &position in positions {
        values.extend((0..channels).map(|c| y[c * plane + position]));
    }
    Ok(())
}

/// `count` different positions below `total` in rising order; all of them where `count` is
/// larger. A function of the arguments alone, stable across versions: Floyd's algorithm
/// (Bentley and Floyd 1987) on [`mix`] of the numbers behind `mix(seed) ^ mix(!sample)`.
pub fn sample_positions(seed: u64, sample: u64, total: usize, count: usize) -> Vec<usize> {
    if count >= total {
        return (0..total).collect();
    }
    let mut state = mix(seed) ^ mix(!sample);
    let mut chosen = BTreeSet::new();
    for last in total - count..total {
        state = state.wrapping_add(1);
        if !chosen.insert(scaled(mix(state), last + 1)) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map<'a>(values: &'a [f32], extents: &'a [usize]) -> InputMap<'a> {
        InputMap { values, extents }
    }

    #[test]
    fn patches_of_a_strided_padded_dilated_grouped_map() {
        let shape = KernelShape::new(2, 4, 2, [2, 2]).unwrap();
        let geometry = ConvGeometry {
            strides: vec![2, 1],
            dilations: vec![1, 2],
            pads_begin: vec![1, 0],
            pads_end: vec![0, 1],
            transposed: None,
        };
        // Two planes a group of 3x3: plane c holds 10 c + 1 ..= 10 c + 9.
        let x: Vec<f32> = (0..36).map(|i| (i / 9 * 10 + i % 9 + 1) as f32).collect();
        assert_eq!(geometry.output_spatial(&shape, &[3, 3]).unwrap(), [2, 2]);
        let map = map(&x, &[3, 3]);
        let patches = geometry.gather(&shape, map, &[0, 3]).unwrap();
        #[rustfmt::skip]
        let expected = [
            // Row -1 is padding; columns 0 and 2 of row 0.
            0.0, 0.0, 21.0, 23.0, 0.0, 0.0, 31.0, 33.0,
            // Rows 1 and 2; column 1, and column 3 is padding.
            25.0, 0.0, 28.0, 0.0, 35.0, 0.0, 38.0, 0.0,
        ];
        assert_eq!(patches[1], expected);
        let mut values = Vec::new();
        gather_outputs(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &[0, 2], &mut values).unwrap();
        assert_eq!(values, [1.0, 4.0, 3.0, 6.0]);
    }

    #[test]
    fn patches_of_a_transposed_map_have_zeros_between_its_elements() {
        let shape = KernelShape::new(1, 1, 1, [3]).unwrap();
        let geometry = ConvGeometry {
            strides: vec![2],
            pads_begin: vec![1],
            transposed: Some(vec![1]),
            ..ConvGeometry::unit(1)
        };
        // y[2 i - 1 + t] += x[i] w[t], for an output of 2 * 2 + 3 + 1 - 1.
        assert_eq!(geometry.output_spatial(&shape, &[3]).unwrap(), [7]);
        let all: Vec<usize> = (0..7).collect();
        let map = map(&[1.0, 2.0, 3.0], &[3]);
        let patches = geometry.gather(&shape, map, &all).unwrap();
        let w = [1.0, 10.0, 100.0];
        let dot = |p: &[f32]| p.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
        let y: Vec<f32> = patches[0].chunks_exact(3).map(dot).collect();
        assert_eq!(y, [10.0, 102.0, 20.0, 203.0, 30.0, 300.0, 0.0]);
        let cut = ConvGeometry {
            pads_end: vec![7],
            ..geometry
        };
        assert!(cut.output_spatial(&shape, &[3]).is_err());
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let shape = KernelShape::new(1, 1, 1, [3]).unwrap();
        let unit = ConvGeometry::unit(1);
        assert!(unit.output_spatial(&shape, &[2]).is_err());
        assert!(unit.output_spatial(&shape, &[2, 2]).is_err());
        assert_eq!(unit.output_spatial(&shape, &[3]).unwrap(), [1]);
        let mut out = Vec::new();
        let x = [0.0; 5];
        let refuses = |x: &[f32], extent: usize, position: usize| {
            let found = unit.gather(&shape, map(x, &[extent]), &[position]);
            found.is_err()
        };
        assert!(refuses(&x, 4, 0) && refuses(&x, 5, 3) && !refuses(&x, 5, 2));
        let padded = ConvGeometry {
            pads_begin: vec![3],
            ..unit.clone()
        };
        assert!(padded.gather(&shape, map(&[], &[0]), &[0]).is_err());
        let still = ConvGeometry {
            strides: vec![0],
            ..unit
        };
        assert!(still.output_spatial(&shape, &[5]).is_err());
        assert!(gather_outputs(&x, 2, &[0], &mut out).is_err());
    }

    #[test]
    fn positions_are_stable_sorted_and_spread() {
        assert_eq!(sample_positions(1, 2, 5, 9), [0, 1, 2, 3, 4]);
        let positions = sample_positions(7, 3, 1000, 50);
        assert_eq!(positions, sample_positions(7, 3, 1000, 50));
        assert_ne!(positions, sample_positions(7, 4, 1000, 50));
        assert_ne!(positions, sample_positions(8, 3, 1000, 50));
        assert!(positions.is_sorted_by(|a, b| a < b) && positions.len() == 50);
        let mut hits = [0_u32; 10];
        for sample in 0..2000 {
            for p in sample_positions(0, sample, 10, 3) {
                hits[p] += 1;
            }
        }
        assert!(hits.iter().all(|h| (500..700).contains(h)), "{hits:?}");
    }
}
