//! Contributions of batches to the measures, and the measures of all of them.

use std::collections::BTreeMap;

use crate::channels::Channels;
use crate::metrics::ONE_CLASS;
use crate::tasks::{LabelScores, Labelling, TaskMetric, TaskScores};

use super::classification::{ClassPair, accuracy, largest_class, place, relative};
use super::measure::{Against, Measure, Metric};
use super::outputs::{self, Moments};
use super::restoration::{self, Picture, picture};
use super::rows::Rows;

/// One output compared sample by sample.
#[derive(Debug, Clone)]
struct Compared {
    moments: Vec<Moments>,
    /// Against the original: errors by channel of every batch, and the rank of the output.
    channels: Option<(Vec<Channels>, usize)>,
    /// One per sample, where every sample is a row of classes.
    classes: Option<Vec<ClassPair>>,
    /// One per sample, where every sample is a picture.
    pictures: Option<Vec<Picture>>,
}

impl Compared {
    fn undefined(count: usize) -> Self {
        Self {
            moments: vec![Moments::UNDEFINED; count],
            channels: None,
            classes: None,
            pictures: None,
        }
    }

    fn moments(a: &Rows, b: &Rows) -> Vec<Moments> {
        let samples = 0..a.count();
        samples.map(|i| Moments::of(a.row(i), b.row(i))).collect()
    }

    /// An output of the original and of another model.
    fn with_original(a: &Rows, b: &Rows) -> Self {
        if a.sample() != b.sample() || a.count() != b.count() {
            return Self::undefined(a.count());
        }
        let pair = |i: usize| ClassPair::of(a.row(i), b.row(i));
        let ((dims, values), (_, others)) = (a.all(), b.all());
        Self {
            moments: Self::moments(a, b),
            channels: Some((vec![Channels::of(&dims, values, others)], dims.len())),
            classes: a.classes().map(|_| (0..a.count()).map(pair).collect()),
            pictures: None,
        }
    }

    /// A target and an output that fits it.
    fn with_target(target: &Rows, output: &Rows, peak: f64) -> Self {
        let pictures = picture(output.sample()).map(|shape| {
            let of = |i: usize| Picture::of(target.row(i), output.row(i), shape, peak);
            (0..target.count()).map(of).collect()
        });
        Self {
            moments: Self::moments(target, output),
            channels: None,
            classes: None,
            pictures,
        }
    }

    fn append(&mut self, other: Self) {
        fn both<T>(a: &mut Option<Vec<T>>, b: Option<Vec<T>>) {
            match (a.as_mut(), b) {
                (Some(a), Some(b)) => a.extend(b),
                _ => *a = None,
            }
        }
        self.moments.extend(other.moments);
        self.channels = match (self.channels.take(), other.channels) {
            (Some((mut a, rank)), Some((b, _))) => {
                a.extend(b);
                Some((a, rank))
            }
            _ => None,
        };
        both(&mut self.classes, other.classes);
        both(&mut self.pictures, other.pictures);
    }

    /// Those of its kind; of classes of which one has nearly all samples, those of numbers as well.
    fn measures(&self, output: &str, against: Against) -> Vec<Measure> {
        match (&self.classes, &self.pictures) {
            (Some(classes), _) => {
                let is_one = self.largest_class().is_some_and(|share| share >= ONE_CLASS);
                let numbers = is_one.then(|| self.of_numbers(output, against));
                let numbers = numbers.into_iter().flatten();
                relative(output, classes)
                    .into_iter()
                    .chain(numbers)
                    .collect()
            }
            (_, Some(pictures)) => restoration::measures(output, against, pictures),
            _ => self.of_numbers(output, against),
        }
    }

    fn of_numbers(&self, output: &str, against: Against) -> Vec<Measure> {
        let channels = self.channels.iter();
        let worst = channels.filter_map(|(c, rank)| worst_channel(output, c, *rank));
        let worst = worst.map(|m| Measure {
            n: self.moments.len(),
            ..m
        });
        let all = outputs::measures(output, against, &self.moments);
        worst.chain(all).collect()
    }

    /// Share of the samples that the original puts in its most frequent class.
    fn largest_class(&self) -> Option<f64> {
        largest_class(self.classes.as_ref()?)
    }
}

/// The SNR of the worst channel of several; `None` where there is one.
fn worst_channel(output: &str, batches: &[Channels], rank: usize) -> Option<Measure> {
    let worst = Channels::worst_of(batches, rank).filter(|w| w.channels > 1)?;
    let value = match (worst.snr_db, batches.iter().any(Channels::differ)) {
        (Some(db), _) => db,
        (None, true) => f64::NAN,
        (None, false) => f64::INFINITY,
    };
    let part = format!("{output}, channel {} of {}", worst.channel, worst.channels);
    let figure = Measure {
        value,
        n: batches.len(),
        ..Measure::blank(Metric::ChannelSnr, Against::Original, &part)
    };
    Some(figure.with_error(worst.stderr_db))
}

/// Places of the labels among the classes of an output.
#[derive(Debug, Clone)]
struct Placed {
    output: usize,
    classes: usize,
    places: Vec<Option<usize>>,
}

/// Contributions of a number of batches.
#[derive(Debug, Clone, Default)]
pub(super) struct Scores {
    placed: Option<Placed>,
    /// By output; `None` for outputs without a target or without numbers.
    target: Vec<Option<Compared>>,
    /// By output; `None` for outputs without numbers.
    original: Vec<Option<Compared>>,
    /// The caller's metric, and its value for every sample.
    own: Option<(Metric, Vec<f64>)>,
    /// Of the task's metric.
    task: Option<TaskScores>,
    /// Against boxes or masks.
    labels: Option<LabelScores>,
}

impl Scores {
    /// Holds the first output shaped for classes against labels. `false` where there is none.
    pub fn label(&mut self, outputs: &[Option<Rows>], labels: &[i64]) -> bool {
        let mut all = outputs.iter().enumerate();
        let shaped = all.find_map(|(i, rows)| {
            let rows = rows.as_ref()?;
            Some((i, rows, rows.classes()?))
        });
        let Some((output, rows, classes)) = shaped else {
            return false;
        };
        let places = labels.iter().enumerate();
        self.placed = Some(Placed {
            output,
            classes,
            places: places
                .map(|(i, label)| place(rows.row(i), *label))
                .collect(),
        });
        true
    }

    /// Holds outputs against targets, of which there may be fewer. The position of the first
    /// output whose shape does not fit is the error.
    pub fn aim(
        &mut self,
        outputs: &[Option<Rows>],
        targets: &[Rows],
        peak: f64,
    ) -> Result<(), usize> {
        let pairs = outputs.iter().zip(targets).enumerate();
        let compared = pairs.map(|(i, (output, target))| match output {
            Some(output) if target.fits(output) => {
                Ok(Some(Compared::with_target(target, output, peak)))
            }
            Some(_) => Err(i),
            None => Ok(None),
        });
        self.target = compared.collect::<Result<_, usize>>()?;
        Ok(())
    }

    /// Holds outputs against those of the original.
    pub fn relate(&mut self, original: &[Option<Rows>], outputs: &[Option<Rows>]) {
        let pairs = original.iter().zip(outputs);
        let compared = pairs.map(|(a, b)| {
            let a = a.as_ref()?;
            Some(match b {
                Some(b) => Compared::with_original(a, b),
                None => Compared::undefined(a.count()),
            })
        });
        self.original = compared.collect();
    }

    /// Takes the scores of the task's metric. Outputs that it is about are no classes.
    pub fn task(&mut self, metric: &TaskMetric, scores: TaskScores) {
        for output in metric.outputs() {
            if let Some(Some(compared)) = self.original.get_mut(output) {
                compared.classes = None;
            }
        }
        self.task = Some(scores);
    }

    /// Takes the scores against boxes or masks.
    pub fn labels(&mut self, scores: LabelScores) {
        self.labels = Some(scores);
    }

    /// Takes the values of the caller's metric.
    pub fn own(&mut self, metric: Metric, values: Vec<f64>) {
        self.own = Some((metric, values));
    }

    /// Adds the scores of the batch after those so far.
    pub fn append(&mut self, next: Self) {
        match (&mut self.own, next.own) {
            (Some((_, all)), Some((_, next))) => all.extend(next),
            (all, next) => *all = next,
        }
        match (&mut self.task, next.task) {
            (Some(all), Some(next)) => all.append(next),
            (all, next) => *all = next,
        }
        match (&mut self.labels, next.labels) {
            (Some(all), Some(next)) => all.append(next),
            (all, next) => *all = next,
        }
        match (&mut self.placed, next.placed) {
            (Some(all), Some(next)) => all.places.extend(next.places),
            (all, next) => *all = next,
        }
        append_outputs(&mut self.target, next.target);
        append_outputs(&mut self.original, next.original);
    }

    /// The measures of the task, the one that models are judged by first.
    pub fn of_task(&self, metric: &TaskMetric) -> Vec<Measure> {
        let scores = self.task.as_ref();
        scores.map_or(Vec::new(), |scores| metric.measured(scores))
    }

    /// The measures against boxes or masks, the one that models are judged by first.
    pub fn of_labels(&self, metric: &TaskMetric, labelling: &Labelling) -> Vec<Measure> {
        let scores = self.labels.as_ref();
        scores.map_or(Vec::new(), |scores| metric.labelled(labelling, scores))
    }

    /// Share of the samples that the original puts in its most frequent class, of every output of classes.
    pub fn largest_classes(&self, names: &[String]) -> BTreeMap<String, f64> {
        let outputs = names.iter().zip(&self.original);
        let share = |own: &Option<Compared>| own.as_ref()?.largest_class();
        let shares = outputs.filter_map(|(name, own)| Some((name.clone(), share(own)?)));
        shares.collect()
    }

    /// The other measures, by output within labels, target and original.
    pub fn measures(&self, names: &[String]) -> Vec<Measure> {
        let name = |i: usize| names.get(i).map_or("", String::as_str);
        let mut measures = Vec::new();
        if let Some((metric, values)) = &self.own {
            let outputs = names.join(", ");
            measures.push(Measure::mean(*metric, Against::Original, &outputs, values));
        }
        if let Some(placed) = &self.placed {
            let name = name(placed.output);
            measures.extend(accuracy(name, placed.classes, &placed.places));
        }
        for (against, all) in [
            (Against::Target, &self.target),
            (Against::Original, &self.original),
        ] {
            for (i, compared) in all.iter().enumerate() {
                let compared = compared.iter();
                measures.extend(compared.flat_map(|c| c.measures(name(i), against)));
            }
        }
        measures
    }
}

fn append_outputs(all: &mut Vec<Option<Compared>>, next: Vec<Option<Compared>>) {
    if all.is_empty() {
        *all = next;
        return;
    }
    for (all, next) in all.iter_mut().zip(next) {
        match (all.as_mut(), next) {
            (Some(all), Some(next)) => all.append(next),
            _ => *all = None,
        }
    }
}

/// The measure that a model is judged by: the caller's own; else the first against labels; else PSNR, or the SNR of
/// the worst output, with a target; else, against the original, that of the task, agreement, or the SNR of
/// the worst output or channel.
pub(super) fn primary<'m>(of_task: &'m [Measure], measures: &'m [Measure]) -> Option<&'m Measure> {
    let first = |metric| measures.iter().find(|m| m.metric == metric);
    let worst = |against| {
        let is_snr = |m: &&Measure| matches!(m.metric, Metric::Snr | Metric::ChannelSnr);
        let snr = measures
            .iter()
            .filter(|m| is_snr(m) && m.against == against);
        // NaN is worst of all.
        let rank = |m: &Measure| {
            if m.value.is_nan() {
                f64::NEG_INFINITY
            } else {
                m.value
            }
        };
        snr.min_by(|a, b| rank(a).total_cmp(&rank(b)))
    };
    let own = measures.iter().find(|m| matches!(m.metric, Metric::Own(_)));
    let mut labelled = measures.iter().filter(|m| m.against == Against::Labels);
    own.or_else(|| labelled.next())
        .or_else(|| first(Metric::Psnr))
        .or_else(|| worst(Against::Target))
        .or_else(|| of_task.first())
        .or_else(|| first(Metric::Agreement))
        .or_else(|| worst(Against::Original))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sepconv_ir::Tensor;

    fn rows(dims: &[usize], values: &[f32]) -> Option<Rows> {
        let tensor = Tensor::from_f32(dims.to_vec(), values.to_vec());
        Rows::of(&tensor, 1, 1)
    }

    fn named(scores: &Scores) -> Vec<(String, &'static str, &'static str)> {
        let names = ["a".to_owned(), "b".to_owned()];
        let measures = scores.measures(&names).into_iter();
        measures
            .map(|m| (m.output, m.metric.name(), m.against.name()))
            .collect()
    }

    #[test]
    fn outputs_are_measured_by_their_shape() {
        let mut scores = Scores::default();
        let outputs = [
            rows(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]),
            rows(&[1, 3], &[1.0, 5.0, 2.0]),
        ];
        assert!(scores.label(&outputs, &[1]));
        scores.relate(&outputs, &outputs);
        let expected = [
            ("b", "top-1", "labels"),
            ("a, channel 0 of 2", "channel-snr", "original"),
            ("a", "snr", "original"),
            ("a", "cosine", "original"),
            ("b", "agreement", "original"),
            ("b", "kl", "original"),
            // The one sample is of one class.
            ("b", "snr", "original"),
            ("b", "cosine", "original"),
        ];
        assert_eq!(
            named(&scores),
            expected.map(|(o, m, a)| (o.to_owned(), m, a))
        );
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            primary(&[], &scores.measures(&names)).unwrap().metric,
            Metric::TopOne
        );
        scores.placed = None;
        assert_eq!(
            primary(&[], &scores.measures(&names)).unwrap().metric,
            Metric::Agreement
        );
        assert!(!scores.label(&outputs[..1], &[1]));
    }

    #[test]
    fn pictures_have_psnr_and_other_targets_snr() {
        let output = [rows(&[1, 1, 2, 2], &[0.0; 4]), rows(&[1, 4], &[1.0; 4])];
        let target = [&[1, 1, 2, 2][..], &[1, 4]]
            .map(|shape| sepconv_ir::Tensor::from_f32(shape.to_vec(), vec![0.5; 4]));
        let target = target.map(|t| Rows::of_target(&t));
        let mut scores = Scores::default();
        scores.aim(&output, &target, 1.0).unwrap();
        let expected = [
            ("a", "psnr", "target"),
            ("b", "snr", "target"),
            ("b", "cosine", "target"),
        ];
        assert_eq!(
            named(&scores),
            expected.map(|(o, m, a)| (o.to_owned(), m, a))
        );
        let swapped = [target[1].clone(), target[0].clone()];
        assert_eq!(scores.aim(&output, &swapped, 1.0), Err(0));
    }

    #[test]
    fn a_sample_of_another_shape_makes_all_of_them_plain_outputs() {
        let classes = [rows(&[1, 3], &[1.0, 5.0, 2.0])];
        let odd = [rows(&[2, 3], &[0.5; 6])];
        let mut scores = Scores::default();
        scores.relate(&classes, &classes);
        assert_eq!(named(&scores)[0].1, "agreement");
        let mut next = Scores::default();
        next.relate(&odd, &odd);
        scores.append(next);
        assert_eq!(named(&scores)[0].1, "snr");
        // Shapes that differ between the models have no figure, which is the worst one.
        let mut next = Scores::default();
        next.relate(&classes, &odd);
        scores.append(next);
        let measures = scores.measures(&["a".to_owned()]);
        assert!(primary(&[], &measures).unwrap().value.is_nan());
    }
}
