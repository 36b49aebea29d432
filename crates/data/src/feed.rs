//! One array of a data set made to fit one model input.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sepconv_ir::Tensor;

use crate::convert;
use crate::dense::{bytes_of, dense, width};
use crate::error::DataError;
use crate::geometry::Geometry;
use crate::layout::Layout;
use crate::planes::{self, Planes};
use crate::preprocess::Preprocess;
use crate::request::InputSpec;
use crate::table::Table;

/// Rows that are looked at together where indices are checked.
const CHECKED: usize = 1024;

/// An array whose rows are samples of one model input.
#[derive(Debug)]
pub(crate) struct Feed {
    path: PathBuf,
    table: Table,
    spec: InputSpec,
    recipe: Preprocess,
    /// The number of samples.
    rows: usize,
    /// True where the table's rows are not the samples: one sample without a batch axis.
    lone: bool,
    /// The layout of the array, and that of the model's input.
    layouts: [Layout; 2],
    /// The shape of a stored sample, with the rank of the model's.
    stored: Vec<usize>,
    /// The shape of a sample as the model sees it.
    pub sample: Vec<usize>,
}

/// An array's axes as they are read: the number of samples and the shape of one.
struct Axes {
    rows: usize,
    lone: bool,
    stored: Vec<usize>,
}

/// Reads the axes of an array of `shape` for `spec`.
///
/// Beside [n, sample...] these are understood: [n, 1, sample...] (an extra
/// batch axis), [n, h, w] for a model of one channel, and a lone sample
/// without the first axis where its shape fits.
fn axes(shape: &[usize], spec: &InputSpec, [from, to]: [Layout; 2]) -> Option<Axes> {
    let rank = spec.dims.len();
    let many = |stored: Vec<usize>| {
        let rows = shape[0];
        Some(Axes {
            rows,
            lone: false,
            stored,
        })
    };
    if shape.len() == rank {
        return many(shape[1..].to_vec());
    }
    if shape.len() == rank + 1 && shape[1] == 1 {
        return many(shape[2..].to_vec());
    }
    if shape.len() + 1 != rank {
        return None;
    }
    if spec.is_picture() && spec.dims[to.channel_axis()] == Some(1) {
        let mut stored = shape[1..].to_vec();
        stored.insert(from.channel_axis() - 1, 1);
        return many(stored);
    }
    Some(Axes {
        rows: 1,
        lone: true,
        stored: shape.to_vec(),
    })
}

impl Feed {
    /// As [`Feed::new`], of an array that may have a value of the whole input for each sample ([`InputSpec::of_clips`]).
    pub(crate) fn of_array(
        path: &Path,
        spec: &InputSpec,
        recipe: &Preprocess,
        table: Table,
    ) -> Result<Self, DataError> {
        let clips = spec.of_clips(&table.shape);
        Self::new(path, clips.as_ref().unwrap_or(spec), recipe, table)
    }

    /// Checks that the array of `table` suits `spec` once `recipe` is applied.
    pub(crate) fn new(
        path: &Path,
        spec: &InputSpec,
        recipe: &Preprocess,
        table: Table,
    ) -> Result<Self, DataError> {
        let wrong = |expected: String, found: String| {
            DataError::mismatch(
                path,
                format!("{} for input '{}'", table.what, spec.name),
                expected,
                found,
            )
        };
        let picture = spec.is_picture();
        let recipe = if picture {
            recipe.clone()
        } else {
            Preprocess::default()
        };
        if recipe.is_identity() && !convert::castable(table.dtype, spec.dtype) {
            return Err(wrong(
                format!("values that convert to {}", spec.dtype),
                table.dtype.to_string(),
            ));
        }
        let shown = format!("{:?}", table.shape);
        let misfit = |hint: &str| {
            let (shape, dims) = (&shown, spec.shape_text());
            let samples = if spec.whole {
                "one per sample or one for all"
            } else {
                "samples first"
            };
            wrong(
                format!("shape {dims} with {samples}"),
                format!("{shape}{hint}"),
            )
        };
        let to = spec.layout_or(recipe.layout);
        let from = recipe.layout.unwrap_or(to);
        let axes = axes(&table.shape, spec, [from, to]).ok_or_else(|| misfit(""))?;
        if axes.rows == 0 {
            return Err(DataError::empty(
                path,
                format!("{} has shape {shown}", table.what),
            ));
        }
        let fit = |from: Layout| -> Result<Vec<usize>, DataError> {
            let Some(mut planar) = from.planar(&axes.stored).filter(|_| picture) else {
                return Ok(axes.stored.clone());
            };
            if recipe.changes_geometry() {
                let what = format!("{} ({})", table.what, path.display());
                let (h, w) = planes::output_size(&recipe, &what, planar[1], planar[2])?;
                planar = [planar[0], h, w];
            }
            Ok(to.sample(planar))
        };
        if axes.stored.contains(&0) {
            return Err(misfit(""));
        }
        let sample = fit(from)?;
        if !spec.takes(&sample) {
            let (other, name) = match from {
                Layout::Nchw => (Layout::Nhwc, "nhwc"),
                Layout::Nhwc => (Layout::Nchw, "nchw"),
            };
            let turned = picture && fit(other).is_ok_and(|s| spec.takes(&s));
            let after = if picture && recipe.changes_geometry() {
                format!(" ({sample:?} each after resize and crop)")
            } else {
                String::new()
            };
            return Err(misfit(&match turned {
                true => format!(" (layout {name} would fit)"),
                false => after,
            }));
        }
        if picture {
            recipe.check_channels(&spec.name, sample[to.channel_axis() - 1])?;
        }
        if let Some(indices) = &spec.indices {
            in_range(path, &table, spec, indices)?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            spec: spec.clone(),
            recipe,
            rows: axes.rows,
            lone: axes.lone,
            layouts: [from, to],
            stored: axes.stored,
            sample,
            table,
        })
    }

    /// True of an input without a batch axis.
    pub(crate) fn is_whole(&self) -> bool {
        self.spec.whole
    }

    /// The array's name in messages.
    pub(crate) fn what(&self) -> &str {
        &self.table.what
    }

    /// The number of samples; `None` where one value serves for any.
    pub(crate) fn rows(&self) -> Option<usize> {
        Some(self.rows).filter(|rows| !(self.spec.whole && *rows == 1))
    }

    /// The way of the pixels of its pictures; `None` where it takes none.
    pub(crate) fn geometry(&self) -> Result<Option<Geometry>, DataError> {
        let planar = self.layouts[0].planar(&self.stored);
        let planar = planar.filter(|_| self.spec.is_picture());
        let what = format!("{} ({})", self.table.what, self.path.display());
        planar
            .map(|[_, h, w]| Geometry::of(&self.recipe, &what, h, w))
            .transpose()
    }

    /// The given samples as the model takes them: [rows.len(), sample...] of the input's dtype; of an input without
    /// a batch axis the value [sample...] of the first.
    pub(crate) fn read(&self, rows: &[usize]) -> Result<Tensor, DataError> {
        if !self.spec.whole {
            return self.read_rows(rows);
        }
        let row = match self.rows() {
            Some(_) => rows.first().copied().unwrap_or(0),
            None => 0,
        };
        let value = self.read_rows(&[row])?;
        let bytes = value.data().cloned().unwrap_or_default();
        dense(value.dtype(), self.sample.clone(), bytes)
    }

    fn read_rows(&self, rows: &[usize]) -> Result<Tensor, DataError> {
        let mut shape = vec![rows.len()];
        let raw = if self.lone {
            let all: Vec<usize> = (0..self.table.rows()).collect();
            self.table.read(&all)?
        } else {
            self.table.read(rows)?
        };
        let dtype = raw.dtype();
        let [from, to] = self.layouts;
        let planar = from.planar(&self.stored).filter(|_| self.spec.is_picture());
        let cast = |raw: Result<Tensor, DataError>| {
            let raw = self.table.named(raw)?;
            self.table.named(convert::cast(raw, self.spec.dtype))
        };
        let Some(planar) = planar else {
            shape.extend(&self.stored);
            let bytes = raw.data().cloned().unwrap_or_default();
            return cast(dense(dtype, shape, bytes));
        };
        if self.recipe.is_identity() {
            shape.extend(to.sample(planar));
            let turned = from.turned(to, bytes_of(&raw).to_vec(), planar, width(dtype));
            return cast(dense(dtype, shape, turned));
        }
        shape.extend(planar);
        let planes = from.turned(Layout::Nchw, bytes_of(&raw).to_vec(), planar, width(dtype));
        self.prepared(&self.table.named(dense(dtype, shape, planes))?)
    }

    /// The recipe applied to each sample of [n, c, h, w], laid out as the model takes it.
    fn prepared(&self, array: &Tensor) -> Result<Tensor, DataError> {
        let [n, channels, height, width] = array.dims()[..] else {
            return Err(DataError::array("rank 4", format!("{:?}", array.dims())));
        };
        let what = format!("{} ({})", self.table.what, self.path.display());
        let numbers = || DataError::array("numbers", array.dtype());
        let values = convert::to_f32(array).ok_or_else(numbers)?;
        let parts: Vec<Result<Vec<u8>, DataError>> = values
            .par_chunks_exact((channels * height * width).max(1))
            .map(|sample| {
                let planes = Planes {
                    channels,
                    height,
                    width,
                    data: sample.to_vec(),
                };
                let done = planes::apply(&self.recipe, &what, planes, !array.dtype().is_float())?;
                Ok(done.bytes(self.spec.dtype, self.layouts[1]))
            })
            .collect();
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&part?);
        }
        let mut shape = vec![n];
        shape.extend_from_slice(&self.sample);
        self.table.named(dense(self.spec.dtype, shape, bytes))
    }
}

/// The number of samples that `feeds` agree on: 1 where one value of each serves for any.
///
/// # Errors
/// The index of the first that has another number than those before it, with the two numbers.
pub(crate) fn samples_of(feeds: &[Feed]) -> Result<usize, (usize, [usize; 2])> {
    let mut known = None;
    for (index, feed) in feeds.iter().enumerate() {
        match (known, feed.rows()) {
            (Some(rows), Some(own)) if rows != own => return Err((index, [rows, own])),
            (None, own) => known = own,
            _ => {}
        }
    }
    Ok(known.unwrap_or(1))
}

/// Refuses an index that the graph can look nothing up with.
fn in_range(
    path: &Path,
    table: &Table,
    spec: &InputSpec,
    indices: &Range<i64>,
) -> Result<(), DataError> {
    let all: Vec<usize> = (0..table.rows()).collect();
    for rows in all.chunks(CHECKED) {
        let values = convert::to_i64(&table.read(rows)?).unwrap_or_default();
        if let Some(odd) = values.iter().find(|v| !indices.contains(v)) {
            return Err(DataError::mismatch(
                path,
                format!("{} for input '{}'", table.what, spec.name),
                format!("indices {} to {}", indices.start, indices.end - 1),
                odd,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChannelOrder;
    use sepconv_ir::DType;

    fn spec(dtype: DType, dims: &[usize]) -> InputSpec {
        let mut dims: Vec<Option<usize>> = dims.iter().map(|&d| Some(d)).collect();
        dims.insert(0, None);
        InputSpec::new("x", dtype, dims)
    }

    fn feed(array: Tensor, spec: &InputSpec, recipe: &Preprocess) -> Result<Feed, DataError> {
        let path = Path::new("a.npz");
        let table = Table::from_array(path, "array 'images'".into(), array)?;
        Feed::new(path, spec, recipe, table)
    }

    fn bytes(shape: &[usize]) -> Tensor {
        let n = shape.iter().product::<usize>();
        let values: Vec<u8> = (0..n).map(|i| i as u8).collect();
        Tensor::from_slice(shape, &values).unwrap()
    }

    #[test]
    fn values_pass_as_they_are_without_a_recipe() {
        let spec = spec(DType::F32, &[3, 1, 2]);
        let feed = feed(bytes(&[4, 3, 1, 2]), &spec, &Preprocess::default()).unwrap();
        let got = feed.read(&[1, 3]).unwrap();
        assert_eq!(got.dims(), &[2, 3, 1, 2]);
        assert_eq!(
            &*got.as_slice::<f32>().unwrap(),
            &[6., 7., 8., 9., 10., 11., 18., 19., 20., 21., 22., 23.]
        );
    }

    #[test]
    fn nhwc_is_turned() {
        let spec = spec(DType::U8, &[3, 1, 2]);
        let recipe = Preprocess {
            layout: Some(Layout::Nhwc),
            ..Preprocess::default()
        };
        let feed = feed(bytes(&[2, 1, 2, 3]), &spec, &recipe).unwrap();
        assert_eq!(
            feed.read(&[1]).unwrap().data().unwrap()[..],
            [6, 9, 7, 10, 8, 11]
        );
    }

    #[test]
    fn layouts_of_the_array_and_of_the_model() {
        let last = spec(DType::U8, &[2, 8, 3]);
        let with = |layout| Preprocess {
            layout,
            ..Preprocess::default()
        };
        // As the model takes it, said or not.
        for layout in [None, Some(Layout::Nhwc)] {
            let same = feed(bytes(&[2, 2, 8, 3]), &last, &with(layout)).unwrap();
            assert_eq!(same.sample, [2, 8, 3]);
            assert_eq!(
                same.read(&[1]).unwrap().data().unwrap()[..4],
                [48, 49, 50, 51]
            );
        }
        let other = feed(bytes(&[2, 3, 2, 8]), &last, &with(Some(Layout::Nchw))).unwrap();
        let got = other.read(&[0]).unwrap();
        assert_eq!(got.dims(), &[1, 2, 8, 3]);
        assert_eq!(got.data().unwrap()[..6], [0, 16, 32, 1, 17, 33]);
        for (shape, layout, hint) in [
            ([2, 3, 2, 8], None, "nchw"),
            ([2, 2, 8, 3], Some(Layout::Nchw), "nhwc"),
        ] {
            let error = feed(bytes(&shape), &last, &with(layout))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&format!("(layout {hint} would fit)")),
                "{error}"
            );
        }
        // The layout of the graph counts for more than extents do.
        let mut odd = last.clone();
        odd.layout = Some(Layout::Nchw);
        assert!(feed(bytes(&[2, 8, 3, 2]), &odd, &with(Some(Layout::Nhwc))).is_ok());
        // Grey pictures without the axis of one channel.
        let grey = spec(DType::U8, &[2, 8, 1]);
        let grey = feed(bytes(&[5, 2, 8]), &grey, &with(None)).unwrap();
        assert_eq!(
            (grey.rows().unwrap(), &grey.sample[..]),
            (5, &[2, 8, 1][..])
        );
    }

    #[test]
    fn a_recipe_goes_by_channel_wherever_that_is() {
        let recipe = |layout| Preprocess {
            scale: 0.5,
            mean: vec![1.0, 2.0, 3.0],
            crop: "1".parse().ok(),
            layout,
            ..Preprocess::default()
        };
        let mut last = spec(DType::F32, &[1, 1, 3]);
        last.layout = Some(Layout::Nhwc);
        let read = |shape: &[usize], layout| {
            let feed = feed(bytes(shape), &last, &recipe(layout)).unwrap();
            assert_eq!(feed.sample, [1, 1, 3]);
            feed.read(&[0]).unwrap().to_f32().unwrap().into_owned()
        };
        // The centre of [3, 3, 3] is element 4 of each plane, or pixel 4.
        assert_eq!(read(&[1, 3, 3, 3], None), [5.0, 4.5, 4.0]);
        assert_eq!(read(&[1, 3, 3, 3], Some(Layout::Nchw)), [1.0, 4.5, 8.0]);
    }

    #[test]
    fn batch_axes_missing_or_extra() {
        let none = Preprocess::default();
        let rgb = spec(DType::U8, &[3, 2, 2]);
        let lone = feed(bytes(&[3, 2, 2]), &rgb, &none).unwrap();
        assert_eq!(lone.rows().unwrap(), 1);
        assert_eq!(lone.read(&[0]).unwrap().dims(), &[1, 3, 2, 2]);
        let extra = feed(bytes(&[5, 1, 3, 2, 2]), &rgb, &none).unwrap();
        assert_eq!(
            (
                extra.rows().unwrap(),
                extra.read(&[4]).unwrap().data().unwrap()[0]
            ),
            (5, 48)
        );
        let grey = spec(DType::U8, &[1, 2, 2]);
        let grey = feed(bytes(&[5, 2, 2]), &grey, &none).unwrap();
        assert_eq!(
            (grey.rows().unwrap(), &grey.sample[..]),
            (5, &[1, 2, 2][..])
        );
    }

    #[test]
    fn misfits_are_named() {
        let none = Preprocess::default();
        let rgb = spec(DType::F32, &[3, 2, 4]);
        let text = |array| feed(array, &rgb, &none).unwrap_err().to_string();
        assert_eq!(
            text(bytes(&[5, 2, 4, 3])),
            "a.npz: array 'images' for input 'x': expected shape [?,3,2,4] with samples first, \
             found [5, 2, 4, 3] (layout nhwc would fit)"
        );
        assert!(text(bytes(&[0, 3, 2, 4])).contains("at least one sample"));
        assert!(text(bytes(&[5, 3, 2])).contains("found [5, 3, 2]"));
        let resize = Preprocess {
            resize: "4x2".parse().ok(),
            ..Preprocess::default()
        };
        assert!(feed(bytes(&[5, 3, 0, 4]), &rgb, &resize).is_err());
        let tokens = spec(DType::I64, &[2]);
        let float = Tensor::from_f32(vec![1, 2], vec![0.5, 1.0]);
        let error = feed(float, &tokens, &none).unwrap_err().to_string();
        assert!(error.contains("convert to i64, found f32"), "{error}");
    }

    #[test]
    fn a_recipe_on_arrays() {
        let spec = spec(DType::F16, &[3, 1, 1]);
        let recipe = Preprocess {
            scale: 0.5,
            mean: vec![1.0],
            crop: "1".parse().ok(),
            channel_order: ChannelOrder::Bgr,
            ..Preprocess::default()
        };
        let feed = feed(bytes(&[1, 3, 3, 3]), &spec, &recipe).unwrap();
        let got = feed.read(&[0]).unwrap();
        assert_eq!(got.dtype(), DType::F16);
        assert_eq!(&*got.to_f32().unwrap(), &[10.0, 5.5, 1.0]);
    }

    #[test]
    fn inputs_without_a_batch_axis_serve_for_all_samples_or_come_one_by_one() {
        let none = Preprocess::default();
        let state = InputSpec::of_whole("h", DType::F32, [Some(2), None, Some(3)]);
        let one = feed(bytes(&[2, 1, 3]), &state, &none).unwrap();
        assert_eq!((one.rows(), &one.sample[..]), (None, &[2, 1, 3][..]));
        let read = |feed: &Feed, rows: &[usize]| {
            let value = feed.read(rows).unwrap();
            let floats = value.to_f32().map(|floats| f64::from(floats[0]));
            let first = floats.or_else(|| Some(value.to_i64()?[0] as f64));
            (value.dims().to_vec(), first.unwrap())
        };
        assert_eq!(read(&one, &[7]), (vec![2, 1, 3], 0.0));
        let each = feed(bytes(&[4, 2, 1, 3]), &state, &none).unwrap();
        assert_eq!(each.rows(), Some(4));
        assert_eq!(read(&each, &[3]), (vec![2, 1, 3], 18.0));
        let scalar = InputSpec::of_whole("rate", DType::I64, []);
        let rate = feed(bytes(&[]), &scalar, &none).unwrap();
        assert_eq!((rate.rows(), read(&rate, &[5, 6])), (None, (vec![], 0.0)));
        assert_eq!(samples_of(&[rate, each]), Ok(4));
        let error = feed(bytes(&[3, 1, 3]), &state, &none).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("shape [2,?,3] with one per sample or one for all"),
            "{error}"
        );
    }
}
