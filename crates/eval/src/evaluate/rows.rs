//! Outputs and targets divided into samples.

use sepconv_ir::Tensor;

/// Rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRows {
    /// All of them.
    pub all: usize,
    /// The first of them, which are samples; the others are padding.
    pub valid: usize,
}

/// The samples of one output in one batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    /// All samples, one after the other.
    values: Vec<f64>,
    /// Shape of one sample.
    sample: Vec<usize>,
    /// Number of samples.
    count: usize,
    /// The first axis is that of the batch. Otherwise the whole output is one sample.
    by_sample: bool,
    /// The elements are floats.
    floats: bool,
    /// They may be of classes, by their shape.
    classes: bool,
}

impl Rows {
    /// An output of a run on `batch` rows of which the first `valid` are samples, the others
    /// padding. `None` where its elements are no numbers.
    pub fn of(tensor: &Tensor, batch: usize, valid: usize) -> Option<Self> {
        let floats = tensor.to_f32();
        let is_floats = floats.is_some();
        let mut values: Vec<f64> = match floats {
            Some(floats) => floats.iter().map(|v| f64::from(*v)).collect(),
            None => tensor.to_i64()?.into_iter().map(|v| v as f64).collect(),
        };
        let (sample, count, by_sample) = match tensor.dims() {
            [rows, rest @ ..] if *rows == batch => (rest, valid, true),
            dims => (dims, 1, false),
        };
        values.truncate(count * sample.iter().product::<usize>());
        Some(Self {
            values,
            sample: sample.to_vec(),
            count,
            by_sample,
            floats: is_floats,
            classes: true,
        })
    }

    /// The outputs of a run, as [`Rows::of`]. Those that are no [`class_outputs`] are none of classes, whatever their shape.
    ///
    /// [`class_outputs`]: sepconv_model::classes::class_outputs
    pub fn of_outputs(outputs: &[Tensor], rows: BatchRows, classes: &[bool]) -> Vec<Option<Self>> {
        let outputs = outputs.iter().enumerate();
        let rows = outputs.map(|(i, output)| {
            let own = Self::of(output, rows.all, rows.valid)?;
            let classes = classes.get(i).is_none_or(|classes| *classes);
            Some(Self { classes, ..own })
        });
        rows.collect()
    }

    /// A target, `[samples, ...]`.
    pub fn of_target(target: &Tensor) -> Self {
        let (count, sample) = match target.dims() {
            [count, rest @ ..] => (*count, rest.to_vec()),
            [] => (1, Vec::new()),
        };
        let floats = target.to_f32();
        let floats = floats.map(|all| all.iter().map(|v| f64::from(*v)).collect());
        let ints = || Some(target.to_i64()?.into_iter().map(|v| v as f64).collect());
        Self {
            values: floats.or_else(ints).unwrap_or_default(),
            sample,
            count,
            by_sample: true,
            floats: target.dtype().is_float(),
            classes: true,
        }
    }

    /// All elements, row-major, and their shape, samples first where there are any.
    pub fn all(&self) -> (Vec<usize>, &[f64]) {
        let samples = self.by_sample.then_some(self.count);
        let dims = samples.into_iter().chain(self.sample.iter().copied());
        (dims.collect(), &self.values)
    }

    /// Shape of one sample.
    pub fn sample(&self) -> &[usize] {
        &self.sample
    }

    /// Number of samples.
    pub fn count(&self) -> usize {
        self.count
    }

    /// True where the elements are floats.
    pub fn are_floats(&self) -> bool {
        self.floats
    }

    /// Sample `i`; empty past the end.
    pub fn row(&self, i: usize) -> &[f64] {
        let size: usize = self.sample.iter().product();
        self.values.get(i * size..(i + 1) * size).unwrap_or(&[])
    }

    /// Number of classes, of floats shaped `[n, classes]`, trailing 1s aside; `None` for other numbers.
    pub fn classes(&self) -> Option<usize> {
        match self.sample.as_slice() {
            [classes, rest @ ..] if *classes > 1 && rest.iter().all(|d| *d == 1) => {
                (self.by_sample && self.floats && self.classes).then_some(*classes)
            }
            _ => None,
        }
    }

    /// True of floats of which each sample is a vector: one of its axes has an extent above 1. A sample of one axis is no
    /// vector where it is of positions.
    pub fn is_of_vectors(&self) -> bool {
        let long = self.sample.iter().filter(|d| **d > 1).count();
        let positions = self.sample.len() == 1 && !self.classes;
        self.by_sample && self.floats && long == 1 && !positions
    }

    /// True where both have as many samples, of the same shape but for axes of extent 1.
    pub fn fits(&self, other: &Self) -> bool {
        let axes = |rows: &Self| -> Vec<usize> {
            let axes = rows.sample.iter().copied();
            axes.filter(|d| *d != 1).collect()
        };
        self.count == other.count && axes(self) == axes(other)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn padding_is_no_sample() {
        let t = Tensor::from_f32(vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let rows = Rows::of(&t, 3, 2).unwrap();
        assert_eq!((rows.count(), rows.sample()), (2, &[2][..]));
        assert_eq!((rows.row(1), rows.row(2)), (&[3.0, 4.0][..], &[][..]));
        assert_eq!(rows.classes(), Some(2));
    }

    #[test]
    fn an_output_without_the_batch_is_one_sample() {
        let t = Tensor::from_f32(vec![3, 2], vec![0.5; 6]);
        let rows = Rows::of(&t, 1, 1).unwrap();
        assert_eq!((rows.count(), rows.sample()), (1, &[3, 2][..]));
        assert_eq!((rows.row(0).len(), rows.classes()), (6, None));
    }

    #[test]
    fn integers_are_numbers_but_no_scores() {
        let t = Tensor::from_i64(vec![1, 2], &[1 << 40, -1]);
        let rows = Rows::of(&t, 1, 1).unwrap();
        assert_eq!(rows.row(0), [1_099_511_627_776.0, -1.0]);
        assert_eq!(rows.classes(), None);
        let text = Tensor::opaque(sepconv_ir::DType::String, vec![1]);
        assert_eq!(Rows::of(&text, 1, 1), None);
    }

    #[test]
    fn outputs_that_are_no_classes_are_none_by_their_shape() {
        let t = Tensor::from_f32(vec![1, 2], vec![0.25, 0.75]);
        let rows = BatchRows { all: 1, valid: 1 };
        let outputs = Rows::of_outputs(&[t.clone(), t], rows, &[false, true]);
        let classes: Vec<_> = outputs.iter().flatten().map(Rows::classes).collect();
        assert_eq!(classes, [None, Some(2)]);
    }

    #[test]
    fn axes_of_one_do_not_matter_to_a_target() {
        let target = |shape: &[usize]| {
            let n = shape.iter().product();
            Rows::of_target(&Tensor::from_f32(shape.to_vec(), vec![0.0; n]))
        };
        assert!(target(&[2, 1, 5, 4]).fits(&target(&[2, 5, 4])));
        assert!(!target(&[2, 4, 5]).fits(&target(&[2, 5, 4])));
        assert!(!target(&[1, 5]).fits(&target(&[2, 5])));
        assert_eq!(target(&[2, 7, 1, 1]).classes(), Some(7));
    }
}
