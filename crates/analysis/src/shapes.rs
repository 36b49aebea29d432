//! Forward shape inference.

use sepconv_ir::{DType, Dim, Graph, ValueId};

use crate::assume::{AssumedDim, Assumptions, FreeInputs};
use crate::contradiction::Contradiction;
use crate::engine::{Engine, Pass};
use crate::fact::Fact;
use crate::pins::{PinError, Pins};

/// Element type and dimensions of a value whose rank is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Element type, where it is known.
    pub dtype: Option<DType>,
    /// Dimensions, outermost first. Those that inference could not fix carry the symbol that
    /// the file declares for them, if any.
    pub dims: Vec<Dim>,
}

impl Shape {
    /// All extents, where all are known.
    pub fn extents(&self) -> Option<Vec<u64>> {
        self.dims.iter().map(Dim::known).collect()
    }
}

/// Such as `f32[1,3,224,224]`.
impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.dtype {
            Some(dtype) => write!(f, "{dtype}")?,
            None => f.write_str("?")?,
        }
        let dims: Vec<String> = self.dims.iter().map(Dim::to_string).collect();
        write!(f, "[{}]", dims.join(","))
    }
}

/// A graph input with the dimensions that inference worked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputShape {
    /// The value.
    pub value: ValueId,
    /// Its name.
    pub name: String,
    /// Its shape, pins and assumptions filled in; `None` where the rank is unknown.
    pub shape: Option<Shape>,
}

/// The shapes of a graph's values.
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    shapes: Vec<Option<Shape>>,
    inputs: Vec<InputShape>,
    assumed: Vec<AssumedDim>,
    contradictions: Vec<Contradiction>,
}

impl Shapes {
    /// Infers the shapes of all values of a graph.
    ///
    /// Inputs take their pinned shape, else their declared one with `assumptions` for free
    /// dimensions. Initializers that callers may override count with their defaults. Operators
    /// without a rule, and outputs that a rule leaves unknown, take the type that the file
    /// declares; computed extents win over declared ones. Small tensors are propagated, so
    /// that computed `Reshape` targets resolve. A malformed or contradictory node leaves its
    /// outputs to the declared types and is listed in [`Shapes::contradictions`].
    ///
    /// # Errors
    /// [`PinError`] where a pin names no input or contradicts a declared shape.
    pub fn infer(graph: &Graph, pins: &Pins, assumptions: &Assumptions) -> Result<Self, PinError> {
        let free = FreeInputs::new(graph, pins)?;
        let engine = Engine::new(graph);
        let mut best: Option<(Vec<Option<u64>>, Pass)> = None;
        for extents in free.trials(assumptions) {
            let pass = engine.run(free.facts(&extents), &free.symbols(&extents));
            let faults = pass.contradictions.len();
            if best
                .as_ref()
                .is_none_or(|(_, b)| faults < b.contradictions.len())
            {
                best = Some((extents, pass));
            }
            if faults == 0 {
                break;
            }
        }
        let Some((extents, pass)) = best else {
            return Ok(Self::default());
        };
        Ok(Self::from_pass(
            graph,
            pass,
            free.assumed(&extents, assumptions),
        ))
    }

    fn from_pass(graph: &Graph, pass: Pass, assumed: Vec<AssumedDim>) -> Self {
        let mut shapes: Vec<Option<Shape>> = Vec::new();
        shapes.resize_with(graph.value_capacity(), || None);
        for (id, value) in graph.values() {
            if let (Some(slot), Some(fact)) =
                (shapes.get_mut(id.index()), pass.facts.get(id.index()))
            {
                let declared = value.ty.as_ref().and_then(|t| t.dims.as_deref());
                *slot = shape(fact, declared);
            }
        }
        let inputs = graph
            .inputs()
            .map(|value| InputShape {
                value,
                name: graph.name(value).to_owned(),
                shape: shapes.get(value.index()).cloned().flatten(),
            })
            .collect();
        Self {
            shapes,
            inputs,
            assumed,
            contradictions: pass.contradictions,
        }
    }

    /// The shape of a value; `None` where its rank is unknown.
    pub fn get(&self, value: ValueId) -> Option<&Shape> {
        self.shapes.get(value.index())?.as_ref()
    }

    /// All extents of a value; `None` where one is unknown.
    pub fn extents(&self, value: ValueId) -> Option<Vec<u64>> {
        self.get(value)?.extents()
    }

    /// The graph inputs with pinned and assumed extents filled in, in file order: the shapes
    /// to run the model with.
    pub fn inputs(&self) -> &[InputShape] {
        &self.inputs
    }

    /// The dimensions of inputs that were assumed, for reports.
    pub fn assumed(&self) -> &[AssumedDim] {
        &self.assumed
    }

    /// Nodes that do not fit the shapes, in topological order. Empty for a sound model with
    /// fitting extents.
    pub fn contradictions(&self) -> &[Contradiction] {
        &self.contradictions
    }
}

fn shape(fact: &Fact, declared: Option<&[Dim]>) -> Option<Shape> {
    let dims = fact.dims.as_ref()?;
    let declared = declared.filter(|d| d.len() == dims.len());
    let dim = |(axis, extent): (usize, &Option<u64>)| match (extent, declared) {
        (Some(n), _) => Dim::Known(*n),
        (None, Some(declared)) => match &declared[axis] {
            Dim::Symbol(s) => Dim::Symbol(s.clone()),
            _ => Dim::Unknown,
        },
        (None, None) => Dim::Unknown,
    };
    Some(Shape {
        dtype: fact.dtype,
        dims: dims.iter().enumerate().map(dim).collect(),
    })
}

#[cfg(test)]
mod tests;
