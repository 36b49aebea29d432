//! Expected losses of layers at the outputs.

/// Losses at the outputs that are expected of layers; those of several layers add up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Losses {
    /// Per layer and candidate, in floats; infinite of a candidate that was dropped.
    pub candidates: Vec<Vec<f64>>,
    /// Per layer, the losses that rounding to the precision of the result adds.
    pub rounding: Vec<LayerRounding>,
}

/// Losses that rounding adds to a layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayerRounding {
    /// Of the layer as it is.
    pub kept: f64,
    /// Of its candidates.
    pub candidates: Vec<f64>,
}

impl Losses {
    /// Of candidates, per layer, where nothing is rounded.
    pub fn in_floats(candidates: Vec<Vec<f64>>) -> Self {
        let rounding = candidates.iter().map(|own| LayerRounding {
            kept: 0.0,
            candidates: vec![0.0; own.len()],
        });
        Self {
            rounding: rounding.collect(),
            candidates,
        }
    }

    /// The loss of a candidate, or of the layer as it is; `floats`: where it is not rounded.
    pub(crate) fn of(&self, layer: usize, candidate: Option<usize>, floats: bool) -> f64 {
        let rounding = match (floats, candidate) {
            (true, _) => 0.0,
            (false, None) => self.rounding[layer].kept,
            (false, Some(i)) => self.rounding[layer].candidates[i],
        };
        candidate.map_or(0.0, |i| self.candidates[layer][i]) + rounding
    }

    /// The loss of rounding all layers as they are.
    pub(crate) fn unrewritten(&self) -> f64 {
        self.rounding.iter().map(|own| own.kept).sum()
    }
}
