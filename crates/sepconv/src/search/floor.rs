//! The worst value of a figure that is good enough, and distances from it.

use sepconv_eval::{Decibels, Drop, Measure, Metric};
use sepconv_spec::Verdict;

use crate::settings::USUAL_SNR;

/// Expected loss over the square of a drop in percentage points, about: of classes a divergence, of
/// detections and masks the error of the parts of outputs. Detectors spread: F1 is 95 % at a loss of 5e-4 or less of one whose
/// scores are mostly near their threshold, and at 2.5e-2 or more of one of clear objects (decision 26).
const LOSS_OF_CLASSES: f64 = 5e-3;
const LOSS_OF_DETECTIONS: f64 = 1e-5;
const LOSS_OF_MASKS: f64 = 2e-4;
/// The same of other percentages: of directions of vectors, of errors.
const LOSS_OF_OTHERS: f64 = 2e-6;

/// Decibels below a model whose precision is asked for.
const ROOM: f64 = 1.0;

/// The worst value that is good enough.
pub(super) struct Floor {
    pub metric: Metric,
    pub value: f64,
    /// The original's own measure, where a drop from it is meant.
    original: Option<Measure>,
    /// Samples that could show it; `None` where none could.
    needed: Option<usize>,
    /// Share of the samples that are of one class, in percent, where that is why a ratio decides.
    pub one_class: Option<f64>,
    /// Names of the outputs that it is of, where there are others.
    pub outputs: Option<String>,
    /// The value that was asked for, where [`Acceptance::allow`] has lowered it.
    asked: Option<f64>,
}

impl Floor {
    /// A measure that is `drop` worse than the original's.
    pub fn below(original: Measure, drop: f64) -> Self {
        let metric = original.metric;
        let sign = if metric.higher_is_better() { -1.0 } else { 1.0 };
        Self {
            metric,
            value: original.value + sign * drop,
            needed: Some(Drop::samples_to_show(metric, original.against, drop)),
            original: Some(original),
            one_class: None,
            outputs: None,
            asked: None,
        }
    }

    /// A signal-to-noise ratio, which so many samples could show.
    pub fn snr(value: f64, needed: Option<usize>) -> Self {
        Self {
            metric: Metric::ChannelSnr,
            value,
            original: None,
            needed,
            one_class: None,
            outputs: None,
            asked: None,
        }
    }

    /// True of numbers beside the outputs of a task.
    pub fn is_beside(&self) -> bool {
        self.original.is_none() && self.outputs.is_some() && self.one_class.is_none()
    }

    /// Of these outputs, where there are others.
    pub fn of_outputs(self, outputs: Option<String>) -> Self {
        Self { outputs, ..self }
    }

    /// The usual ratio, in place of agreement: so much, in percent, of the samples is of one class.
    pub fn of_one_class(share: f64) -> Self {
        Self {
            one_class: Some(share),
            ..Self::snr(USUAL_SNR, Some(2))
        }
    }

    /// Of a measure of a rewritten model.
    pub fn of_measure(&self, measure: &Measure) -> Verdict {
        let limit = match &self.original {
            Some(original) => {
                let sign = if self.metric.higher_is_better() {
                    -1.0
                } else {
                    1.0
                };
                let drop = Drop::between(original, measure).limit;
                drop.map(|most| original.value + sign * most)
            }
            None => measure.limit,
        };
        self.verdict(measure.value, limit, measure.n)
    }

    /// Of a ratio; nothing else is as bad as one that is not a number.
    pub fn of_snr(&self, snr: Option<Decibels>, samples: usize) -> Verdict {
        let limit = snr.and_then(Decibels::limit);
        self.verdict(snr.map_or(f64::NEG_INFINITY, |s| s.value), limit, samples)
    }

    pub fn verdict(&self, value: f64, limit: Option<f64>, samples: usize) -> Verdict {
        Verdict {
            metric: self.metric.label(),
            unit: self.metric.unit(),
            higher_is_better: self.metric.higher_is_better(),
            allowed: self.asked.unwrap_or(self.value),
            relaxed: self.asked.map(|_| self.value),
            outputs: self.outputs.clone(),
            value: Some(value).filter(|v| !v.is_nan()),
            limit,
            samples,
            needed: self.needed,
            shown: limit
                .is_some_and(|limit| self.beyond(self.asked.unwrap_or(self.value), limit) <= 0.0),
            one_class: self.one_class,
        }
    }

    /// The distance by which a value misses it.
    pub fn missed_by(&self, value: f64) -> f64 {
        self.beyond(self.value, value)
    }

    /// The distance by which a value is worse than `floor`.
    fn beyond(&self, floor: f64, value: f64) -> f64 {
        let excess = match self.metric.higher_is_better() {
            true => floor - value,
            false => value - floor,
        };
        match excess.is_nan() {
            true => f64::INFINITY,
            false => excess,
        }
    }
}

impl Floor {
    /// See [`super::acceptance::Acceptance::allow`].
    pub fn allow(&mut self, asked: &Verdict) {
        let missed = self.excess(asked);
        if !(missed > 0.0 && missed.is_finite()) {
            return;
        }
        let room = match &self.original {
            Some(original) if self.metric.is_percentage() => {
                let sample = 100.0 / asked.samples.max(1) as f64;
                Some(self.allowed_drop(original))
                    .filter(|room| *room >= sample)
                    .unwrap_or(0.0)
            }
            Some(original) => self.allowed_drop(original),
            None => ROOM,
        };
        let sign = match self.metric.higher_is_better() {
            true => -1.0,
            false => 1.0,
        };
        self.asked = Some(self.value);
        self.value += sign * (missed + room);
    }

    /// See [`super::acceptance::Acceptance::excess`].
    pub fn excess(&self, verdict: &Verdict) -> f64 {
        let counts = verdict.decisive();
        counts.map_or(f64::INFINITY, |value| self.missed_by(value))
    }

    /// The allowed drop from a measure of the original, in the metric's unit.
    fn allowed_drop(&self, original: &Measure) -> f64 {
        (original.value - self.value).abs().max(f64::MIN_POSITIVE)
    }

    /// See [`super::acceptance::Acceptance::noises`].
    pub fn noise(&self, excess: f64) -> Option<f64> {
        match &self.original {
            None => Some(10_f64.powf((excess - self.value) / 10.0)),
            Some(original) if self.metric.is_percentage() => {
                Some((self.allowed_drop(original) + excess).max(0.0).powi(2))
            }
            Some(_) => None,
        }
    }

    /// See [`super::acceptance::Acceptance::share`].
    pub fn share(&self, excess: f64) -> f64 {
        match &self.original {
            None => 10_f64.powf(excess / 10.0) - 1.0,
            Some(original) => excess / self.allowed_drop(original),
        }
    }

    /// See [`super::acceptance::Acceptance::noise_beside_bound`].
    pub fn noise_beside_bound(&self, excess: f64) -> Option<(f64, f64)> {
        let made = self.noise(excess)?;
        let original = self.original.as_ref();
        let half = original
            .filter(|original| original.metric.is_share())
            .map_or(0.0, |original| 50.0 / original.n.max(1) as f64);
        Some((made, self.noise(0.0)?.max(half.powi(2))))
    }

    /// The expected loss of a plan that makes about so much noise.
    pub fn loss_of(&self, noise: f64) -> f64 {
        match self.original {
            // The worst channel has about twice the noise of all.
            None => 0.5 * noise,
            Some(_) => match self.metric {
                Metric::Agreement
                | Metric::TopOne
                | Metric::TopFive
                | Metric::Sequences
                | Metric::LabelF1 => LOSS_OF_CLASSES * noise,
                Metric::MeanIou => LOSS_OF_MASKS * noise,
                Metric::DetectionF1
                | Metric::Recall
                | Metric::Precision
                | Metric::MeanAveragePrecision
                | Metric::AveragePrecision50 => LOSS_OF_DETECTIONS * noise,
                _ => LOSS_OF_OTHERS * noise,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use sepconv_eval::Against;

    use super::*;

    /// The floor of a drop of one point from full agreement, or of 30 dB.
    fn criterion(classes: bool) -> Floor {
        match classes {
            true => agreement_of(64),
            false => Floor::snr(30.0, None),
        }
    }

    /// The floor of a drop of one point from full agreement on so many samples.
    fn agreement_of(n: usize) -> Floor {
        let full = Measure::share(Metric::Agreement, Against::Original, "y", n, n);
        Floor::below(full, 1.0)
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn a_precision_that_is_asked_for_lowers_the_floor_where_it_misses_it_by_itself() {
        let mut classes = criterion(true);
        let of = |correct| Measure::share(Metric::Agreement, Against::Original, "y", correct, 64);
        let verdict = classes.of_measure(&of(64));
        classes.allow(&verdict);
        near(classes.value, 99.0);
        assert_eq!(classes.of_measure(&of(64)).relaxed, None);
        // Two samples of 64; one is more than a point.
        let verdict = classes.of_measure(&of(62));
        classes.allow(&verdict);
        near(classes.value, 100.0 - 200.0 / 64.0);
        let lowered = classes.of_measure(&of(62));
        assert_eq!(
            (lowered.allowed, lowered.relaxed),
            (99.0, Some(classes.value))
        );
        assert!(!lowered.shown);
        let mut many = criterion(true);
        let share = Measure::share(Metric::Agreement, Against::Original, "y", 194, 200);
        let verdict = many.of_measure(&share);
        many.allow(&verdict);
        near(many.value, 96.0);
        let mut decibels = criterion(false);
        let verdict = decibels.verdict(24.0, None, 0);
        decibels.allow(&verdict);
        near(decibels.value, 23.0);
        // A decibel is a fifth of the noise, which separable forms may have.
        let excess = decibels.excess(&verdict);
        assert!(decibels.share(excess) < -0.2, "{excess}");
    }

    #[test]
    fn distances_from_the_bound_are_shares_of_that_of_the_original() {
        let (classes, decibels) = (criterion(true), criterion(false));
        near(classes.share(-1.0), -1.0);
        near(classes.share(0.5), 0.5);
        near(decibels.share(f64::NEG_INFINITY), -1.0);
        near(decibels.share(0.0), 0.0);
        // Less than half a decibel above the bound is within a tenth of it.
        near(decibels.share(-0.457_574_905_606_751_3), -0.1);
    }

    #[test]
    fn noise_is_of_the_bound_where_a_model_meets_it_exactly() {
        let (classes, decibels) = (criterion(true), criterion(false));
        let noise = |criterion: &Floor, excess| criterion.noise(excess).unwrap_or(f64::NAN);
        near(noise(&decibels, 0.0), 1e-3);
        near(noise(&decibels, 10.0), 1e-2);
        near(noise(&classes, 0.0), 1.0);
        near(noise(&classes, 1.0), 4.0);
        near(noise(&classes, -1.0), 0.0);
    }

    #[test]
    fn a_bound_finer_than_half_a_sample_gives_way_to_it() {
        let share = |criterion: &Floor, excess| {
            let noise = criterion.noise_beside_bound(excess);
            noise.map_or(f64::NAN, |(made, allowed)| allowed / made)
        };
        // One sample of them changes, by which 99 % are missed.
        let one = |n: usize| share(&agreement_of(n), 100.0 / n as f64 - 1.0);
        near(one(16), 0.25);
        near(one(49), 0.25);
        near(one(64), 0.64 * 0.64);
        near(share(&agreement_of(200), 1.0), 0.25);
        near(share(&criterion(false), 10.0), 0.1);
    }
}
