//! A metric: how far class probabilities move.

use sepconv::{OwnMetric, SampleOutput};

/// Total variation between the class probabilities (softmax) of the original and of the other
/// model: half the sum of the absolute differences, in percent. 0 is no difference.
pub struct TotalVariation;

impl OwnMetric for TotalVariation {
    fn name(&self) -> &'static str {
        "total-variation"
    }

    fn label(&self) -> &'static str {
        "total variation of the class probabilities"
    }

    fn unit(&self) -> &'static str {
        "%"
    }

    fn higher_is_better(&self) -> bool {
        false
    }

    fn decimals(&self) -> usize {
        2
    }

    fn of_sample(&self, original: &[SampleOutput<'_>], rewritten: &[SampleOutput<'_>]) -> f64 {
        let (Some(a), Some(b)) = (original.first(), rewritten.first()) else {
            return f64::NAN;
        };
        let (a, b) = (softmax(a.values), softmax(b.values));
        50.0 * a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f64>()
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let peak = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|l| (l - peak).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}
