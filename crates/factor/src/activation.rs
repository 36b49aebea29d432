//! Activations behind a convolution.

use serde::{Deserialize, Serialize};

/// A piecewise linear activation, `min(max(x, slope * x), ceiling)`: ONNX's `Relu` (opset 6),
/// `LeakyRelu` (opset 6) and `Clip` from zero (opset 6).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Activation {
    /// Slope below zero, in `[0, 1]`.
    pub slope: f32,
    /// The greatest value (6 for a `Relu6`), above zero; infinite without one.
    pub ceiling: f32,
}

impl Activation {
    /// `Relu`.
    pub const RELU: Self = Self {
        slope: 0.0,
        ceiling: f32::INFINITY,
    };

    /// The activation of `x`.
    pub fn value(self, x: f32) -> f32 {
        x.max(self.slope * x).min(self.ceiling)
    }

    /// The minimum of a quadratic that majorises `(f(wanted) - f(x))^2` at `x = now`: the target of
    /// least squares in one step of majorise-minimise. It is `wanted` where both are on a slope of
    /// one, `now` where the activation can't tell them apart, and between the two elsewhere.
    pub fn majorise(self, wanted: f32, now: f32) -> f32 {
        let apart = wanted - now;
        let error = self.value(wanted) - self.value(now);
        // A secant steeper than the tangent leads out of where the tangent is flat. Where both are
        // the same there is no error and no secant, whose maximum with the tangent is the tangent.
        let secant = (error / apart).clamp(0.0, 1.0);
        now + error * secant.max(self.tangent(now))
    }

    fn tangent(self, x: f32) -> f32 {
        if x < 0.0 {
            self.slope
        } else if x > self.ceiling {
            0.0
        } else {
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAKY: Activation = Activation {
        slope: 0.1,
        ceiling: f32::INFINITY,
    };
    const RELU6: Activation = Activation {
        slope: 0.0,
        ceiling: 6.0,
    };

    #[test]
    fn values_are_those_of_onnx() {
        assert_eq!([-2.0, 3.0].map(|x| Activation::RELU.value(x)), [0.0, 3.0]);
        assert_eq!([-2.0, 3.0].map(|x| LEAKY.value(x)), [-0.2, 3.0]);
        assert_eq!([-2.0, 3.0, 9.0].map(|x| RELU6.value(x)), [0.0, 3.0, 6.0]);
    }

    #[test]
    fn nothing_is_asked_of_what_the_activation_hides() {
        assert_eq!(Activation::RELU.majorise(-3.0, -1.0), -1.0);
        assert_eq!(RELU6.majorise(8.0, 7.0), 7.0);
        assert_eq!(Activation::RELU.majorise(2.0, 1.0), 2.0);
        // A wanted zero is any value below.
        assert_eq!(Activation::RELU.majorise(-3.0, 1.0), 0.0);
        assert!((LEAKY.majorise(-3.0, -1.0) - -1.02).abs() < 1e-6);
    }

    #[test]
    fn a_step_never_leads_further_away() {
        for activation in [Activation::RELU, LEAKY, RELU6] {
            for wanted in -20..=20 {
                for now in -20..=20 {
                    let (wanted, now) = (wanted as f32 * 0.5, now as f32 * 0.5);
                    let target = activation.majorise(wanted, now);
                    let error = |x| (activation.value(x) - activation.value(wanted)).abs();
                    assert!(
                        error(target) <= error(now) + 1e-6,
                        "{wanted} {now} {target}"
                    );
                    let (low, high) = (wanted.min(now), wanted.max(now));
                    assert!(
                        target >= low - 1e-6 && target <= high + 1e-6,
                        "{wanted} {now}"
                    );
                }
            }
        }
    }
}
