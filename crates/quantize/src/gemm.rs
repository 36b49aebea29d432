//! Products that are followed by a sum, as one operator.
//!
//! Before: `y = Add(MatMul(x, W), b)`. After: `y = Gemm(x, W, b)`, which runtimes compute in integers
//! with its bias. Conditions: `x` is of rank 2, `W` a constant matrix, `b` a constant of one number
//! per column; nothing else reads the product. Terminates: every rewrite removes a node.

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
    let flat = added.dims().iter().rev().skip(1).all(|n| *n == 1) && added.dims().len() <= 2;
    let fits = added.dtype() == DType::F32 && added.len() == columns && flat;
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
}
