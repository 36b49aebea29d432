//! Average precision of detections against labelled boxes, as pycocotools has it: `evaluateImg` and
//! `accumulate` of `cocoeval.py`, of objects of all sizes.

use std::collections::BTreeMap;

use super::boxes::{Detection, area, intersection};
use crate::evaluate::{Against, Measure, Metric};
use crate::limits::{groups, jackknife, pseudo_values};

/// Detections of a class in a picture that count, the best ones.
pub const MOST: usize = 100;
/// Scores above it count.
pub const LEAST: f64 = 0.001;
/// Thresholds of the IoU: from 0.5 to 0.95.
const THRESHOLDS: usize = 10;
/// Recalls from 0 to 1 that precisions are taken at.
const RECALLS: usize = 101;

/// A labelled box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Left, top, right and bottom.
    pub corners: [f64; 4],
    pub class: usize,
    /// Any number of detections may be in it, and they count neither for nor against the model.
    pub crowd: bool,
}

/// Detections and objects of one picture, matched, by class.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Matched(BTreeMap<usize, OfClass>);

/// Of one class in one picture.
#[derive(Debug, Clone, Default, PartialEq)]
struct OfClass {
    /// Objects that are to be found.
    objects: usize,
    /// Detections by falling score.
    found: Vec<Found>,
}

/// A detection.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    score: f64,
    /// By threshold; `None` where it does not count.
    hits: [Option<bool>; THRESHOLDS],
}

/// Threshold `i`, as `numpy.linspace` rounds it.
fn threshold(i: usize) -> f64 {
    match i + 1 == THRESHOLDS {
        true => 0.95,
        false => i as f64 * ((0.95 - 0.5) / (THRESHOLDS - 1) as f64) + 0.5,
    }
}

/// Intersection over union; over the detection alone where the object is a crowd.
fn overlap(detection: &[f64; 4], truth: &Truth) -> f64 {
    let both = intersection(detection, &truth.corners);
    if both <= 0.0 {
        return 0.0;
    }
    let other = match truth.crowd {
        true => 0.0,
        false => area(&truth.corners) - both,
    };
    both / (area(detection) + other)
}

impl Matched {
    /// Of detections by falling score, and the objects that there are.
    pub fn of(detections: &[Detection], truths: &[Truth]) -> Self {
        let mut all: BTreeMap<usize, (Vec<&Detection>, Vec<&Truth>)> = BTreeMap::new();
        for one in detections {
            all.entry(one.class).or_default().0.push(one);
        }
        for one in truths {
            all.entry(one.class).or_default().1.push(one);
        }
        let matched = all
            .into_iter()
            .map(|(class, (mut detections, mut truths))| {
                detections.truncate(MOST);
                // Objects that count are matched first.
                truths.sort_by_key(|truth| truth.crowd);
                (class, OfClass::of(&detections, &truths))
            });
        Self(matched.collect())
    }
}

impl OfClass {
    fn of(detections: &[&Detection], truths: &[&Truth]) -> Self {
        let overlaps: Vec<Vec<f64>> = detections
            .iter()
            .map(|d| truths.iter().map(|t| overlap(&d.corners, t)).collect())
            .collect();
        let found = detections.iter().map(|d| Found {
            score: d.score,
            hits: [Some(false); THRESHOLDS],
        });
        let mut found: Vec<Found> = found.collect();
        for i in 0..THRESHOLDS {
            let mut taken = vec![false; truths.len()];
            for (one, overlaps) in found.iter_mut().zip(&overlaps) {
                let best = best(truths, &taken, overlaps, threshold(i));
                if let Some(best) = best {
                    taken[best] = true;
                    one.hits[i] = (!truths[best].crowd).then_some(true);
                }
            }
        }
        Self {
            objects: truths.iter().filter(|truth| !truth.crowd).count(),
            found,
        }
    }
}

/// The object that a detection is of: the one that is left and overlaps it most, the last of equal ones;
/// a crowd only where no other overlaps it enough.
fn best(truths: &[&Truth], taken: &[bool], overlaps: &[f64], least: f64) -> Option<usize> {
    let mut best = None;
    let mut most = least.min(1.0 - 1e-10);
    for (i, truth) in truths.iter().enumerate() {
        if taken[i] && !truth.crowd {
            continue;
        }
        if truth.crowd && best.is_some_and(|b: usize| !truths[b].crowd) {
            break;
        }
        if overlaps[i] >= most {
            most = overlaps[i];
            best = Some(i);
        }
    }
    best
}

/// Average precision of detections by falling score that are right or not, of so many objects.
fn average(hits: impl Iterator<Item = bool>, objects: usize) -> f64 {
    let (mut right, mut all) = (0usize, 0usize);
    let mut curve: Vec<[f64; 2]> = Vec::new();
    for hit in hits {
        all += 1;
        right += usize::from(hit);
        curve.push([right as f64 / objects as f64, right as f64 / all as f64]);
    }
    // Precision at a recall is the best at that or any higher one.
    for i in (1..curve.len()).rev() {
        curve[i - 1][1] = curve[i - 1][1].max(curve[i][1]);
    }
    let at = |i: usize| {
        let recall = match i + 1 == RECALLS {
            true => 1.0,
            false => i as f64 * (1.0 / (RECALLS - 1) as f64),
        };
        let place = curve.partition_point(|point| point[0] < recall);
        curve.get(place).map_or(0.0, |point| point[1])
    };
    (0..RECALLS).map(at).sum::<f64>() / RECALLS as f64
}

/// One class in all pictures.
struct Curve {
    /// Group of the picture and detection, by falling score; of equal ones in the order of pictures.
    found: Vec<(usize, Found)>,
    /// Objects by group.
    objects: Vec<usize>,
    /// Average precision by threshold; `None` without objects.
    whole: Option<[f64; THRESHOLDS]>,
}

impl Curve {
    fn of(class: usize, pictures: &[Matched], groups: usize) -> Self {
        let mut curve = Self {
            found: Vec::new(),
            objects: vec![0; groups],
            whole: None,
        };
        for (i, picture) in pictures.iter().enumerate() {
            if let Some(own) = picture.0.get(&class) {
                curve.objects[i % groups] += own.objects;
                let found = own.found.iter().map(|found| (i % groups, *found));
                curve.found.extend(found);
            }
        }
        curve.found.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        curve.whole = curve.averages(None);
        curve
    }

    /// Average precisions without one of the groups.
    fn averages(&self, without: Option<usize>) -> Option<[f64; THRESHOLDS]> {
        let left = |group: usize| Some(group) != without;
        let objects = self.objects.iter().enumerate();
        let objects = objects.filter(|(group, _)| left(*group));
        let objects: usize = objects.map(|(_, n)| n).sum();
        if objects == 0 {
            return None;
        }
        let mut averages = [0.0; THRESHOLDS];
        for (i, value) in averages.iter_mut().enumerate() {
            let found = self.found.iter().filter(|(group, _)| left(*group));
            *value = average(found.filter_map(|(_, found)| found.hits[i]), objects);
        }
        Some(averages)
    }

    /// The same; without a group that the class is not in nothing changes.
    fn without(&self, group: usize) -> Option<[f64; THRESHOLDS]> {
        let is_in = self.objects[group] > 0 || self.found.iter().any(|(own, _)| *own == group);
        match is_in {
            true => self.averages(Some(group)),
            false => self.whole,
        }
    }
}

/// Mean over the classes that have objects, in percent: over all thresholds, and at the first.
fn means(classes: impl Iterator<Item = Option<[f64; THRESHOLDS]>>) -> [f64; 2] {
    let classes: Vec<[f64; THRESHOLDS]> = classes.flatten().collect();
    let mean = |f: &dyn Fn(&[f64; THRESHOLDS]) -> f64| {
        100.0 * classes.iter().map(f).sum::<f64>() / classes.len() as f64
    };
    let all = |values: &[f64; THRESHOLDS]| values.iter().sum::<f64>() / THRESHOLDS as f64;
    [mean(&all), mean(&|values| values[0])]
}

/// Mean average precision over IoUs of 0.50 to 0.95 and at 0.50, over all pictures.
pub fn measures(output: &str, pictures: &[Matched]) -> Vec<Measure> {
    let groups = groups(pictures.len());
    let mut classes: Vec<usize> = pictures.iter().flat_map(|p| p.0.keys().copied()).collect();
    classes.sort_unstable();
    classes.dedup();
    let curves: Vec<Curve> = classes
        .iter()
        .map(|class| Curve::of(*class, pictures, groups))
        .collect();
    let whole = means(curves.iter().map(|curve| curve.whole));
    let without: Vec<[f64; 2]> = (0..groups)
        .map(|group| means(curves.iter().map(|curve| curve.without(group))))
        .collect();
    let metrics = [Metric::MeanAveragePrecision, Metric::AveragePrecision50];
    let measures = metrics.into_iter().enumerate().map(|(i, metric)| {
        let without: Vec<f64> = without.iter().map(|values| values[i]).collect();
        let measure = Measure {
            value: whole[i],
            n: pictures.len(),
            samples: pseudo_values(whole[i], &without),
            ..Measure::blank(metric, Against::Labels, output)
        };
        measure.with_error(jackknife(&without)).doubted()
    });
    measures.collect()
}

#[cfg(test)]
mod tests;
