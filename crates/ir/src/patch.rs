//! Edits as values.

use std::collections::HashSet;

use crate::error::IrError;
use crate::graph::{Edge, Graph};
use crate::ids::{NodeId, ValueId};
use crate::node::{Initializer, Node, Operator};
use crate::tensor::Tensor;
use crate::types::Value;

/// A value that a patch refers to: one of the graph, or one that the patch makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchValue {
    /// A value of the graph.
    Existing(ValueId),
    /// The n-th value that the patch makes.
    New(usize),
}

impl From<ValueId> for PatchValue {
    fn from(value: ValueId) -> Self {
        Self::Existing(value)
    }
}

#[derive(Debug, Clone)]
enum Output {
    Fresh { name: String, index: usize },
    Takes(ValueId),
}

#[derive(Debug, Clone)]
struct NewOperator {
    op: Operator,
    inputs: Vec<Option<PatchValue>>,
    outputs: Vec<Output>,
}

#[derive(Debug, Clone)]
struct NewInitializer {
    name: String,
    tensor: Tensor,
    index: usize,
}

/// An edit of a graph: operators that go, operators and initializers that come in their
/// place, and which of the values that go the new operators take over. A value that is
/// taken over keeps its identifier, name, type and readers, so that the rest of the graph,
/// its outputs and its captures in subgraphs see no change.
///
/// New names are wishes: where one is taken, [`Graph::apply`] appends `_1`, `_2`, ….
#[derive(Debug, Clone)]
pub struct Patch {
    rule: &'static str,
    anchor: NodeId,
    removed: Vec<NodeId>,
    initializers: Vec<NewInitializer>,
    operators: Vec<NewOperator>,
    made: usize,
}

/// Record of a [`Graph::apply`].
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The new operators, in order.
    pub operators: Vec<NodeId>,
    /// The new initializers' values, in order.
    pub initializers: Vec<ValueId>,
}

impl Patch {
    /// An empty patch by `rule` that removes `anchor` and puts its additions in its place in
    /// the operator order.
    pub fn replace(rule: &'static str, anchor: NodeId) -> Self {
        Self {
            rule,
            anchor,
            removed: vec![anchor],
            initializers: Vec::new(),
            operators: Vec::new(),
            made: 0,
        }
    }

    /// Removes a further operator.
    pub fn remove(&mut self, node: NodeId) {
        self.removed.push(node);
    }

    fn make(&mut self) -> usize {
        self.made += 1;
        self.made - 1
    }

    /// Adds an initializer.
    pub fn initializer(&mut self, name: impl Into<String>, tensor: Tensor) -> PatchValue {
        let index = self.make();
        self.initializers.push(NewInitializer {
            name: name.into(),
            tensor,
            index,
        });
        PatchValue::New(index)
    }

    /// Adds an operator with one new output, called `output`. Inputs and outputs that `op` has itself do not count.
    pub fn operator(
        &mut self,
        op: Operator,
        inputs: Vec<Option<PatchValue>>,
        output: impl Into<String>,
    ) -> PatchValue {
        let index = self.make();
        let name = output.into();
        self.operators.push(NewOperator {
            op,
            inputs,
            outputs: vec![Output::Fresh { name, index }],
        });
        PatchValue::New(index)
    }

    /// Adds an operator whose one output takes over `value`, made by a removed operator. Inputs and outputs that `op` has
    /// itself do not count.
    pub fn operator_into(&mut self, op: Operator, inputs: Vec<Option<PatchValue>>, value: ValueId) {
        self.operators.push(NewOperator {
            op,
            inputs,
            outputs: vec![Output::Takes(value)],
        });
    }
}

impl Graph {
    /// Applies a patch: all of it, or nothing where it does not fit. Initializers that
    /// nothing reads any more leave the graph.
    ///
    /// # Errors
    /// [`IrError::Patch`] names the rule, the anchor and the part that does not fit.
    pub fn apply(&mut self, patch: Patch) -> Result<Applied, IrError> {
        self.check(&patch).map_err(|reason| IrError::Patch {
            rule: patch.rule.to_owned(),
            node: self.describe(patch.anchor),
            reason,
        })?;
        self.touch();
        let before = self.order.iter().take_while(|n| **n != patch.anchor);
        let position = before.filter(|n| !patch.removed.contains(n)).count();
        let readers = self.detach(&patch);
        let applied = self.attach(&patch, position, readers);
        Ok(applied)
    }

    fn check(&self, patch: &Patch) -> Result<(), String> {
        let removed: HashSet<NodeId> = patch.removed.iter().copied().collect();
        let mut taken = HashSet::new();
        for new in &patch.operators {
            for out in &new.outputs {
                if let Output::Takes(v) = out
                    && !taken.insert(*v)
                {
                    return Err(format!("'{}' is taken over twice", self.name(*v)));
                }
            }
        }
        let mut available: HashSet<usize> = patch.initializers.iter().map(|i| i.index).collect();
        for new in &patch.operators {
            for input in new.inputs.iter().flatten() {
                match input {
                    PatchValue::New(i) if !available.contains(i) => {
                        return Err(format!("'{}' reads what comes later", new.op.name));
                    }
                    PatchValue::New(_) => {}
                    PatchValue::Existing(v) => {
                        let Some(value) = self.value(*v) else {
                            return Err(format!("'{}' reads a missing value", new.op.name));
                        };
                        if removed.contains(&value.producer) {
                            return Err(format!("'{}' is read but removed", value.name));
                        }
                    }
                }
            }
            for out in &new.outputs {
                if let Output::Fresh { index, .. } = out {
                    available.insert(*index);
                }
            }
        }
        for id in &removed {
            let op = self.operator(*id).ok_or("it removes no operator")?;
            for out in op.outputs.iter().flatten() {
                let read_outside = self
                    .readers(*out)
                    .iter()
                    .any(|(reader, _)| !removed.contains(reader));
                if read_outside && !taken.contains(out) {
                    return Err(format!("'{}' is still read", self.name(*out)));
                }
            }
        }
        for v in &taken {
            if self
                .value(*v)
                .is_none_or(|v| !removed.contains(&v.producer))
            {
                return Err(format!("'{}' is not free to take over", self.name(*v)));
            }
        }
        Ok(())
    }

    /// Removes the patch's operators; returns the edges of the values taken over.
    fn detach(&mut self, patch: &Patch) -> Vec<(NodeId, Edge)> {
        let removed: HashSet<NodeId> = patch.removed.iter().copied().collect();
        let taken: HashSet<ValueId> = patch
            .operators
            .iter()
            .flat_map(|o| &o.outputs)
            .filter_map(|o| match o {
                Output::Takes(v) => Some(*v),
                Output::Fresh { .. } => None,
            })
            .collect();
        let mut readers = Vec::new();
        for value in &taken {
            for (reader, slot) in self.readers(*value) {
                if !removed.contains(&reader) {
                    let value = *value;
                    readers.push((reader, Edge { value, slot }));
                }
            }
        }
        let mut orphans = Vec::new();
        for id in &patch.removed {
            let Some(Node::Operator(op)) = self.g.remove_node(*id) else {
                continue;
            };
            self.node_names.remove(&op.name);
            for out in op.outputs.iter().flatten().filter(|v| !taken.contains(v)) {
                self.drop_value(*out);
            }
            orphans.extend(op.inputs.iter().flatten().chain(&op.captures).copied());
        }
        self.order.retain(|n| !removed.contains(n));
        let used: HashSet<ValueId> = patch
            .operators
            .iter()
            .flat_map(|o| o.inputs.iter().flatten())
            .filter_map(|v| match v {
                PatchValue::Existing(v) => Some(*v),
                PatchValue::New(_) => None,
            })
            .collect();
        for value in orphans {
            self.drop_unread_initializer(value, &used);
        }
        readers
    }

    fn drop_value(&mut self, id: ValueId) {
        if let Some(value) = self.values.get_mut(id.index()).and_then(Option::take) {
            self.by_name.remove(&value.name);
            self.value_names.remove(&value.name);
        }
    }

    pub(crate) fn drop_unread_initializer(&mut self, id: ValueId, used: &HashSet<ValueId>) {
        if self.keep_initializers || used.contains(&id) || !self.readers(id).is_empty() {
            return;
        }
        let Some(node) = self.value(id).map(|v| v.producer) else {
            return;
        };
        if self.initializer(node).is_some_and(|i| !i.overridable) {
            self.g.remove_node(node);
            self.initializers.retain(|n| *n != node);
            self.drop_value(id);
        }
    }

    fn attach(&mut self, patch: &Patch, position: usize, readers: Vec<(NodeId, Edge)>) -> Applied {
        let mut applied = Applied::default();
        let mut made: Vec<Option<ValueId>> = vec![None; patch.made];
        for new in &patch.initializers {
            let id = ValueId(self.values.len() as u32);
            let node = self.g.add_node(Node::Initializer(Initializer {
                value: id,
                tensor: new.tensor.clone(),
                overridable: false,
                source: None,
            }));
            self.initializers.push(node);
            self.new_value(&new.name, node);
            made[new.index] = Some(id);
            applied.initializers.push(id);
        }
        for new in &patch.operators {
            let mut op = new.op.clone();
            op.source = None;
            if !op.name.is_empty() {
                op.name = self.node_names.fresh(&op.name);
            }
            op.inputs = new
                .inputs
                .iter()
                .map(|input| match input {
                    Some(PatchValue::Existing(v)) => Some(*v),
                    Some(PatchValue::New(i)) => made[*i],
                    None => None,
                })
                .collect();
            op.outputs.clear();
            let (inputs, captures) = (op.inputs.clone(), op.captures.clone());
            let node = self.g.add_node(Node::Operator(Box::new(op)));
            self.connect(node, &inputs, &captures);
            let mut outputs = Vec::new();
            for (slot, out) in new.outputs.iter().enumerate() {
                let id = match out {
                    Output::Fresh { name, index } => {
                        let id = self.new_value(name, node);
                        made[*index] = Some(id);
                        id
                    }
                    Output::Takes(v) => *v,
                };
                if let Some(Some(value)) = self.values.get_mut(id.index()) {
                    value.producer = node;
                    value.slot = slot;
                }
                outputs.push(Some(id));
            }
            if let Some(Node::Operator(op)) = self.g.node_weight_mut(node) {
                op.outputs = outputs;
            }
            applied.operators.push(node);
        }
        for (reader, edge) in readers {
            if let Some(producer) = self.value(edge.value).map(|v| v.producer) {
                self.g.add_edge(producer, reader, edge);
            }
        }
        self.order
            .splice(position..position, applied.operators.iter().copied());
        applied
    }

    fn new_value(&mut self, name: &str, producer: NodeId) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        let name = self.value_names.fresh(name);
        self.by_name.insert(name.clone(), id);
        self.values.push(Some(Value {
            name,
            ty: None,
            producer,
            slot: 0,
        }));
        id
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Builder;

    /// x -> Conv(w) -> y -> Relu -> z, outputs y and z.
    fn sample() -> Graph {
        let mut b = Builder::new();
        let x = b.input("x", None).unwrap();
        let w = b
            .initializer("w", Tensor::from_f32(vec![1], vec![1.0]))
            .unwrap();
        let y = b
            .operator(Operator::new("Conv", "c"), &[Some(x), Some(w)], &["y"])
            .unwrap()[0];
        let z = b
            .operator(Operator::new("Relu", "r"), &[Some(y)], &["z"])
            .unwrap()[0];
        b.output(y).unwrap();
        b.output(z).unwrap();
        b.finish().unwrap()
    }

    fn conv(g: &Graph) -> NodeId {
        g.operators().find(|(_, op)| op.is("Conv")).unwrap().0
    }

    #[test]
    fn replacement_keeps_names_order_and_outputs() {
        let mut g = sample();
        let (x, y) = (g.find("x").unwrap(), g.find("y").unwrap());
        let mut p = Patch::replace("split", conv(&g));
        let w = p.initializer("c/dw.weight", Tensor::from_f32(vec![1], vec![2.0]));
        let dw = Operator::new("Conv", "c/dw");
        let h = p.operator(dw, vec![Some(x.into()), Some(w)], "c/dw.out");
        p.operator_into(Operator::new("Conv", "c/pw"), vec![Some(h)], y);
        g.apply(p).unwrap();
        g.verify().unwrap();
        assert_eq!(
            g.to_string(),
            "input x\n\
             const c/dw.weight: f32[1] [2.0]\n\
             c/dw.out = Conv(x, c/dw.weight) # c/dw\n\
             y = Conv(c/dw.out) # c/pw\n\
             z = Relu(y) # r\n\
             output y\n\
             output z\n"
        );
    }

    #[test]
    fn a_value_still_read_may_not_vanish() {
        let mut g = sample();
        let before = g.to_string();
        let err = g.apply(Patch::replace("drop", conv(&g))).unwrap_err();
        assert_eq!(
            err.to_string(),
            "patch 'drop' at node 'c' (Conv): 'y' is still read"
        );
        assert_eq!(g.to_string(), before, "a refused patch changes nothing");
    }

    #[test]
    fn what_is_removed_before_the_anchor_moves_it_up() {
        let mut b = Builder::new();
        let x = b.input("x", None).unwrap();
        let w = b
            .operator(Operator::new("Constant", "k"), &[], &["w"])
            .unwrap()[0];
        let conv = Operator::new("Conv", "c");
        let y = b.operator(conv, &[Some(x), Some(w)], &["y"]).unwrap()[0];
        b.output(y).unwrap();
        let mut g = b.finish().unwrap();
        let mut p = Patch::replace("swap", self::conv(&g));
        p.remove(g.producer(w).unwrap().0);
        let relu = Operator::new("Relu", "r");
        p.operator_into(relu, vec![Some(x.into())], y);
        g.apply(p).unwrap();
        g.verify().unwrap();
        assert_eq!(g.to_string(), "input x\ny = Relu(x) # r\noutput y\n");
    }

    #[test]
    fn shared_initializers_stay_while_read() {
        let mut b = Builder::new();
        let x = b.input("x", None).unwrap();
        let w = b
            .initializer("w", Tensor::from_f32(vec![1], vec![1.0]))
            .unwrap();
        let first = b
            .operator(Operator::new("Conv", "c"), &[Some(x), Some(w)], &["y"])
            .unwrap()[0];
        let second = b
            .operator(Operator::new("Mul", "m"), &[Some(first), Some(w)], &["z"])
            .unwrap()[0];
        b.output(second).unwrap();
        let mut g = b.finish().unwrap();
        for name in ["Conv", "Mul"] {
            let (id, op) = g.operators().find(|(_, op)| op.is(name)).unwrap();
            let (input, output) = (op.input(0).unwrap(), op.output(0).unwrap());
            let mut p = Patch::replace("relu", id);
            let relu = Operator::new("Relu", "relu");
            p.operator_into(relu, vec![Some(input.into())], output);
            assert!(g.find("w").is_some());
            g.apply(p).unwrap();
            g.verify().unwrap();
        }
        assert!(g.find("w").is_none());
        let names: Vec<_> = g.operators().map(|(_, op)| op.name.as_str()).collect();
        assert_eq!(names, ["relu", "relu_1"]);
    }
}
