//! One pass of inference over a graph.

use std::collections::HashMap;

use sepconv_ir::{Graph, NodeId, Operator, ValueId};

use crate::contradiction::Contradiction;
use crate::fact::{Fact, MAX_RANK};
use crate::known;
use crate::order::topological;
use crate::rules::{self, Call, Rule, Stop};

/// The parts that stay the same between passes: order, rules and constants.
pub(crate) struct Engine<'a> {
    graph: &'a Graph,
    steps: Vec<(NodeId, &'a Operator, Option<Rule>)>,
    constants: Vec<Fact>,
}

/// The result of a pass: facts by [`ValueId::index`].
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) facts: Vec<Fact>,
    pub(crate) contradictions: Vec<Contradiction>,
}

impl<'a> Engine<'a> {
    pub(crate) fn new(graph: &'a Graph) -> Self {
        let mut constants = vec![Fact::default(); graph.value_capacity()];
        for init in graph.initializers() {
            if let Some(fact) = constants.get_mut(init.value.index()) {
                *fact = Fact::constant(&init.tensor);
            }
        }
        let steps = topological(graph)
            .into_iter()
            .filter_map(|node| {
                let op = graph.operator(node)?;
                Some((node, op, rules::find(op)))
            })
            .collect();
        Self {
            graph,
            steps,
            constants,
        }
    }

    pub(crate) fn run(&self, inputs: Vec<(ValueId, Fact)>, symbols: &HashMap<String, u64>) -> Pass {
        let mut facts = self.constants.clone();
        let mut contradictions = Vec::new();
        for (value, fact) in inputs {
            if let Some(slot) = facts.get_mut(value.index()) {
                *slot = fact;
            }
        }
        for (node, op, rule) in &self.steps {
            let inputs = op
                .inputs
                .iter()
                .map(|v| v.and_then(|v| facts.get(v.index())))
                .collect();
            let call = Call { op, inputs };
            let inferred = match rule {
                Some(rule) => rule(&call),
                None => Err(Stop::Unknown),
            };
            let mut outputs = inferred.unwrap_or_else(|stop| {
                if let Stop::Contradiction(reason) = stop {
                    contradictions.push(Contradiction {
                        node: *node,
                        message: format!("{}: {reason}", self.graph.describe(*node)),
                    });
                }
                Vec::new()
            });
            for (at, fact) in outputs.iter_mut().enumerate() {
                if known::is_open(fact)
                    && let Some(made) = known::result(op, &call.inputs, at)
                {
                    *fact = made;
                }
            }
            self.store(op, outputs, symbols, &mut facts);
        }
        Pass {
            facts,
            contradictions,
        }
    }

    fn store(
        &self,
        op: &Operator,
        outputs: Vec<Fact>,
        symbols: &HashMap<String, u64>,
        facts: &mut [Fact],
    ) {
        let mut outputs = outputs.into_iter();
        for value in &op.outputs {
            let mut fact = outputs.next().unwrap_or_default();
            let Some(value) = value else { continue };
            if fact.dims.as_ref().is_some_and(|d| d.len() > MAX_RANK) {
                fact.dims = None;
            }
            if let Some(declared) = self.graph.value(*value).and_then(|v| v.ty.as_ref()) {
                fact.complete(declared, |symbol| symbols.get(symbol).copied());
            }
            if let Some(slot) = facts.get_mut(value.index()) {
                *slot = fact;
            }
        }
    }
}
