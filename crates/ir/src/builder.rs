//! Building a graph from a list of nodes.

use crate::error::IrError;
use crate::graph::{Edge, Graph, Slot};
use crate::ids::{NodeId, ValueId};
use crate::node::{Initializer, Node, Operator};
use crate::tensor::Tensor;
use crate::types::{Value, ValueType};

/// Builds a [`Graph`].
///
/// Operators may be declared before the values that they read: [`Builder::declare`]
/// introduces an operator and its outputs, [`Builder::connect`] its inputs.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
}

impl Builder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    fn value(
        &mut self,
        name: &str,
        ty: Option<ValueType>,
        producer: NodeId,
        slot: usize,
    ) -> Result<ValueId, IrError> {
        let id = ValueId(self.graph.values.len() as u32);
        if self.graph.by_name.insert(name.to_owned(), id).is_some() {
            return Err(IrError::DuplicateValue(name.to_owned()));
        }
        self.graph.value_names.insert(name);
        self.graph.values.push(Some(Value {
            name: name.to_owned(),
            ty,
            producer,
            slot,
        }));
        Ok(id)
    }

    fn next_value(&self) -> ValueId {
        ValueId(self.graph.values.len() as u32)
    }

    /// Adds a graph input.
    pub fn input(&mut self, name: &str, ty: Option<ValueType>) -> Result<ValueId, IrError> {
        let node = self.graph.g.add_node(Node::Input(self.next_value()));
        self.graph.inputs.push(node);
        self.value(name, ty, node, 0)
    }

    /// Adds a constant.
    pub fn initializer(&mut self, name: &str, tensor: Tensor) -> Result<ValueId, IrError> {
        self.initializer_from(name, tensor, false, None)
    }

    /// Adds an initializer of a file: see [`Initializer`].
    pub fn initializer_from(
        &mut self,
        name: &str,
        tensor: Tensor,
        overridable: bool,
        source: Option<bytes::Bytes>,
    ) -> Result<ValueId, IrError> {
        let node = self.graph.g.add_node(Node::Initializer(Initializer {
            value: self.next_value(),
            tensor,
            overridable,
            source,
        }));
        self.graph.initializers.push(node);
        self.value(name, None, node, 0)
    }

    /// Introduces an operator and its outputs (empty names are outputs left out), inputs
    /// and captures still to be connected.
    pub fn declare(&mut self, mut op: Operator, outputs: &[&str]) -> Result<NodeId, IrError> {
        op.outputs.clear();
        if !op.name.is_empty() {
            self.graph.node_names.insert(&op.name);
        }
        let node = self.graph.g.add_node(Node::Operator(Box::new(op)));
        self.graph.order.push(node);
        let mut ids = Vec::with_capacity(outputs.len());
        for (slot, name) in outputs.iter().enumerate() {
            ids.push(if name.is_empty() {
                None
            } else {
                Some(self.value(name, None, node, slot)?)
            });
        }
        if let Some(Node::Operator(op)) = self.graph.g.node_weight_mut(node) {
            op.outputs = ids;
        }
        Ok(node)
    }

    /// Connects the inputs and captures of a declared operator.
    pub fn connect(
        &mut self,
        node: NodeId,
        inputs: Vec<Option<ValueId>>,
        captures: Vec<ValueId>,
    ) -> Result<(), IrError> {
        self.graph.connect(node, &inputs, &captures);
        if let Some(Node::Operator(op)) = self.graph.g.node_weight_mut(node) {
            op.inputs = inputs;
            op.captures = captures;
        }
        Ok(())
    }

    /// Adds an operator whose inputs exist already; returns its outputs.
    pub fn operator(
        &mut self,
        op: Operator,
        inputs: &[Option<ValueId>],
        outputs: &[&str],
    ) -> Result<Vec<ValueId>, IrError> {
        let node = self.declare(op, outputs)?;
        self.connect(node, inputs.to_vec(), Vec::new())?;
        Ok(self
            .graph
            .operator(node)
            .map(|op| op.outputs.iter().flatten().copied().collect())
            .unwrap_or_default())
    }

    /// Adds a graph output.
    pub fn output(&mut self, value: ValueId) -> Result<(), IrError> {
        let producer = self.graph.value(value).map(|v| v.producer);
        let node = self.graph.g.add_node(Node::Output(value));
        self.graph.outputs.push(node);
        if let Some(producer) = producer {
            let slot = Slot::Input(0);
            self.graph.g.add_edge(producer, node, Edge { value, slot });
        }
        Ok(())
    }

    /// The value of a name declared so far.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.graph.find(name)
    }

    /// The values that an operator declared so far produces.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Declares the type of a value (ONNX `value_info`).
    pub fn set_type(&mut self, value: ValueId, ty: ValueType) {
        if let Some(Some(v)) = self.graph.values.get_mut(value.index()) {
            v.ty = Some(ty);
        }
    }

    /// Keeps `name` from being given to a new value.
    pub fn reserve_name(&mut self, name: &str) {
        self.graph.value_names.insert(name);
    }

    /// Keeps initializers in the graph even when nothing reads them any more.
    pub fn keep_initializers(&mut self) {
        self.graph.keep_initializers = true;
    }

    /// The finished graph, verified.
    pub fn finish(self) -> Result<Graph, IrError> {
        self.graph.verify()?;
        Ok(self.graph)
    }
}

impl Graph {
    pub(crate) fn connect(
        &mut self,
        node: NodeId,
        inputs: &[Option<ValueId>],
        captures: &[ValueId],
    ) {
        let slots = (0u32..)
            .zip(inputs)
            .filter_map(|(i, v)| v.map(|v| (v, Slot::Input(i))))
            .chain(captures.iter().map(|v| (*v, Slot::Capture)));
        for (value, slot) in slots {
            if let Some(producer) = self.value(value).map(|v| v.producer) {
                self.g.add_edge(producer, node, Edge { value, slot });
            }
        }
    }
}
