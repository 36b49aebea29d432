//! Recurrent layers.

use super::{Call, Inferred, Stop, contradiction};
use crate::fact::{Extent, Fact};

/// `LSTM`, `GRU`, `RNN` (1 to 22): X `[seq, batch, in]` (layout 1: `[batch, seq, in]`) gives
/// Y `[seq, directions, batch, hidden]`, Y_h and Y_c `[directions, batch, hidden]`.
pub(super) fn recurrent(call: &Call<'_>) -> Inferred {
    let x = call.dims(0)?;
    let directions: Extent = match call.op.string("direction") {
        Some("bidirectional") => Some(2),
        None | Some("forward" | "reverse") => Some(1),
        Some(other) => return contradiction(format!("direction '{other}'")),
    };
    let hidden = match call.op.attribute("hidden_size") {
        Some(_) => match u64::try_from(call.int("hidden_size", 0)?) {
            Ok(n) if n > 0 => Some(n),
            _ => return contradiction("attribute 'hidden_size' is not positive"),
        },
        None => match call.dims(2)? {
            [_, _, hidden] => *hidden,
            _ => return Err(Stop::Unknown),
        },
    };
    let dtype = call.dtype(0);
    let (all, last) = match (x, call.int("layout", 0)?) {
        ([seq, batch, _], 0) => (
            vec![*seq, directions, *batch, hidden],
            vec![directions, *batch, hidden],
        ),
        ([batch, seq, _], _) => (
            vec![*batch, *seq, directions, hidden],
            vec![*batch, directions, hidden],
        ),
        _ => return contradiction(format!("an input of rank {}", x.len())),
    };
    let last = Fact::new(dtype, last);
    Ok(vec![Fact::new(dtype, all), last.clone(), last])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Op, f32s};

    #[test]
    fn outputs() {
        let lstm = || {
            Op::new("LSTM")
                .input(f32s(&[7, 2, 10]))
                .input(f32s(&[1, 80, 10]))
                .input(f32s(&[1, 80, 20]))
                .outputs(3)
        };
        let expected = "f32[7,1,2,20] f32[1,2,20] f32[1,2,20]";
        assert_eq!(lstm().infer(), expected);
        assert_eq!(lstm().int("hidden_size", 20).infer(), expected);
        let both = Op::new("GRU")
            .input(f32s(&[2, 7, 10]))
            .int("hidden_size", 5)
            .int("layout", 1)
            .string("direction", "bidirectional")
            .outputs(2);
        assert_eq!(both.infer(), "f32[2,7,2,5] f32[2,2,5]");
        let wrong = lstm().int("hidden_size", -1);
        assert_eq!(
            wrong.infer(),
            "node 'n' (LSTM): attribute 'hidden_size' is not positive"
        );
    }
}
