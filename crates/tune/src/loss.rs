//! The losses that training lowers.

use candle_core::{D, Tensor};

use crate::error::TuneError;
use crate::ops::log_softmax;

/// The comparison of an output with its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Kullback-Leibler divergence of classes, at a temperature.
    Kl,
    /// Mean square.
    L2,
    /// Mean absolute difference.
    L1,
}

/// The meaning of the numbers of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Logits, or logarithms of probabilities.
    Logits,
    /// Probabilities.
    Probabilities,
    /// Anything else.
    Numbers,
}

impl Nature {
    /// Of rows `[rows, classes]`: probabilities are not negative and add up to 1. One number a
    /// row is no distribution.
    pub fn of(dims: &[usize], elements: &[f32]) -> Self {
        let wide = dims.get(1).copied().unwrap_or(0);
        if wide < 2 || dims.iter().skip(2).any(|n| *n != 1) {
            return Self::Numbers;
        }
        let row = |row: &[f32]| {
            row.iter().all(|p| *p >= 0.0) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-3
        };
        match elements.chunks_exact(wide).all(row) {
            true => Self::Probabilities,
            false => Self::Logits,
        }
    }
}

/// A wanted value, and its comparison with a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// Its name, for messages.
    pub name: String,
    /// The comparison with its target.
    pub loss: Loss,
    /// The meaning of its numbers.
    pub nature: Nature,
    /// Factors of the numbers of a row, row-major, where parts of it have units of their own: boxes in pixels beside
    /// scores between 0 and 1. Differences are compared times these.
    pub factors: Option<Vec<f32>>,
    /// True where this is an output of the network, which results are judged by, or a value on
    /// the way there.
    pub output: bool,
}

/// Probabilities are not taken for less.
const LEAST: f64 = 1e-7;

/// Logarithms of the probabilities of classes `[rows, classes]`, at a temperature.
pub(crate) fn log_probabilities(
    nature: Nature,
    x: &Tensor,
    temperature: f64,
) -> Result<Tensor, TuneError> {
    let logits = match nature {
        Nature::Probabilities => (x + LEAST)?.log()?,
        _ => x.clone(),
    };
    Ok(log_softmax(&(logits / temperature)?)?)
}

impl Goal {
    /// The loss summed over rows: `value` and `target` are `[rows, ...]`. Differences are means
    /// over a row; a divergence is in nats times the temperature squared (arXiv 1503.02531,
    /// section 2.1).
    pub(crate) fn sum(
        &self,
        value: &Tensor,
        target: &Tensor,
        temperature: f64,
    ) -> Result<Tensor, TuneError> {
        if value.dims() != target.dims() {
            return Err(TuneError::Shape {
                name: self.name.clone(),
                found: value.dims().to_vec(),
                expected: target.dims().to_vec(),
            });
        }
        let (value, target) = (value.flatten_from(1)?, target.flatten_from(1)?);
        let mean = |t: Tensor| t.mean(D::Minus1)?.sum_all();
        Ok(match self.loss {
            Loss::Kl => {
                let p = log_probabilities(self.nature, &target, temperature)?;
                let q = log_probabilities(self.nature, &value, temperature)?;
                let divergence = (p.exp()? * (p - q)?)?.sum_all()?;
                (divergence * (temperature * temperature))?
            }
            Loss::L2 => mean(self.scaled((value - target)?)?.sqr()?)?,
            Loss::L1 => mean(self.scaled((value - target)?)?.abs()?)?,
        })
    }

    /// Rows times the factors.
    fn scaled(&self, rows: Tensor) -> candle_core::Result<Tensor> {
        let Some(factors) = &self.factors else {
            return Ok(rows);
        };
        let factors = Tensor::from_slice(factors, (1, factors.len()), rows.device())?;
        rows.broadcast_mul(&factors)
    }

    /// The agreement of rows, summed: rows with the same largest element where this is about
    /// classes, else the signal's and the error's squares.
    pub(crate) fn agreement(
        &self,
        value: &Tensor,
        target: &Tensor,
    ) -> Result<Agreement, TuneError> {
        let (value, target) = (value.flatten_from(1)?, target.flatten_from(1)?);
        if self.nature == Nature::Numbers {
            let sum = |t: Tensor| -> Result<f64, TuneError> {
                Ok(f64::from(
                    self.scaled(t)?.sqr()?.sum_all()?.to_scalar::<f32>()?,
                ))
            };
            return Ok(Agreement {
                same: 0,
                rows: 0,
                signal: sum(target.clone())?,
                error: sum((value - target)?)?,
            });
        }
        let best =
            |t: &Tensor| -> Result<Vec<u32>, TuneError> { Ok(t.argmax(D::Minus1)?.to_vec1()?) };
        let (a, b) = (best(&value)?, best(&target)?);
        let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
        Ok(Agreement {
            same,
            rows: a.len(),
            signal: 0.0,
            error: 0.0,
        })
    }
}

/// Sums that an agreement is made of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Agreement {
    same: usize,
    rows: usize,
    signal: f64,
    error: f64,
}

impl Agreement {
    pub fn add(&mut self, other: Self) {
        self.same += other.same;
        self.rows += other.rows;
        self.signal += other.signal;
        self.error += other.error;
    }

    /// Percent of rows with the same class where there are any, else the signal-to-noise ratio
    /// in dB, at most 200.
    pub fn value(&self) -> f64 {
        if self.rows > 0 {
            return 100.0 * self.same as f64 / self.rows as f64;
        }
        (10.0 * (self.signal / self.error.max(1e-30)).log10()).min(200.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::Device;

    use super::*;

    #[test]
    fn parts_count_on_their_own_scales() {
        let goal = |factors: Option<Vec<f32>>, loss| Goal {
            name: "y".into(),
            loss,
            nature: Nature::Numbers,
            factors,
            output: true,
        };
        let rows = |values: &[f32]| Tensor::from_slice(values, (2, 2), &Device::Cpu).unwrap();
        // A box in pixels, a score.
        let (value, target) = (
            rows(&[100.0, 0.5, 50.0, 0.0]),
            rows(&[110.0, 0.4, 50.0, 0.0]),
        );
        let sum = |goal: Goal| {
            let sum = goal.sum(&value, &target, 1.0).unwrap();
            f64::from(sum.to_scalar::<f32>().unwrap())
        };
        let scales = || Some(vec![0.1, 10.0]);
        assert!((sum(goal(None, Loss::L2)) - 50.005).abs() < 1e-4);
        assert!((sum(goal(scales(), Loss::L2)) - 1.0).abs() < 1e-5);
        assert!((sum(goal(scales(), Loss::L1)) - 1.0).abs() < 1e-5);
        let agreement = goal(scales(), Loss::L2).agreement(&value, &target).unwrap();
        assert!(
            (agreement.signal - (121.0 + 16.0 + 25.0)).abs() < 1e-3,
            "{agreement:?}"
        );
        assert!((agreement.error - 2.0).abs() < 1e-5, "{agreement:?}");
    }
}
