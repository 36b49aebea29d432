//! The parts of an output: its channels, each on its own scale.
//!
//! One tensor may hold values of several units, such as a detector's boxes in pixels beside scores between
//! 0 and 1. A squared error over the whole tensor is that of the largest unit; over the variance of every
//! part, all parts count alike.

use sepconv_ir::Tensor;

/// The axis of an output that its channels lie along. The first axis is that of the samples.
///
/// - Rank 2: axis 1.
/// - Rank 3: the shorter of axes 1 and 2, axis 1 where both are equal: `[n, 84, 8400]` and
///   `[n, 25200, 85]` are 84 and 85 channels.
/// - Rank 4 and above: axis 1 where the axes behind it are equal (`[n, c, h, h]`), the last one
///   where the axes between are (`[n, h, h, c]`), else the shorter of both.
/// - Rank 1 and below: none.
pub fn channel_axis(dims: &[usize]) -> Option<usize> {
    let last = dims.len().checked_sub(1).filter(|last| *last > 0)?;
    let equal = |range: &[usize]| range.windows(2).all(|w| w[0] == w[1]);
    let first_alone = last > 2 && equal(&dims[2..]) && dims[1] != dims[2];
    let last_alone = last > 2 && equal(&dims[1..last]) && dims[last] != dims[1];
    // Anchors, rows, columns and values, as detection heads have them.
    let grid = last == 4 && dims[2] == dims[3] && dims[4] != dims[3];
    Some(match () {
        () if grid => last,
        () if first_alone => 1,
        () if last_alone => last,
        () if dims[last] < dims[1] => last,
        () => 1,
    })
}

/// The least variance of a part, as a share of the greatest.
const LEAST: f64 = 1e-6;

/// Variances of the parts of one output.
#[derive(Debug, Clone, PartialEq)]
pub struct PartScales {
    axis: Option<usize>,
    variances: Vec<f64>,
    /// True of every part that is a channel of sparse scores: within 0 to 1, on the mean at most
    /// [`SPARSE`].
    scores: Vec<bool>,
}

/// Mean of the values of a channel of sparse scores, at most.
const SPARSE: f64 = 0.1;

/// Sums over the values of a part.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
    /// A value is outside of 0 to 1.
    wide: bool,
}

impl PartScales {
    /// Of an output, by its values in several batches; `None` where there are none, or of
    /// other shapes than the first. Channels of scores, all of whose values are within 0 to 1, share
    /// their mean variance, and so do the columns of `[n, features]`.
    pub fn of<'t>(batches: impl IntoIterator<Item = &'t Tensor>) -> Option<Self> {
        let mut found: Option<(Option<usize>, Vec<Sums>)> = None;
        for tensor in batches {
            let axis = channel_axis(tensor.dims()).filter(|_| tensor.dims().len() > 2);
            let channels = axis.map_or(1, |axis| tensor.dims()[axis]);
            let (_, sums) = found.get_or_insert_with(|| (axis, vec![Sums::default(); channels]));
            if sums.len() != channels {
                return None;
            }
            let values = tensor.to_f32()?;
            let inner = inner(tensor.dims(), axis);
            for (block, values) in values.chunks_exact(inner.max(1)).enumerate() {
                let own = &mut sums[block % channels];
                for value in values.iter().map(|v| f64::from(*v)) {
                    own.count += 1.0;
                    own.sum += value;
                    own.squares += value * value;
                    own.wide |= !(0.0..=1.0).contains(&value);
                }
            }
        }
        let (axis, sums) = found?;
        let mut variances: Vec<f64> = sums.iter().map(|s| s.variance()).collect();
        let scores: Vec<usize> = (0..sums.len()).filter(|c| !sums[*c].wide).collect();
        let sparse = |c: &Sums| c.sum <= SPARSE * c.count;
        let are_scores = |c: &Sums| axis.is_some() && !c.wide && sparse(c);
        let are_scores = sums.iter().map(are_scores).collect();
        let mean = scores.iter().map(|c| variances[*c]).sum::<f64>() / scores.len().max(1) as f64;
        scores.iter().for_each(|c| variances[*c] = mean);
        let greatest = variances.iter().copied().fold(0.0, f64::max);
        if !(greatest > 0.0 && greatest.is_finite()) {
            return None;
        }
        variances
            .iter_mut()
            .for_each(|v| *v = v.max(LEAST * greatest));
        Some(Self {
            axis,
            variances,
            scores: are_scores,
        })
    }

    /// [`PartScales::of`] every output, by the outputs of several batches.
    pub fn of_outputs(batches: &[Vec<Tensor>]) -> Vec<Option<Self>> {
        let outputs = 0..batches.first().map_or(0, Vec::len);
        let of = |i: usize| Self::of(batches.iter().filter_map(|outputs| outputs.get(i)));
        outputs.map(of).collect()
    }

    /// The squared error of `other` over the variance of the part, mean over all values. Both are
    /// row-major, of whole samples of an output of shape `dims`.
    pub fn error(&self, dims: &[usize], values: &[f32], other: &[f32]) -> f64 {
        let inner = inner(dims, self.axis).max(1);
        let blocks = values.chunks_exact(inner).zip(other.chunks_exact(inner));
        let errors = blocks.enumerate().map(|(block, (x, y))| {
            let squares = x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2));
            squares.sum::<f64>() / self.variances[block % self.variances.len()]
        });
        errors.sum::<f64>() / values.len().max(1) as f64
    }

    /// Mean square of the channels of sparse scores, over their variance: by how much a sample of shape
    /// `dims` says in them. `None` where there is none.
    pub fn activity(&self, dims: &[usize], values: &[f32]) -> Option<f64> {
        let inner = inner(dims, self.axis).max(1);
        let channels = self.variances.len();
        let blocks = values.chunks_exact(inner).enumerate();
        let own = blocks.filter(|(block, _)| self.scores[block % channels]);
        let squares = own.map(|(block, values)| {
            let squares = values.iter().map(|x| f64::from(*x).powi(2));
            squares.sum::<f64>() / self.variances[block % channels]
        });
        let scores = self.scores.iter().filter(|is| **is).count();
        let all = values.len() * scores / channels.max(1);
        (scores > 0).then(|| squares.sum::<f64>() / all.max(1) as f64)
    }

    /// The inverse of the standard deviation of the part of every value of an output of shape `dims`.
    pub fn factors(&self, dims: &[usize]) -> Vec<f32> {
        let inner = inner(dims, self.axis).max(1);
        let all: usize = dims.iter().product();
        let of = |block: usize| 1.0 / self.variances[block % self.variances.len()].sqrt();
        (0..all).map(|i| of(i / inner) as f32).collect()
    }
}

impl Sums {
    fn variance(&self) -> f64 {
        let mean = self.sum / self.count.max(1.0);
        (self.squares / self.count.max(1.0) - mean * mean).max(0.0)
    }
}

/// Values of a channel that lie beside one another; those of a sample where the output is one channel.
fn inner(dims: &[usize], axis: Option<usize>) -> usize {
    let behind = axis.unwrap_or(0) + 1;
    dims.iter().skip(behind).product()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sample_is_as_active_as_its_scores() {
        let dims = [1, 2, 4];
        let sample = |scores: [f32; 4]| [&[0.0, 100.0, 200.0, 300.0], &scores[..]].concat();
        let (some, none) = (sample([0.0, 0.6, 0.0, 0.1]), sample([0.0; 4]));
        let tensors = [&some, &none].map(|v| Tensor::from_f32(dims.to_vec(), v.clone()));
        let scales = PartScales::of(&tensors).unwrap();
        let activity = |values: &[f32]| scales.activity(&dims, values).unwrap();
        // A mean square of 0.37 / 4 over a variance of 0.37 / 8 - (0.7 / 8)^2.
        assert!((activity(&some) - 0.0925 / 0.038_593_75).abs() < 1e-5);
        assert_eq!(activity(&none), 0.0);
        let boxes = Tensor::from_f32(
            dims.to_vec(),
            vec![50.0; 7].into_iter().chain([3.0]).collect(),
        );
        let scales = PartScales::of([&boxes]).unwrap();
        assert_eq!(scales.activity(&dims, &some), None);
        let picture = Tensor::from_f32(dims.to_vec(), vec![0.2, 0.9, 0.4, 0.1, 0.5, 0.6, 0.7, 0.8]);
        let scales = PartScales::of([&picture]).unwrap();
        assert_eq!(scales.activity(&dims, &some), None);
        let rows = Tensor::from_f32(vec![2, 2], vec![0.0, 0.1, 0.0, 0.0]);
        let scales = PartScales::of([&rows]).unwrap();
        assert_eq!(scales.activity(&[2, 2], &[0.0, 0.1, 0.0, 0.0]), None);
    }

    #[test]
    fn boxes_and_scores_count_alike() {
        // Two anchors: a coordinate in pixels, two scores.
        let dims = [1, 3, 4];
        let values = [
            0.0, 100.0, 200.0, 300.0, 0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 0.0,
        ];
        let tensor = Tensor::from_f32(dims.to_vec(), values.to_vec());
        let scales = PartScales::of([&tensor, &tensor]).unwrap();
        let moved = |by: &[(usize, f32)]| {
            let mut other = values;
            by.iter().for_each(|(i, by)| other[*i] += by);
            scales.error(&dims, &values, &other)
        };
        // A whole standard deviation at one value of twelve.
        assert!((moved(&[(0, 111.803_4)]) - 1.0 / 12.0).abs() < 1e-6);
        let score = 0.12_f32.sqrt() * 0.5_f32.sqrt();
        assert!((moved(&[(7, score)]) - 1.0 / 12.0).abs() < 1e-6);
        assert!((moved(&[(8, score)]) - 1.0 / 12.0).abs() < 1e-6);
        let factors = scales.factors(&dims);
        assert!((factors[0] * 111.803_4 - 1.0).abs() < 1e-6);
        assert!((factors[11] * score - 1.0).abs() < 1e-6);
    }

    #[test]
    fn constant_and_ragged_outputs_have_no_scale() {
        let tensor = |dims: &[usize], v: f32| {
            Tensor::from_f32(dims.to_vec(), vec![v; dims.iter().product()])
        };
        assert_eq!(PartScales::of([&tensor(&[1, 3, 4], 2.0)]), None);
        assert_eq!(PartScales::of([]), None);
        let (a, b) = (tensor(&[1, 3, 4], 2.0), tensor(&[1, 2, 4], 1.0));
        assert_eq!(PartScales::of([&a, &b]), None);
    }
}
