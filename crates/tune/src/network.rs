//! The part of a graph that computes some values, with gradients.

use std::collections::{HashMap, HashSet};

use candle_core::{Device, Tensor, Var};
use sepconv_analysis::constants;
use sepconv_ir::{Node, NodeId, ValueId};

use crate::compute::Compute;
use crate::error::{TuneError, one_line};
use crate::extents::with_known_extents;
use crate::ops::{Forward, Rule, rule};
use crate::parameter::Parameter;
use crate::typed::TypedGraph;
use crate::values::Values;

/// The part of a graph that computes wanted values from given ones.
///
/// Every value's first axis is the batch. Operators are those of ONNX, opsets 7 to 25, where
/// they have a gradient and keep rows of the batch apart.
pub struct Network {
    steps: Vec<Step>,
    constants: HashMap<ValueId, Tensor>,
    given: Vec<ValueId>,
    wanted: Vec<ValueId>,
    parameters: Vec<Parameter>,
    without_gradient: Vec<String>,
    frozen: Vec<String>,
    device: Device,
}

struct Step {
    node: String,
    op_type: String,
    operands: Vec<ValueId>,
    results: Vec<Option<ValueId>>,
    forward: Forward,
}

impl Network {
    /// Compiles the operators that compute `wanted`, on `compute`. `given` are values that are handed in, beside the
    /// graph's inputs; `movable` are initializers that training may move. An operator without a
    /// gradient makes its output a given value, and freezes all that is upstream of it.
    ///
    /// # Errors
    /// [`TuneError::Nothing`] where no movable initializer is left, [`TuneError::Device`].
    pub fn new(
        compute: Compute,
        model: TypedGraph<'_>,
        given: &[ValueId],
        wanted: &[ValueId],
        movable: &[ValueId],
    ) -> Result<Self, TuneError> {
        let network = Self::compiled(compute, model, given, wanted, movable)?;
        if network.parameters.is_empty() {
            return Err(TuneError::Nothing(
                match network.without_gradient.as_slice() {
                    [] => "no layer was rewritten".into(),
                    [first, ..] => format!("{first} has no gradient"),
                },
            ));
        }
        Ok(network)
    }

    pub(crate) fn compiled(
        compute: Compute,
        model: TypedGraph<'_>,
        given: &[ValueId],
        wanted: &[ValueId],
        movable: &[ValueId],
    ) -> Result<Self, TuneError> {
        let device = compute.device()?;
        let none = HashSet::new();
        let known = with_known_extents(model);
        let model = TypedGraph {
            graph: &known,
            ..model
        };
        let graph = model.graph;
        let first = Compiler::run(model, &device, given, wanted, &none)?;
        // Given values must stay the same while parameters move.
        let upstream = graph.ancestors(&first.given);
        let movable: Vec<ValueId> = movable.to_vec();
        let held = |v: &ValueId| {
            graph
                .value(*v)
                .is_some_and(|v| upstream.contains(&v.producer))
        };
        let (frozen, free): (Vec<ValueId>, Vec<ValueId>) = movable.into_iter().partition(held);
        let free: HashSet<ValueId> = free.into_iter().collect();
        let second = Compiler::run(model, &device, given, wanted, &free)?;
        let without_gradient = second.without_gradient.iter();
        let without_gradient: Vec<String> =
            without_gradient.map(|id| graph.describe(*id)).collect();
        Ok(Self {
            steps: second.steps.into_iter().map(|(_, step)| step).collect(),
            constants: second.constants,
            given: second.given,
            wanted: wanted.to_vec(),
            parameters: second.parameters,
            without_gradient,
            frozen: frozen.iter().map(|v| graph.name(*v).to_owned()).collect(),
            device,
        })
    }

    /// Device that it is computed on.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The values that have to be handed in, in the order of [`Network::values`].
    pub fn given(&self) -> &[ValueId] {
        &self.given
    }

    /// The constants that training moves.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Operators that have no gradient, described.
    pub fn without_gradient(&self) -> &[String] {
        &self.without_gradient
    }

    /// Names of initializers that stay because an operator without a gradient follows.
    pub fn frozen(&self) -> &[String] {
        &self.frozen
    }

    /// The wanted values, as the parameters are now.
    ///
    /// # Errors
    /// [`TuneError::Operator`].
    pub fn values(&self, given: &[Values]) -> Result<Vec<Values>, TuneError> {
        let made = self
            .run(&self.tensors(given)?, false)?
            .into_iter()
            .map(|t| {
                Ok(Values {
                    dims: t.dims().to_vec(),
                    elements: t.flatten_all()?.to_vec1()?,
                })
            });
        made.collect()
    }

    /// Values where the network is computed.
    pub(crate) fn tensors(&self, values: &[Values]) -> Result<Vec<Tensor>, TuneError> {
        let tensor = |v: &Values| Tensor::from_slice(&v.elements, v.dims.as_slice(), &self.device);
        Ok(values.iter().map(tensor).collect::<Result<_, _>>()?)
    }

    /// The wanted values. `learns`: gradients can be taken of them.
    ///
    /// # Errors
    /// [`TuneError::Operator`].
    pub(crate) fn run(&self, given: &[Tensor], learns: bool) -> Result<Vec<Tensor>, TuneError> {
        self.run_watched(given, learns, &mut |_, tensor| Ok(tensor))
    }

    /// The same, every value that is computed replaced by the result of `watch`.
    pub(crate) fn run_watched(
        &self,
        given: &[Tensor],
        learns: bool,
        watch: &mut dyn FnMut(ValueId, Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Vec<Tensor>, TuneError> {
        let mut values: HashMap<ValueId, Tensor> = HashMap::new();
        values.extend(self.given.iter().copied().zip(given.iter().cloned()));
        for parameter in &self.parameters {
            let tensor = match learns {
                true => parameter.var.as_tensor().clone(),
                false => parameter.var.as_detached_tensor(),
            };
            values.insert(parameter.value, tensor);
        }
        let missing = |step: &Step| TuneError::Operator {
            node: step.node.clone(),
            op_type: step.op_type.clone(),
            reason: "an operand is missing".into(),
        };
        for step in &self.steps {
            let operand = |v: &ValueId| values.get(v).or_else(|| self.constants.get(v)).cloned();
            let operands: Option<Vec<Tensor>> = step.operands.iter().map(operand).collect();
            let operands = operands.ok_or_else(|| missing(step))?;
            let made = (step.forward)(&operands).map_err(|e| TuneError::Operator {
                node: step.node.clone(),
                op_type: step.op_type.clone(),
                reason: one_line(&e),
            })?;
            for (id, tensor) in step.results.iter().zip(made) {
                if let Some(id) = *id {
                    values.insert(id, watch(id, tensor)?);
                }
            }
        }
        let wanted = self.wanted.iter().map(|v| {
            let found = values.get(v).or_else(|| self.constants.get(v));
            found
                .cloned()
                .ok_or_else(|| TuneError::Library("a wanted value is missing".into()))
        });
        wanted.collect()
    }
}

struct Compiler<'a> {
    model: TypedGraph<'a>,
    device: &'a Device,
    movable: &'a HashSet<ValueId>,
    /// With their place in the graph.
    steps: Vec<(usize, Step)>,
    constants: HashMap<ValueId, Tensor>,
    given: Vec<ValueId>,
    parameters: Vec<Parameter>,
    without_gradient: Vec<NodeId>,
    seen: HashSet<ValueId>,
}

impl<'a> Compiler<'a> {
    fn run(
        model: TypedGraph<'a>,
        device: &'a Device,
        given: &[ValueId],
        wanted: &[ValueId],
        movable: &'a HashSet<ValueId>,
    ) -> Result<Self, TuneError> {
        let graph = model.graph;
        let places: HashMap<NodeId, usize> = graph
            .operators()
            .enumerate()
            .map(|(i, (id, _))| (id, i))
            .collect();
        let mut compiler = Self {
            model,
            device,
            movable,
            steps: Vec::new(),
            constants: HashMap::new(),
            given: Vec::new(),
            parameters: Vec::new(),
            without_gradient: Vec::new(),
            seen: HashSet::new(),
        };
        let mut open: Vec<ValueId> = wanted.iter().rev().copied().collect();
        while let Some(value) = open.pop() {
            if !compiler.seen.insert(value) {
                continue;
            }
            if given.contains(&value) {
                compiler.given.push(value);
            } else {
                open.extend(compiler.demand(value, &places)?);
            }
        }
        compiler.steps.sort_by_key(|(place, _)| *place);
        // The graph's inputs come first, in their order.
        let inputs: Vec<ValueId> = graph.inputs().collect();
        let place = |v: &ValueId| (inputs.iter().position(|i| i == v).unwrap_or(usize::MAX), *v);
        compiler.given.sort_by_key(place);
        compiler.parameters.sort_by_key(|p| p.value);
        Ok(compiler)
    }

    /// Makes a value available, and gives the values that it is computed from.
    fn demand(
        &mut self,
        value: ValueId,
        places: &HashMap<NodeId, usize>,
    ) -> Result<Vec<ValueId>, TuneError> {
        let Some(producer) = self.model.graph.value(value).map(|v| v.producer) else {
            return Ok(Vec::new());
        };
        if let Some(Node::Input(_)) = self.model.graph.node(producer) {
            self.given.push(value);
            return Ok(Vec::new());
        }
        if let Some(tensor) = constants::resolve(self.model.graph, value) {
            if let Some(elements) = tensor.to_f32() {
                let dims = tensor.dims();
                let made = Tensor::from_slice(&elements, dims, self.device)?;
                if self.movable.contains(&value) && self.model.graph.constant(value).is_some() {
                    self.parameters.push(Parameter {
                        value,
                        name: self.model.graph.name(value).to_owned(),
                        dtype: tensor.dtype(),
                        var: Var::from_tensor(&made)?,
                    });
                } else {
                    self.constants.insert(value, made);
                }
                return Ok(Vec::new());
            }
            self.given.push(value);
            return Ok(Vec::new());
        }
        let Some((id, op)) = self.model.graph.producer(value) else {
            self.given.push(value);
            return Ok(Vec::new());
        };
        let Some(Rule { operands, forward }) = rule(self.model, op) else {
            self.given.push(value);
            if !self.without_gradient.contains(&id) {
                self.without_gradient.push(id);
            }
            return Ok(Vec::new());
        };
        self.seen.extend(op.outputs.iter().flatten());
        let step = Step {
            node: self.model.graph.label(id).to_owned(),
            op_type: op.op_type.clone(),
            operands: operands.clone(),
            results: op.outputs.clone(),
            forward,
        };
        self.steps
            .push((places.get(&id).copied().unwrap_or(0), step));
        Ok(operands)
    }
}
