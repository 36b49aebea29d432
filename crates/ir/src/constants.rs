//! Constants with other elements.

use crate::error::IrError;
use crate::graph::Graph;
use crate::ids::ValueId;
use crate::node::Node;
use crate::tensor::Tensor;

impl Graph {
    /// Gives an initializer other elements of the same type and extents: name, readers and
    /// shapes of the graph stay.
    ///
    /// # Errors
    /// [`IrError::Patch`] where `value` is no initializer, or callers may override it, or the
    /// tensor is of another type or shape.
    pub fn set_constant(&mut self, value: ValueId, tensor: Tensor) -> Result<(), IrError> {
        let wrong = |graph: &Self, reason: String| IrError::Patch {
            rule: "set-constant".into(),
            node: format!("initializer '{}'", graph.name(value)),
            reason,
        };
        let Some(known) = self.constant(value) else {
            return Err(wrong(self, "it is no constant initializer".into()));
        };
        if (known.dtype(), known.dims()) != (tensor.dtype(), tensor.dims()) {
            let reason = format!(
                "{}{:?} can't take the place of {}{:?}",
                tensor.dtype(),
                tensor.dims(),
                known.dtype(),
                known.dims()
            );
            return Err(wrong(self, reason));
        }
        let producer = self.value(value).map(|v| v.producer);
        if let Some(Node::Initializer(init)) = producer.and_then(|id| self.g.node_weight_mut(id)) {
            init.tensor = tensor;
            init.source = None;
            self.touch();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{Builder, Operator, Tensor};

    #[test]
    fn elements_change_and_nothing_else() {
        let mut b = Builder::new();
        let x = b.input("x", None).unwrap();
        let w = b
            .initializer("w", Tensor::from_f32(vec![2], vec![1.0, 2.0]))
            .unwrap();
        let y = b
            .operator(Operator::new("Add", "a"), &[Some(x), Some(w)], &["y"])
            .unwrap();
        b.output(y[0]).unwrap();
        let mut graph = b.finish().unwrap();
        graph
            .set_constant(w, Tensor::from_f32(vec![2], vec![3.0, 4.0]))
            .unwrap();
        assert_eq!(&*graph.constant(w).unwrap().to_f32().unwrap(), &[3.0, 4.0]);
        assert!(graph.is_modified());
        graph.verify().unwrap();
        let short = graph.set_constant(w, Tensor::from_f32(vec![1], vec![3.0]));
        let message = short.err().unwrap().to_string();
        assert!(
            message.contains("'w': f32[1] can't take the place of f32[2]"),
            "{message}"
        );
        let input = graph.set_constant(x, Tensor::from_f32(vec![1], vec![3.0]));
        assert!(input.err().unwrap().to_string().contains("no constant"));
    }
}
