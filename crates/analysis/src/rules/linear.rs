//! Matrix products.

use std::collections::BTreeMap;

use sepconv_ir::DType;

use super::call::{agree, show};
use super::elementwise::broadcast;
use super::{Call, Inferred, Stop, contradiction};
use crate::fact::{Extent, Fact};

/// `Gemm` (1 to 13), com.microsoft `FusedGemm` and `QGemm` (B in slot 3): `[M, K]·[K, N]`,
/// either one transposed.
pub(super) fn gemm(call: &Call<'_>) -> Inferred {
    let quantized = call.op.op_type == "QGemm";
    let a = matrix(call, 0, "transA")?;
    let b = matrix(call, if quantized { 3 } else { 1 }, "transB")?;
    agree(a.1, b.0, "inner extents")?;
    let dtype = match (quantized, call.has(8)) {
        (true, true) => call.dtype(8),
        (true, false) => Some(DType::F32),
        (false, _) => call.dtype(0),
    };
    Ok(vec![Fact::new(dtype, vec![a.0, b.1])])
}

fn matrix(call: &Call<'_>, slot: usize, transposed: &str) -> Result<(Extent, Extent), Stop> {
    let dims = call.dims(slot)?;
    match dims {
        [rows, columns] if call.int(transposed, 0)? == 0 => Ok((*rows, *columns)),
        [columns, rows] => Ok((*rows, *columns)),
        _ => contradiction(format!("input {slot} is {}, not a matrix", show(dims))),
    }
}

/// `MatMul` (1 to 13), `MatMulInteger` (10), `QLinearMatMul` (10, 21; B in slot 3),
/// com.microsoft `FusedMatMul`: NumPy's `matmul`.
pub(super) fn matmul(call: &Call<'_>) -> Inferred {
    let quantized = call.op.op_type == "QLinearMatMul";
    let mut a = call.dims(0)?.to_vec();
    let mut b = call.dims(if quantized { 3 } else { 1 })?.to_vec();
    let dtype = match call.op.op_type.as_str() {
        "MatMulInteger" => Some(DType::I32),
        "QLinearMatMul" => call.dtype(7),
        _ => call.dtype(0),
    };
    for (dims, attribute) in [(&mut a, "transA"), (&mut b, "transB")] {
        let rank = dims.len();
        if call.int(attribute, 0)? != 0 && rank >= 2 {
            dims.swap(rank - 1, rank - 2);
        }
    }
    if call.int("transBatchA", 0)? != 0 || call.int("transBatchB", 0)? != 0 {
        return Err(Stop::Unknown);
    }
    let (a_vector, b_vector) = (a.len() == 1, b.len() == 1);
    if a_vector {
        a.insert(0, Some(1));
    }
    if b_vector {
        b.push(Some(1));
    }
    let (Some((a_batch, [m, ka])), Some((b_batch, [kb, n]))) =
        (a.split_last_chunk(), b.split_last_chunk())
    else {
        return contradiction("a scalar has no matrix product");
    };
    agree(*ka, *kb, "inner extents")?;
    let mut dims = broadcast(a_batch, b_batch)?;
    if !a_vector {
        dims.push(*m);
    }
    if !b_vector {
        dims.push(*n);
    }
    Ok(vec![Fact::new(dtype, dims)])
}

/// `Einsum` (12) with an explicit right-hand side or not, without ellipses.
pub(super) fn einsum(call: &Call<'_>) -> Inferred {
    let Some(equation) = call.op.string("equation") else {
        return contradiction("attribute 'equation' is missing");
    };
    let equation: String = equation.split_whitespace().collect();
    if equation.contains('.') {
        return Err(Stop::Unknown);
    }
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != call.inputs.len() {
        return contradiction(format!(
            "{} terms for {} inputs",
            terms.len(),
            call.inputs.len()
        ));
    }
    let mut extents: BTreeMap<char, (Extent, usize)> = BTreeMap::new();
    for (slot, term) in terms.iter().enumerate() {
        let dims = call.dims(slot)?;
        if term.chars().count() != dims.len() {
            return contradiction(format!("term '{term}' for input {}", show(dims)));
        }
        for (label, n) in term.chars().zip(dims) {
            let seen = extents.entry(label).or_insert((Some(1), 0));
            // Extents of 1 broadcast.
            seen.0 = match (seen.0, *n) {
                (Some(1), n) => n,
                (n, Some(1)) => n,
                (a, b) => agree(a, b, &format!("extents of '{label}':"))?,
            };
            seen.1 += 1;
        }
    }
    let once = || extents.iter().filter(|(_, e)| e.1 == 1).map(|(l, _)| *l);
    let labels: Vec<char> = match right {
        Some(right) => right.chars().collect(),
        None => once().collect(),
    };
    let dims = labels
        .iter()
        .map(|label| match extents.get(label) {
            Some((extent, _)) => Ok(*extent),
            None => contradiction(format!("'{label}' is on no left-hand term")),
        })
        .collect::<Result<_, _>>()?;
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use crate::testing::{Op, f32s, fixed, unknown};

    fn product(op: &str, a: &[u64], b: &[u64]) -> Op {
        Op::new(op).input(f32s(a)).input(f32s(b))
    }

    #[test]
    fn gemm() {
        assert_eq!(product("Gemm", &[2, 3], &[3, 4]).infer(), "f32[2,4]");
        let both = product("Gemm", &[3, 2], &[4, 3])
            .int("transA", 1)
            .int("transB", 1);
        assert_eq!(both.infer(), "f32[2,4]");
        assert_eq!(
            product("Gemm", &[2, 3], &[4, 3]).infer(),
            "node 'n' (Gemm): inner extents 3 and 4 disagree"
        );
        assert_eq!(
            product("Gemm", &[2, 3, 1], &[3, 4]).infer(),
            "node 'n' (Gemm): input 0 is [2,3,1], not a matrix"
        );
        let partly = Op::new("Gemm").input(unknown(2)).input(f32s(&[3, 4]));
        assert_eq!(partly.infer(), "f32[?,4]");
    }

    #[test]
    fn matmul() {
        assert_eq!(product("MatMul", &[2, 3], &[3, 4]).infer(), "f32[2,4]");
        assert_eq!(
            product("MatMul", &[5, 1, 2, 3], &[7, 3, 4]).infer(),
            "f32[5,7,2,4]"
        );
        assert_eq!(product("MatMul", &[3], &[3, 4]).infer(), "f32[4]");
        assert_eq!(product("MatMul", &[5, 2, 3], &[3]).infer(), "f32[5,2]");
        assert_eq!(product("MatMul", &[3], &[3]).infer(), "f32[]");
        assert_eq!(
            product("MatMul", &[2, 3], &[2, 3]).infer(),
            "node 'n' (MatMul): inner extents 3 and 2 disagree"
        );
        assert_eq!(
            product("MatMul", &[], &[3]).infer(),
            "node 'n' (MatMul): a scalar has no matrix product"
        );
        let integers = Op::new("MatMulInteger")
            .input(fixed(DType::U8, &[2, 3]))
            .input(fixed(DType::I8, &[3, 4]));
        assert_eq!(integers.infer(), "i32[2,4]");
        let fused = product("FusedMatMul", &[2, 3], &[4, 3]);
        assert_eq!(
            fused.domain("com.microsoft").int("transB", 1).infer(),
            "f32[2,4]"
        );
    }

    #[test]
    fn einsum() {
        let einsum = |e| product("Einsum", &[2, 3, 4], &[2, 4, 5]).string("equation", e);
        assert_eq!(einsum("bij, bjk -> bik").infer(), "f32[2,3,5]");
        assert_eq!(einsum("bij,bjk").infer(), "f32[3,5]");
        assert_eq!(einsum("...ij,...jk").infer(), "unknown");
        assert_eq!(
            einsum("bij,bik->b").infer(),
            "node 'n' (Einsum): extents of 'i': 3 and 4 disagree"
        );
        assert_eq!(
            einsum("bij,bjk->z").infer(),
            "node 'n' (Einsum): 'z' is on no left-hand term"
        );
    }
}
