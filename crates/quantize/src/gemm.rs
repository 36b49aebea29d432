//! Sums behind products, and factors and sums before them, in one operator.
//!
//! Before: `y = Add(MatMul(x, W), b)`. After: `y = Gemm(x, W, b)`, which runtimes compute in integers
//! with its bias. Conditions: `x` is of rank 2, `W` a constant matrix, `b` a constant of one number
//! per column; nothing else reads the product.
//!
//! Before: `y = Gemm(Mul(x, c), W, b)` or `y = Gemm(Add(x, c), W, b)`, as a batch norm behind an
//! activation is written. After: `y = Gemm(x, W', b')` with `W' = diag(c) W`, or `b' = b + c W`. Conditions:
//! `c` is a constant of one number for all, or per input of an `x` of known extents, nothing else reads the `Mul` or `Add`, and the `Gemm` has
//! no factors. Computed in f64. Terminates: every rewrite removes a node.

use sepconv_analysis::{Shapes, constants};
use sepconv_ir::{DType, Graph, IrError, NodeId, Operator, Patch, Tensor};

/// Rewrites all of them.
pub(crate) fn join_sums(graph: &mut Graph, shapes: &Shapes) -> Result<(), IrError> {
    let products = graph.operators().filter(|(_, op)| op.is("MatMul"));
    for node in products.map(|(id, _)| id).collect::<Vec<_>>() {
        if let Some(patch) = joined(graph, shapes, node) {
            graph.apply(patch)?;
        }
    }
    Ok(())
}

fn joined(graph: &Graph, shapes: &Shapes, node: NodeId) -> Option<Patch> {
    let op = graph.operator(node)?;
    let (x, w, product) = (op.input(0)?, op.input(1)?, op.output(0)?);
    let factor = constants::resolve(graph, w)?;
    let &[_, columns] = factor.dims() else {
        return None;
    };
    let [(reader, _)] = graph.readers(product)[..] else {
        return None;
    };
    let sum = graph.operator(reader).filter(|op| op.is("Add"))?;
    let (a, b) = (sum.input(0)?, sum.input(1)?);
    let added = constants::resolve(graph, if a == product { b } else { a })?;
    let fits = added.dtype() == DType::F32 && added.len() == columns && is_row(&added);
    if !fits || factor.dtype() != DType::F32 || shapes.extents(x)?.len() != 2 {
        return None;
    }
    let values = added.to_f32()?.into_owned();
    let mut patch = Patch::replace("join-sums", reader);
    patch.remove(node);
    let name = graph.label(node);
    let bias = patch.initializer(
        format!("{name}/bias"),
        Tensor::from_f32(vec![columns], values),
    );
    let inputs = vec![Some(x.into()), Some(w.into()), Some(bias)];
    patch.operator_into(Operator::new("Gemm", name), inputs, sum.output(0)?);
    Some(patch)
}

/// Rewrites all factors and sums before a `Gemm`.
pub(crate) fn join_factors(graph: &mut Graph, shapes: &Shapes) -> Result<(), IrError> {
    let products = graph.operators().filter(|(_, op)| op.is("Gemm"));
    for node in products.map(|(id, _)| id).collect::<Vec<_>>() {
        let mut node = node;
        while let Some(patch) = with_factor(graph, shapes, node) {
            let applied = graph.apply(patch)?;
            let Some(new) = applied.operators.last() else {
                break;
            };
            node = *new;
        }
    }
    Ok(())
}

fn with_factor(graph: &Graph, shapes: &Shapes, node: NodeId) -> Option<Patch> {
    let op = graph.operator(node)?;
    let (x, output) = (op.input(0)?, op.output(0)?);
    let plain =
        op.float("alpha", 1.0) == 1.0 && op.float("beta", 1.0) == 1.0 && op.int("transA", 0) == 0;
    let (before, made) = graph.producer(x)?;
    let is_factor = made.is("Mul");
    if !plain || !(is_factor || made.is("Add")) || graph.readers(x).len() != 1 {
        return None;
    }
    let weight = constants::resolve(graph, op.input(1)?)?;
    let &[rows, columns] = weight.dims() else {
        return None;
    };
    let turned = op.int("transB", 0) != 0;
    let (inputs, outputs) = if turned {
        (columns, rows)
    } else {
        (rows, columns)
    };
    let (a, b) = (made.input(0)?, made.input(1)?);
    let (from, constant) = if graph.varies(a) { (a, b) } else { (b, a) };
    let constant = constants::resolve(graph, constant)?;
    let all_f32 = weight.dtype() == DType::F32 && constant.dtype() == DType::F32;
    if !is_row(&constant) || !all_f32 || ![1, inputs].contains(&constant.len()) {
        return None;
    }
    // A row may widen a column.
    let is_wide = |dims: Vec<u64>| matches!(dims[..], [_, width] if width == inputs as u64);
    if constant.len() > 1 && !shapes.extents(from).is_some_and(is_wide) {
        return None;
    }
    let by_input = constant.to_f64()?;
    let of_input = |i: usize| by_input[if by_input.len() == 1 { 0 } else { i }];
    let mut values = weight.to_f64()?;
    let mut bias = match op.input(2) {
        Some(bias) => {
            let bias = constants::resolve(graph, bias)?;
            bias.to_f64().filter(|_| is_row(&bias))?
        }
        None => vec![0.0; outputs],
    };
    if bias.len() != outputs {
        return None;
    }
    for (at, value) in values.iter_mut().enumerate() {
        let (row, column) = (at / columns, at % columns);
        let (input, output) = if turned { (column, row) } else { (row, column) };
        match is_factor {
            true => *value *= of_input(input),
            false => bias[output] += *value * of_input(input),
        }
    }
    let mut patch = Patch::replace("join-factors", node);
    patch.remove(before);
    let weight = Tensor::from_f64s(DType::F32, vec![rows, columns], &values)?;
    let bias = Tensor::from_f64s(DType::F32, vec![outputs], &bias)?;
    let name = graph.label(node);
    let inputs = vec![
        Some(from.into()),
        Some(patch.initializer(format!("{name}/weight"), weight)),
        Some(patch.initializer(format!("{name}/bias"), bias)),
    ];
    patch.operator_into(op.clone(), inputs, output);
    Some(patch)
}

/// True for a row of numbers: of rank 2 at most, and of one row.
pub(crate) fn is_row(tensor: &Tensor) -> bool {
    let dims = tensor.dims();
    dims.iter().rev().skip(1).all(|n| *n == 1) && dims.len() <= 2
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_analysis::{Assumptions, Pins};
    use sepconv_ir::{Builder, Dim, ValueType};

    use super::*;

    fn joined(dims: Vec<Dim>, bias: Vec<usize>) -> String {
        let mut b = Builder::new();
        let ty = ValueType {
            dtype: DType::F32,
            dims: Some(dims),
        };
        let x = b.input("x", Some(ty)).unwrap();
        let n = bias.iter().product();
        let w = b
            .initializer("w", Tensor::from_f32(vec![2, 3], vec![1.0; 6]))
            .unwrap();
        let c = b
            .initializer("c", Tensor::from_f32(bias, vec![1.0; n]))
            .unwrap();
        let p = b
            .operator(Operator::new("MatMul", "mm"), &[Some(x), Some(w)], &["p"])
            .unwrap();
        let y = b
            .operator(Operator::new("Add", "a"), &[Some(c), Some(p[0])], &["y"])
            .unwrap();
        b.output(y[0]).unwrap();
        let mut graph = b.finish().unwrap();
        let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
        join_sums(&mut graph, &shapes).unwrap();
        graph.verify().unwrap();
        graph
            .operators()
            .map(|(_, op)| op.op_type.clone())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn sums_of_one_number_per_column_join_matrices() {
        let matrix = || vec![Dim::Symbol("N".into()), Dim::Known(2)];
        assert_eq!(joined(matrix(), vec![3]), "Gemm");
        assert_eq!(joined(matrix(), vec![1, 3]), "Gemm");
        assert_eq!(joined(matrix(), vec![1]), "MatMul Add");
        let three = vec![Dim::Known(1), Dim::Known(4), Dim::Known(2)];
        assert_eq!(joined(three, vec![3]), "MatMul Add");
    }

    /// The operators of `Gemm(Add(Mul(x, 2), [1, -1]), W)` with its factors and sums joined, where rows of `x` are `wide`,
    /// and the constants of the last.
    fn with_factors(wide: u64, turned: u8) -> (Vec<String>, Vec<Vec<f64>>) {
        let text = format!(
            "input x: f32[1,{wide}]\n\
             const w: f32[2,2] [1.0, 2.0, 3.0, 5.0]\n\
             const c: f32[1] [2.0]\n\
             const t: f32[2] [1.0, -1.0]\n\
             m = Mul(c, x)\n\
             s = Add(m, t)\n\
             y = Gemm{{transB={turned}}}(s, w)\n\
             output y\n"
        );
        let mut graph: Graph = text.parse().unwrap();
        let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
        join_factors(&mut graph, &shapes).unwrap();
        graph.verify().unwrap();
        let (_, gemm) = graph.producer(graph.find("y").unwrap()).unwrap();
        let constants = gemm.inputs.iter().flatten();
        let constants = constants.filter_map(|v| graph.constant(*v)?.to_f64());
        let names = graph.operators().map(|(_, op)| op.op_type.clone());
        (names.collect(), constants.collect())
    }

    #[test]
    fn factors_and_sums_before_a_gemm_join_it() {
        let weight = vec![2.0, 4.0, 6.0, 10.0];
        let joined = |bias: [f64; 2]| {
            let constants = vec![weight.clone(), bias.to_vec()];
            (vec!["Gemm".to_owned()], constants)
        };
        assert_eq!(with_factors(2, 0), joined([-2.0, -3.0]));
        assert_eq!(with_factors(2, 1), joined([-1.0, -2.0]));
    }

    #[test]
    fn a_row_that_widens_a_column_stays() {
        assert_eq!(with_factors(1, 0).0, ["Mul", "Add", "Gemm"]);
    }
}
