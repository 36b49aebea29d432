//! Segmentation: intersection over union of a model's masks and the original's, or labelled ones.

use super::seen::Seen;
use crate::evaluate::rows::Rows;
use crate::evaluate::{Against, Measure, Metric};
use crate::limits::{jackknife, pseudo_values};
use sepconv_data::{IGNORED, Mask};
use sepconv_model::parts::channel_axis;

/// Numbers nearer to 0 or 1 than this are at an end, and those of a mask at least so large a share of all; at least so
/// large a share is of the mask.
const AT_END: f64 = 0.1;
const AT_ENDS: f64 = 0.9;
const MASKED: f64 = 1e-3;

/// From so many channels on they may be classes; two may be coordinates.
const CLASSES: usize = 3;
/// Sizes of the channels of classes differ by less than this.
const ONE_UNIT: f64 = 30.0;
/// Labels are below this.
const MOST_LABELS: i64 = 1 << 16;
/// Rounding of probabilities.
const NEAR: f64 = 1e-3;

/// An output with a class for every position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Segmentation {
    pub output: usize,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// The greatest of so many channels.
    Greatest {
        channels_first: bool,
        channels: usize,
    },
    /// One channel, and the value that the mask begins above.
    Above(f64),
    /// Whole numbers.
    Labels,
}

impl Segmentation {
    /// The form of an output; `None` where it is none of a mask.
    pub fn of(seen: Seen<'_>, output: usize) -> Option<Self> {
        let rows = seen.of(output).next()?;
        let sample = rows.sample();
        let form = match sample {
            [_, _] | [1, _, _] if !rows.are_floats() => Form::Labels,
            [_, _] | [1, _, _] | [_, _, 1] => {
                let probabilities = seen.values(output).all(|v| (0.0..=1.0).contains(&v));
                Form::Above(if probabilities { 0.5 } else { 0.0 })
            }
            [a, b, c] => {
                let dims = [&[1], sample].concat();
                let channels_first = match seen.extents() {
                    Some(extents) if extents == [*b, *c] => true,
                    Some(extents) if extents == [*a, *b] => false,
                    _ => channel_axis(&dims) == Some(1),
                };
                Form::Greatest {
                    channels_first,
                    channels: if channels_first { *a } else { *c },
                }
            }
            _ => return None,
        };
        Some(Self { output, form })
    }

    /// True for an output that is one of masks without being named so: whole numbers for every
    /// position of the picture, probabilities over channels, or at least three channels of one
    /// unit, of another number than the picture's and not behind a `Relu`; one channel where a name says so, or where a picture of several
    /// gives numbers between 0 and 1 that are near the ends.
    pub fn is_plain(seen: Seen<'_>, output: usize) -> bool {
        let Some(rows) = seen.of(output).next() else {
            return false;
        };
        let Some(found) = Self::of(seen, output) else {
            return false;
        };
        let sample = rows.sample();
        let named = seen.is_named(output, &["mask", "seg"]);
        let [height, width] = seen.extents().unwrap_or([0, 0]);
        let whole = |h: &usize, w: &usize| *h == height && *w == width && height > 1;
        match (found.form, sample) {
            (Form::Labels, [h, w] | [1, h, w]) => whole(h, w),
            (
                Form::Greatest {
                    channels_first,
                    channels,
                },
                [a, b, c],
            ) => {
                let (h, w) = if channels_first { (b, c) } else { (a, b) };
                let many =
                    channels >= CLASSES && seen.picture.is_none_or(|[own, _, _]| channels != own);
                whole(h, w)
                    && (named
                        || are_probabilities(rows, channels_first, channels)
                        || (many
                            && !seen.are_activated(output)
                            && is_of_one_unit(rows, channels_first, channels)))
            }
            (Form::Above(_), [1, h, w] | [h, w, 1]) => {
                let other = seen.picture.is_some_and(|[own, _, _]| own != 1);
                whole(h, w) && (named || (other && is_two_valued(seen, output)))
            }
            _ => false,
        }
    }

    /// True for an output of as many channels in the same places, whatever its extents: a mask at another scale.
    pub fn is_alike(&self, seen: Seen<'_>, output: usize) -> bool {
        let channels = |output: usize| match (self.form, seen.sample(output)) {
            (
                Form::Greatest {
                    channels_first: false,
                    ..
                },
                [_, _, channels],
            ) => Some(*channels),
            (Form::Greatest { .. }, [channels, _, _]) => Some(*channels),
            (Form::Above(_) | Form::Labels, [_, _] | [1, _, _] | [_, _, 1]) => Some(1),
            _ => None,
        };
        let own = channels(self.output);
        own.is_some() && channels(output) == own
    }

    /// Rows and columns of a mask, of an output's sample.
    pub fn extents(&self, sample: &[usize]) -> Option<[usize; 2]> {
        let last = matches!(
            self.form,
            Form::Greatest {
                channels_first: false,
                ..
            }
        );
        match *sample {
            [h, w] => Some([h, w]),
            [1, h, w] if !last => Some([h, w]),
            [h, w, 1] => Some([h, w]),
            [h, w, _] if last => Some([h, w]),
            [_, h, w] => Some([h, w]),
            _ => None,
        }
    }

    /// Positions of each class in the mask of sample `i` and in the labelled one, which has the extents
    /// of the picture. Where the output has others, the class of a position is that of the nearest.
    ///
    /// # Errors
    /// The reason for which the labels are not those of the output.
    pub fn labelled(&self, rows: &Rows, i: usize, labels: &Mask) -> Result<Overlaps, String> {
        let found = self.mask(rows.row(i));
        let extents = self.extents(rows.sample());
        let extents = extents.filter(|[h, w]| h * w == found.len() && h * w > 0);
        let [height, width] = extents.ok_or("the output has no mask of the sample")?;
        let mut pairs = Vec::with_capacity(labels.labels.len());
        for (place, label) in labels.labels.iter().enumerate() {
            let row = place / labels.width * height / labels.height;
            let column = place % labels.width * width / labels.width;
            if let Some(label) = self.class(*label)? {
                pairs.push((label, found[row * width + column]));
            }
        }
        Ok(Overlaps::counted(self, &pairs))
    }

    /// The class of a label; `None` where it does not count.
    fn class(&self, label: i64) -> Result<Option<usize>, String> {
        let most = match self.form {
            Form::Above(_) => return Ok((label >= 0).then_some(usize::from(label > 0))),
            Form::Greatest { channels, .. } => channels as i64,
            Form::Labels => MOST_LABELS,
        };
        match label {
            IGNORED | ..0 => Ok(None),
            label if label < most => Ok(Some(label as usize)),
            label => Err(format!(
                "a label is {label}, and the model has {most} classes"
            )),
        }
    }

    /// The class of every position of a sample.
    pub fn mask(&self, row: &[f64]) -> Vec<usize> {
        match self.form {
            Form::Labels => row.iter().map(|v| v.round().max(0.0) as usize).collect(),
            Form::Above(value) => row.iter().map(|v| usize::from(*v > value)).collect(),
            Form::Greatest {
                channels_first,
                channels,
            } => {
                let area = row.len() / channels.max(1);
                let at = |position: usize, channel: usize| match channels_first {
                    true => row[channel * area + position],
                    false => row[position * channels + channel],
                };
                let greatest = |position: usize| {
                    (1..channels).fold(0, |best, channel| {
                        match at(position, channel) > at(position, best) {
                            true => channel,
                            false => best,
                        }
                    })
                };
                (0..area).map(greatest).collect()
            }
        }
    }
}

/// The values of the channels, each with its positions, of the first sample.
fn channels(rows: &Rows, channels_first: bool, count: usize) -> Vec<Vec<f64>> {
    let row = rows.row(0);
    let area = row.len() / count.max(1);
    let of = |c: usize| -> Vec<f64> {
        match channels_first {
            true => row[c * area..(c + 1) * area].to_vec(),
            false => row[c..].iter().step_by(count).copied().collect(),
        }
    };
    (0..count).map(of).collect()
}

/// True for numbers between 0 and 1 of which nearly all are near the ends, at either of them.
fn is_two_valued(seen: Seen<'_>, output: usize) -> bool {
    let (mut all, mut ends, mut masked) = (0_usize, 0_usize, 0_usize);
    for value in seen.values(output) {
        if !(0.0..=1.0).contains(&value) {
            return false;
        }
        all += 1;
        ends += usize::from(!(AT_END..=1.0 - AT_END).contains(&value));
        masked += usize::from(value > 0.5);
    }
    let share = |count: usize| count as f64 / all.max(1) as f64;
    let masked = share(masked);
    share(ends) >= AT_ENDS && (MASKED..=1.0 - MASKED).contains(&masked)
}

fn are_probabilities(rows: &Rows, channels_first: bool, count: usize) -> bool {
    let all = channels(rows, channels_first, count);
    let area = all.first().map_or(0, Vec::len);
    count > 1
        && all.iter().flatten().all(|v| *v >= 0.0)
        && (0..area).all(|i| (all.iter().map(|c| c[i]).sum::<f64>() - 1.0).abs() < NEAR)
}

fn is_of_one_unit(rows: &Rows, channels_first: bool, count: usize) -> bool {
    let sizes = channels(rows, channels_first, count);
    let sizes = sizes.iter().map(|c| c.iter().map(|v| v * v).sum::<f64>());
    let (low, high) = sizes.fold((f64::INFINITY, 0.0_f64), |(low, high), size| {
        (low.min(size), high.max(size))
    });
    high > 0.0 && high <= ONE_UNIT * ONE_UNIT * low
}

/// Positions of each class in both masks of a picture, and in either.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Overlaps {
    both: Vec<u64>,
    either: Vec<u64>,
}

impl Overlaps {
    /// Of sample `i` of the original's rows and another model's.
    pub fn of(how: &Segmentation, a: &Rows, b: &Rows, i: usize) -> Self {
        let pairs = how.mask(a.row(i)).into_iter().zip(how.mask(b.row(i)));
        Self::counted(how, &pairs.collect::<Vec<_>>())
    }

    /// Of the classes of every position in both.
    fn counted(how: &Segmentation, pairs: &[(usize, usize)]) -> Self {
        let classes = pairs.iter().map(|(a, b)| a.max(b) + 1).max().unwrap_or(0);
        let mut seen = Self {
            both: vec![0; classes],
            either: vec![0; classes],
        };
        for &(a, b) in pairs {
            seen.either[a] += 1;
            match a == b {
                true => seen.both[a] += 1,
                false => seen.either[b] += 1,
            }
        }
        // The outside of the only mask is no class.
        if matches!(how.form, Form::Above(_)) && classes > 0 {
            (seen.both[0], seen.either[0]) = (0, 0);
        }
        seen
    }

    fn add(&mut self, other: &Self) {
        for (all, next) in [
            (&mut self.both, &other.both),
            (&mut self.either, &other.either),
        ] {
            all.resize(all.len().max(next.len()), 0);
            all.iter_mut()
                .zip(next)
                .for_each(|(all, next)| *all += next);
        }
    }

    /// Mean over the classes that either shows, in percent, of all but those of `without`.
    fn mean(&self, without: &Self) -> f64 {
        let left = |all: &[u64], without: &[u64], class: usize| {
            (all[class] - without.get(class).copied().unwrap_or(0)) as f64
        };
        let ratios = (0..self.either.len()).filter_map(|class| {
            let either = left(&self.either, &without.either, class);
            (either > 0.0).then(|| left(&self.both, &without.both, class) / either)
        });
        let ratios: Vec<f64> = ratios.collect();
        100.0 * ratios.iter().sum::<f64>() / ratios.len() as f64
    }
}

/// Intersection over union, mean over the classes that either side shows.
pub(super) fn measures(output: &str, against: Against, pictures: &[Overlaps]) -> Vec<Measure> {
    let mut total = Overlaps::default();
    pictures.iter().for_each(|picture| total.add(picture));
    let without: Vec<f64> = pictures.iter().map(|picture| total.mean(picture)).collect();
    let value = total.mean(&Overlaps::default());
    let measure = Measure {
        value,
        n: pictures.len(),
        samples: pseudo_values(value, &without),
        ..Measure::blank(Metric::MeanIou, against, output)
    };
    vec![measure.with_error(jackknife(&without)).doubted()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_ir::Tensor;

    use super::*;

    fn rows(dims: &[usize], values: &[f32]) -> Rows {
        let tensor = Tensor::from_f32(dims.to_vec(), values.to_vec());
        Rows::of(&tensor, dims[0], dims[0]).unwrap()
    }

    fn how(form: Form) -> Segmentation {
        Segmentation { output: 0, form }
    }

    #[test]
    fn masks_are_the_greatest_channels_wherever_these_lie() {
        let first = Form::Greatest {
            channels_first: true,
            channels: 3,
        };
        let last = Form::Greatest {
            channels_first: false,
            channels: 3,
        };
        // Three channels of two positions.
        assert_eq!(how(first).mask(&[1.0, 0.0, 2.0, 0.0, 0.0, 9.0]), [1, 2]);
        assert_eq!(how(last).mask(&[1.0, 2.0, 0.0, 0.0, 0.0, 9.0]), [1, 2]);
        assert_eq!(how(Form::Above(0.5)).mask(&[0.4, 0.6]), [0, 1]);
        assert_eq!(how(Form::Labels).mask(&[3.0, 0.0]), [3, 0]);
    }

    #[test]
    fn unions_and_intersections_by_hand() {
        let labels = how(Form::Labels);
        let a = rows(&[2, 1, 4], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        let b = rows(&[2, 1, 4], &[0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        let all: Vec<Overlaps> = [0, 1].map(|i| Overlaps::of(&labels, &a, &b, i)).to_vec();
        // Class 0: 5 of 6, class 1: 2 of 3.
        let seen = measures("y", Against::Original, &all);
        assert!((seen[0].value - 75.0).abs() < 1e-9, "{seen:?}");
        assert_eq!(seen[0].n, 2);
        // Without the first picture 1, without the second (1/2 + 2/3) / 2.
        let half = (100.0 - 100.0 * 7.0 / 12.0) / 2.0;
        assert!((seen[0].stderr.unwrap() - half).abs() < 1e-9, "{seen:?}");
        // Outside of a mask is no class.
        let above = how(Form::Above(0.5));
        let seen = measures("y", Against::Original, &[Overlaps::of(&above, &a, &b, 0)]);
        assert!((seen[0].value - 200.0 / 3.0).abs() < 1e-9, "{seen:?}");
    }

    #[test]
    fn labels_that_are_ignored_do_not_count_and_others_are_classes() {
        let last = how(Form::Greatest {
            channels_first: false,
            channels: 2,
        });
        // Two positions of two channels: classes 0 and 1, for a picture of 2 by 4.
        let found = rows(&[1, 1, 2, 2], &[1.0, 0.0, 0.0, 1.0]);
        let mask = |labels: &[i64]| Mask {
            height: 2,
            width: 4,
            labels: labels.to_vec(),
        };
        let value = |how: &Segmentation, rows: &Rows, labels: &[i64]| {
            let overlaps = how.labelled(rows, 0, &mask(labels)).unwrap();
            let seen = measures("y", Against::Labels, &[overlaps]);
            assert_eq!(seen[0].against, Against::Labels);
            seen[0].value
        };
        assert_eq!(value(&last, &found, &[0, 0, 1, 1, 0, 0, 1, 1]), 100.0);
        assert_eq!(value(&last, &found, &[0, 255, -1, 1, 0, 0, 255, 1]), 100.0);
        // Class 0: 3 of 4, class 1: 4 of 5.
        let seen = value(&last, &found, &[1, 0, 1, 1, 0, 0, 1, 1]);
        assert!((seen - 77.5).abs() < 1e-9, "{seen}");
        let error = last.labelled(&found, 0, &mask(&[2; 8])).unwrap_err();
        assert_eq!(error, "a label is 2, and the model has 2 classes");
        // Of one channel, all above 0 is the mask.
        let one = how(Form::Above(0.5));
        let found = rows(&[1, 1, 2, 4], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
        let seen = value(&one, &found, &[0, 0, 255, 1, 0, 0, 255, 255]);
        assert!((seen - 75.0).abs() < 1e-9, "{seen}");
    }
}
