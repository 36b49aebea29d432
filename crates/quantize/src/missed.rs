//! A ratio that was asked for and is not reached.

use std::fmt;

use sepconv_eval::Comparison;
use serde::Serialize;

/// The signal-to-noise ratio that was asked for, where no set of layers in floats that was tried reaches it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missed {
    /// The ratio in dB that the worst channel of the outputs was to keep.
    pub asked_db: f64,
    /// The ratio in dB that it keeps; `None` where it is not known, and of detections that the graph orders.
    pub reached_db: Option<f64>,
    /// F1 in percent that such detections keep, of which as much may be lost as noise over signal.
    pub f1: Option<f64>,
    /// The output of that channel.
    pub output: String,
    /// The channel, from 0; `None` where the output is one channel.
    pub channel: Option<usize>,
}

impl Missed {
    /// `None` where the outputs keep `asked_db`.
    pub(crate) fn of(comparison: &Comparison, asked_db: f64) -> Option<Self> {
        let worst = comparison.worst_output()?;
        let reached_db = worst.worst_channel_snr();
        if reached_db.is_some_and(|db| db >= asked_db) {
            return None;
        }
        let channel = worst.worst_channel.filter(|w| w.channels > 1);
        Some(Self {
            asked_db,
            reached_db,
            f1: None,
            output: worst.name.clone(),
            channel: channel.map(|w| w.channel),
        })
    }

    /// Of detections of which such a share is `lost`.
    pub(crate) fn of_detections(lost: f64, output: String, asked_db: f64) -> Option<Self> {
        let missed = Self {
            asked_db,
            reached_db: None,
            f1: Some(100.0 * (1.0 - lost)),
            output,
            channel: None,
        };
        (lost > noise_at(asked_db)).then_some(missed)
    }
}

/// Noise over signal at a ratio in dB.
pub(crate) fn noise_at(snr: f64) -> f64 {
    10_f64.powf(-snr / 10.0)
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(f1) = self.f1 {
            let asked = 100.0 * (1.0 - noise_at(self.asked_db));
            return write!(
                f,
                "{asked:.2} % of the detections in '{}' are not reached: {f1:.2} % is the most of all choices of \
                 layers that were tried (F1)",
                self.output
            );
        }
        write!(f, "{} dB are not reached: ", self.asked_db)?;
        if let Some(channel) = self.channel {
            write!(f, "channel {channel} of ")?;
        }
        write!(f, "output '{}' ", self.output)?;
        match self.reached_db {
            Some(db) => write!(
                f,
                "keeps {db:.2} dB, the most of all choices of layers that were tried"
            ),
            None => f.write_str("can't be compared"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_ir::Tensor;

    use super::*;

    /// Two outputs of two runs; the second channel of the second one has an error of a tenth of its spread.
    fn compared(value: f32) -> Comparison {
        let runs = |last: f32| -> Vec<Vec<Tensor>> {
            let run = |sign: f32| {
                let values = vec![sign, sign, sign * last, sign * last];
                let other = Tensor::from_f32(vec![1, 2, 2], values);
                vec![Tensor::from_f32(vec![1, 1], vec![sign]), other]
            };
            vec![run(1.0), run(-1.0)]
        };
        let names = ["x".to_owned(), "y".to_owned()];
        Comparison::of("tract", &names, &runs(1.0), &runs(value))
    }

    #[test]
    fn the_worst_channel_is_named() {
        let missed = Missed::of(&compared(1.1), 30.0).unwrap();
        assert_eq!(
            (missed.output.as_str(), missed.channel, missed.asked_db),
            ("y", Some(1), 30.0)
        );
        assert!((missed.reached_db.unwrap() - 20.0).abs() < 1e-3);
        assert_eq!(
            missed.to_string(),
            "30 dB are not reached: channel 1 of output 'y' keeps 20.00 dB, the most of all choices of layers that \
             were tried"
        );
    }

    #[test]
    fn of_detections_the_share_that_is_lost_counts() {
        assert_eq!(Missed::of_detections(0.1, "y".into(), 10.0), None);
        let missed = Missed::of_detections(0.2, "y".into(), 10.0).unwrap();
        let said = missed.to_string();
        let begins = "90.00 % of the detections in 'y' are not reached: 80.00 % is";
        assert!(said.starts_with(begins), "{said}");
    }

    #[test]
    fn what_is_reached_is_not_missed_and_what_is_not_finite_is() {
        assert_eq!(Missed::of(&compared(1.1), 19.0), None);
        assert_eq!(Missed::of(&compared(1.0), 200.0), None);
        let missed = Missed::of(&compared(f32::NAN), 10.0).unwrap();
        assert_eq!(missed.reached_db, None);
        assert!(missed.to_string().ends_with("can't be compared"));
    }
}
