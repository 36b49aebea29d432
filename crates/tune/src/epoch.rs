//! The figures of an epoch.

use serde::Serialize;

/// An epoch's figures. Epoch 0 is the start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Epoch {
    /// Loss of the outputs on the held-out examples: nats times the squared temperature, or a mean
    /// square or a mean difference of numbers times [`Goal::factors`](crate::Goal::factors).
    pub held_out_loss: f64,
    /// Percent of held-out rows whose class is the target's, or the signal-to-noise ratio of
    /// numbers times their factors, dB.
    pub held_out_agreement: f64,
    /// Mean of the training loss, relative to the start; 1 at the start.
    pub loss: f64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl Epoch {
    pub(crate) fn numbers(&self) -> [f64; 4] {
        [
            self.held_out_loss,
            self.held_out_agreement,
            self.loss,
            self.seconds,
        ]
    }

    pub(crate) fn of(numbers: &[f64]) -> Option<Self> {
        let &[held_out_loss, held_out_agreement, loss, seconds] = numbers else {
            return None;
        };
        Some(Self {
            held_out_loss,
            held_out_agreement,
            loss,
            seconds,
        })
    }
}
