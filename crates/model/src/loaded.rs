//! A model with its shapes and cost.

use std::collections::BTreeMap;
use std::path::Path;

use sepconv_analysis::{Assumptions, ModelCost, Pins, Shapes, cost};
use sepconv_ir::{Graph, ValueId};
use sepconv_onnx::{Detached, Document};
use sepconv_targets::InputSpec;

use crate::error::Error;
use crate::unshaped::Unshaped;

/// A model, its shapes and its cost.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The model and its file.
    pub document: Document,
    /// Shapes of all values, as far as they could be inferred.
    pub shapes: Shapes,
    /// MACs of the main graph, and parameters of all of the model.
    pub cost: ModelCost,
    pins: Pins,
    /// Extents of free input dimensions, where a data set says them.
    assumptions: Assumptions,
    /// The document before calls of local functions were written out, where they were.
    read: Option<Box<Document>>,
}

impl Loaded {
    /// Reads a model file. `pins` fix free input dimensions; others are assumed
    /// ([`Shapes::assumed`] tells which).
    ///
    /// # Errors
    /// [`Error::Onnx`], or [`Error::Shapes`] where a pin does not fit.
    pub fn open(path: &Path, pins: &Pins) -> Result<Self, Error> {
        Self::new(Document::open(path)?, pins)
    }

    /// As [`Loaded::open`], for a document at hand.
    ///
    /// # Errors
    /// [`Error::Shapes`].
    pub fn new(document: Document, pins: &Pins) -> Result<Self, Error> {
        Self::assuming(document, pins, Assumptions::default())
    }

    fn assuming(document: Document, pins: &Pins, assumptions: Assumptions) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Shapes {
            file: file_name(&document),
            reason,
        };
        let shapes = infer(&document.model.graph, pins, &assumptions).map_err(wrong)?;
        let mut cost = ModelCost::of(&document.model, &shapes);
        cost.params = cost.params.saturating_add(parameters(&document));
        Ok(Self {
            document,
            shapes,
            cost,
            pins: pins.clone(),
            assumptions,
            read: None,
        })
    }

    /// The same settings for a changed document.
    ///
    /// # Errors
    /// As [`Loaded::new`].
    pub fn with(&self, document: Document) -> Result<Self, Error> {
        Self::assuming(document, &self.pins, self.assumptions.clone())
    }

    /// With the extents of inputs, by name, where a data set says them, in place of those that are
    /// assumed.
    ///
    /// # Errors
    /// As [`Loaded::new`].
    pub(crate) fn with_extents(
        &self,
        known: BTreeMap<String, Vec<Option<u64>>>,
    ) -> Result<Self, Error> {
        let assumptions = Assumptions {
            known: known.into_iter().collect(),
            ..Assumptions::default()
        };
        let shaped = Self::assuming(self.document.clone(), &self.pins, assumptions)?;
        Ok(Self {
            read: self.read.clone(),
            ..shaped
        })
    }

    /// The inputs whose extents are not known, of a model in which those of so many convolutions are
    /// not.
    pub fn unshaped(&self, convolutions: usize) -> Unshaped {
        let inputs = self.shapes.inputs().iter();
        let unknown = inputs.filter(|i| i.shape.as_ref().is_none_or(|s| s.extents().is_none()));
        Unshaped {
            convolutions,
            inputs: match convolutions {
                0 => Vec::new(),
                _ => unknown.map(|i| i.name.clone()).collect(),
            },
        }
    }

    /// Free dimensions whose extents a data set says, such as `x[2] (height) = 320`.
    pub fn shaped(&self) -> Vec<String> {
        let all = self.shapes.assumed().iter().filter(|a| a.known);
        all.map(ToString::to_string).collect()
    }

    /// Free dimensions whose extents are assumed, such as `x[0] (N) = 1`.
    pub fn assumed(&self) -> Vec<String> {
        let all = self.shapes.assumed().iter().filter(|a| !a.known);
        all.map(ToString::to_string).collect()
    }

    /// With `document` in which calls of local functions of this one are written out.
    ///
    /// # Errors
    /// As [`Loaded::new`].
    pub fn written_out(&self, document: Document) -> Result<Self, Error> {
        let read = self.as_read().clone();
        Ok(Self {
            read: Some(Box::new(read)),
            ..self.with(document)?
        })
    }

    /// True where calls of local functions were written out.
    pub fn is_written_out(&self) -> bool {
        self.read.is_some()
    }

    /// The document as it was read.
    pub fn as_read(&self) -> &Document {
        self.read.as_deref().unwrap_or(&self.document)
    }

    /// The model for runtimes: with all calls of local functions written out, which some of them
    /// can't make.
    ///
    /// # Errors
    /// [`Error::Onnx`] where functions can't be written out.
    pub fn for_runtimes(&self) -> Result<Detached, Error> {
        let plain = self.document.inlined(&|_| true)?;
        Ok(plain.as_ref().unwrap_or(&self.document).detach())
    }

    /// Name of the file in errors.
    pub fn file(&self) -> String {
        file_name(&self.document)
    }

    /// The main graph.
    pub fn graph(&self) -> &Graph {
        &self.document.model.graph
    }

    /// The graph inputs with concrete shapes, in order. `None` where one is unknown.
    pub fn input_specs(&self) -> Option<Vec<InputSpec>> {
        let specs = self.shapes.inputs().iter().map(|input| {
            let shape = input.shape.as_ref()?;
            let extents = shape.extents()?;
            Some(InputSpec {
                name: input.name.clone(),
                dtype: shape.dtype?,
                dims: extents.iter().map(|d| *d as usize).collect(),
            })
        });
        specs.collect()
    }

    /// True where the first dimension of an input is free in the file and not pinned.
    pub fn is_batch_free(&self, input: ValueId) -> bool {
        let graph = self.graph();
        let pinned = self.pins.get(graph.name(input)).is_some();
        let ty = graph.value(input).and_then(|v| v.ty.as_ref());
        let first = ty.and_then(|t| t.dims.as_ref()).and_then(|d| d.first());
        !pinned && first.is_some_and(|d| d.known().is_none_or(|n| n == 0))
    }

    /// Names of the graph outputs, in order.
    pub fn output_names(&self) -> Vec<String> {
        let graph = self.graph();
        graph.outputs().map(|v| graph.name(v).to_owned()).collect()
    }

    /// Bytes of single-precision values of a batch, as far as their extents are known.
    pub fn bytes_of(&self, values: impl IntoIterator<Item = ValueId>) -> usize {
        let extents = values
            .into_iter()
            .filter_map(|value| self.shapes.extents(value));
        let bytes = extents.map(|dims| dims.iter().map(|n| *n as usize).product::<usize>() * 4);
        bytes.sum()
    }
}

/// The inputs whose extents are known, such as `images = 1x3x400x400`.
fn extents_of(shapes: &Shapes) -> String {
    let inputs = shapes.inputs().iter().filter_map(|input| {
        let extents = input.shape.as_ref()?.extents()?;
        let extents: Vec<String> = extents.iter().map(ToString::to_string).collect();
        Some(format!("{} = {}", input.name, extents.join("x")))
    });
    inputs.collect::<Vec<_>>().join(", ")
}

fn infer(graph: &Graph, pins: &Pins, assumptions: &Assumptions) -> Result<Shapes, String> {
    let shapes = Shapes::infer(graph, pins, assumptions).map_err(|e| e.to_string())?;
    let given = pins.iter().next().is_some() || !assumptions.known.is_empty();
    match shapes.contradictions().first() {
        Some(first) if given => {
            let message = &first.message;
            Err(format!(
                "the input shapes don't fit ({}): {message}",
                extents_of(&shapes)
            ))
        }
        _ => Ok(shapes),
    }
}

fn file_name(document: &Document) -> String {
    document
        .path()
        .map_or_else(|| "<bytes>".into(), |p| p.display().to_string())
}

/// Elements of the floating-point constants of all bodies.
fn parameters(document: &Document) -> u64 {
    let bodies = document.bodies().iter();
    let counts = bodies.map(|body| {
        let captured = body.captures().iter();
        let captured = captured.filter_map(|v| body.graph.constant(*v));
        let floats = captured.filter(|t| t.dtype().is_float());
        let elsewhere: usize = floats.map(|t| t.len()).sum();
        cost::parameters(&body.graph).saturating_sub(elsewhere as u64)
    });
    counts.fold(0, u64::saturating_add)
}
