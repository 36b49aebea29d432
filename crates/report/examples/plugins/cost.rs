//! A cost model: energy, in nanojoules.
//!
//! Horowitz 2014 (ISSCC), 45 nm: 4.6 pJ for a multiply-add of floats, 5 pJ for a word from a small
//! cache. Every stage reads its input and weights, and writes its output, once.

use sepconv::latency::{Block, CostModel, Form, LatencyError};

/// See the head of this file.
pub struct Energy;

const MAC: f64 = 4.6e-3;
const WORD: f64 = 5e-3;

impl CostModel for Energy {
    fn unit(&self) -> &'static str {
        "nJ"
    }

    fn cost(&self, block: &Block) -> Result<f64, LatencyError> {
        let geometry = &block.geometry;
        let input = geometry.input.clone();
        let output = geometry.output().unwrap_or_else(|| input.clone());
        let words = |channels: usize, extents: &[usize]| -> f64 {
            (geometry.batch * channels * extents.iter().product::<usize>()) as f64
        };
        let mut moved = block.params()? as f64;
        if block.form == Form::Original {
            moved += words(geometry.kernel.in_channels, &input);
            moved += words(geometry.kernel.out_channels, &output);
        }
        let mut extents = input;
        for stage in block.stages()? {
            moved += words(stage.kernel.in_channels, &extents);
            for (axis, carried) in stage.axes.iter().enumerate() {
                if *carried {
                    extents[axis] = output[axis];
                }
            }
            moved += words(stage.kernel.out_channels, &extents);
        }
        Ok(MAC * block.macs()? as f64 + WORD * moved)
    }
}
