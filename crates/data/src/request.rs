//! Requests to a data set.

use std::ops::Range;
use std::path::PathBuf;

use sepconv_ir::DType;

use crate::error::DataError;
use crate::layout::Layout;
use crate::part::Part;
use crate::preprocess::Preprocess;

/// One input of the model, as its graph declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// The name in the graph.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The axes: the first is the batch axis, `None` is free. `[N,3,H,W]` or `[N,H,W,3]` for
    /// pictures.
    pub dims: Vec<Option<usize>>,
    /// True where the graph's input has no batch axis: a scalar, the state `[2,N,128]` of a recurrent network.
    /// The first of `dims`, free, then counts values of the whole input, and one value serves for all samples.
    pub whole: bool,
    /// The layout of its pictures, where the graph says so. `None`: as the extents tell (1, 3 or 4
    /// channels, second or last), else as [`Preprocess::layout`] says, else channels first.
    pub layout: Option<Layout>,
    /// The values that the graph can look elements up with, of an input of indices (of Gather, of
    /// an embedding). Such an input is never preprocessed; data out of the range are refused.
    pub indices: Option<Range<i64>>,
}

impl InputSpec {
    /// A spec from its parts.
    #[must_use]
    pub fn new(name: impl Into<String>, dtype: DType, dims: Vec<Option<usize>>) -> Self {
        Self {
            name: name.into(),
            dtype,
            dims,
            whole: false,
            layout: None,
            indices: None,
        }
    }

    /// The spec of an input without a batch axis, of the extents that the graph declares.
    #[must_use]
    pub fn of_whole(
        name: impl Into<String>,
        dtype: DType,
        extents: impl IntoIterator<Item = Option<usize>>,
    ) -> Self {
        let dims = [None].into_iter().chain(extents).collect();
        Self {
            whole: true,
            ..Self::new(name, dtype, dims)
        }
    }

    /// The spec for an array `[samples, extents...]` of values of the whole input, where the first axis of the input counts
    /// steps and no samples. `None` where the array is no such one, and for pictures, whose first axis is that of the batch.
    pub(crate) fn of_clips(&self, shape: &[usize]) -> Option<Self> {
        let [_, extents @ ..] = shape else {
            return None;
        };
        let fits = |(dim, extent): (&Option<usize>, &usize)| dim.is_none_or(|dim| dim == *extent);
        let is = !self.whole
            && !self.is_picture()
            && extents.len() == self.dims.len()
            && extents.first().is_some_and(|steps| *steps > 1)
            && self.dims.iter().zip(extents).all(fits);
        is.then(|| Self {
            indices: self.indices.clone(),
            ..Self::of_whole(&self.name, self.dtype, self.dims.iter().copied())
        })
    }

    /// Refuses an element type that data sets have no values of.
    pub(crate) fn check_dtype(&self) -> Result<(), DataError> {
        match self.dtype.size() {
            Some(_) => Ok(()),
            None => Err(DataError::input(&self.name, "numbers or bools", self.dtype)),
        }
    }

    /// The axes as text: `[?,3,224,224]`.
    #[must_use]
    pub fn shape_text(&self) -> String {
        let axes = &self.dims[usize::from(self.whole)..];
        let axes: Vec<String> = axes
            .iter()
            .map(|d| d.map_or("?".to_string(), |d| d.to_string()))
            .collect();
        format!("[{}]", axes.join(","))
    }

    /// True where the input takes pictures: rank 4, and no indices.
    #[must_use]
    pub fn is_picture(&self) -> bool {
        self.dims.len() == 4 && self.indices.is_none() && !self.whole
    }

    /// The layout of its pictures: [`InputSpec::layout`], else that of the extents, else
    /// `otherwise`, else channels first.
    #[must_use]
    pub fn layout_or(&self, otherwise: Option<Layout>) -> Layout {
        let known = self.layout.or_else(|| Layout::of_extents(&self.dims));
        known.or(otherwise).unwrap_or_default()
    }

    /// True where a sample of that shape (no batch axis) fits.
    pub(crate) fn takes(&self, sample: &[usize]) -> bool {
        let axes = self.dims.get(1..).unwrap_or(&[]);
        axes.len() == sample.len()
            && axes
                .iter()
                .zip(sample)
                .all(|(d, s)| d.is_none_or(|d| d == *s))
    }
}

/// Treatment of labels and targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// Leave them unread, as calibration does.
    Ignore,
    /// Deliver them where the data set has them.
    #[default]
    IfPresent,
    /// Refuse a data set that has neither labels nor a target.
    Required,
}

/// A request to a data set: the model's inputs, the recipe and the selection.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The model's inputs, in the order of the graph; initializers are none.
    pub inputs: Vec<InputSpec>,
    /// Preprocessing of pictures.
    pub preprocess: Preprocess,
    /// Labels that lie apart from the samples: a COCO file of boxes, for pictures by their file names and
    /// for arrays in the order of its images; or a folder of masks in PNG files, named like the pictures.
    /// They are then the only labels; folders are no classes.
    pub annotations: Option<PathBuf>,
    /// A text file with one class name per line: line i (from 0) is output i. Folders of classes, and
    /// categories of boxes, are those of their name.
    pub classes: Option<PathBuf>,
    /// The number of classes the model knows, when the caller can tell; labels are checked
    /// against it. Without it the number of lines of `classes` is used.
    pub class_count: Option<usize>,
    /// At most this many samples, drawn without replacement; they stay in the data set's order.
    pub max_samples: Option<usize>,
    /// The seed of the draw, and of the split into parts.
    pub seed: u64,
    /// Which of the samples drawn are delivered.
    pub part: Part,
    /// The part of the samples drawn that [`Request::part`] is of.
    pub within: Part,
    /// Treatment of labels and targets.
    pub labels: Labels,
}

impl Request {
    /// A request for everything there is, without preprocessing.
    #[must_use]
    pub fn new(inputs: Vec<InputSpec>) -> Self {
        Self {
            inputs,
            ..Self::default()
        }
    }

    /// Checks everything that needs no data; gives the fixed batch size, if the model has one.
    pub(crate) fn validate(&self) -> Result<Option<usize>, DataError> {
        self.preprocess.validate()?;
        if self.max_samples == Some(0) {
            return Err(DataError::value("max-samples", "at least 1", 0));
        }
        if self.inputs.is_empty() {
            return Err(DataError::input("(none)", "at least one input", "none"));
        }
        let mut fixed = None;
        for spec in &self.inputs {
            let Some(batch) = spec.dims.first() else {
                return Err(DataError::input(
                    &spec.name,
                    "a first axis for the batch",
                    "a scalar",
                ));
            };
            spec.check_dtype()?;
            if spec.dims.contains(&Some(0)) {
                return Err(DataError::input(
                    &spec.name,
                    "axes of at least 1",
                    spec.shape_text(),
                ));
            }
            if let (Some(a), Some(b)) = (fixed, *batch)
                && a != b
            {
                return Err(DataError::input(
                    &spec.name,
                    format!("a batch axis of {a}, as the other inputs"),
                    spec.shape_text(),
                ));
            }
            fixed = fixed.or(*batch);
            let axis = spec.layout_or(self.preprocess.layout).channel_axis();
            let channels = spec.dims.get(axis).copied().flatten();
            if let (true, Some(channels)) = (spec.is_picture(), channels) {
                self.preprocess.check_channels(&spec.name, channels)?;
            }
        }
        Ok(fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dims: &[usize]) -> InputSpec {
        InputSpec::new("x", DType::F32, dims.iter().map(|&d| Some(d)).collect())
    }

    #[test]
    fn finds_the_fixed_batch() {
        let free = InputSpec::new("y", DType::F32, vec![None, Some(2)]);
        let request = Request::new(vec![free, spec(&[4, 3, 8, 8])]);
        assert_eq!(request.validate().unwrap(), Some(4));
    }

    #[test]
    fn refuses_inputs_that_cannot_be_fed() {
        assert!(Request::new(vec![]).validate().is_err());
        assert!(Request::new(vec![spec(&[])]).validate().is_err());
        assert!(Request::new(vec![spec(&[1, 0])]).validate().is_err());
        let error = Request::new(vec![spec(&[2, 1]), spec(&[3, 1])]).validate();
        assert_eq!(
            error.unwrap_err().to_string(),
            "model input 'x': expected a batch axis of 2, as the other inputs, found [3,1]"
        );
        let mut request = Request::new(vec![spec(&[1, 3, 8, 8])]);
        request.preprocess.mean = vec![1.0, 2.0];
        assert!(request.validate().is_err());
        request.preprocess.mean = vec![];
        request.max_samples = Some(0);
        assert!(request.validate().is_err());
    }
}
