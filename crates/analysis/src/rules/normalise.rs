//! Normalisation.

use super::call::agree;
use super::{Call, Inferred};
use crate::fact::Fact;

/// `BatchNormalization` (1 to 15): the shape of the input, whose second axis must have as
/// many channels as the scale. Further outputs (training, old opsets) are one per channel.
pub(super) fn batch(call: &Call<'_>) -> Inferred {
    let mut dims = call.dims(0)?.to_vec();
    let scale = call.dims(1).ok().and_then(|d| match d {
        [channels] => *channels,
        _ => None,
    });
    if let Some(channels) = dims.get_mut(1) {
        *channels = agree(*channels, scale, "the channels of input and scale:")?;
    }
    let channels = dims.get(1).copied().flatten().or(scale);
    let mut facts = vec![Fact::new(call.dtype(0), dims)];
    let statistics = Fact::new(call.dtype(1), vec![channels]);
    facts.extend((1..call.op.outputs.len()).map(|_| statistics.clone()));
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Op, f32s, zeros};

    #[test]
    fn batch_normalization() {
        let op = |channels| {
            let mut op = Op::new("BatchNormalization").input(f32s(&[2, 8, 5, 5]));
            for _ in 0..4 {
                op = op.constant(zeros(&[channels]));
            }
            op
        };
        assert_eq!(op(8).infer(), "f32[2,8,5,5]");
        assert_eq!(op(8).outputs(3).infer(), "f32[2,8,5,5] f32[8] f32[8]");
        assert_eq!(
            op(7).infer(),
            "node 'n' (BatchNormalization): the channels of input and scale: 8 and 7 disagree"
        );
    }

    #[test]
    fn the_others_keep_the_shape() {
        for op in [
            "InstanceNormalization",
            "LayerNormalization",
            "GroupNormalization",
            "LRN",
        ] {
            assert_eq!(Op::new(op).input(f32s(&[2, 8, 5])).infer(), "f32[2,8,5]");
        }
    }
}
