//! A part of a network that a runtime can run.

use sepconv_ir::{Graph, Tensor, ValueId};
use sepconv_onnx::Document;
use sepconv_targets::{InputSpec, Session, Target};

use super::Checkpoint;
use sepconv_model::Loaded;
use sepconv_model::{Error, Samples};

/// A session that computes some values of a network from those of a [`Checkpoint`].
pub struct Segment {
    session: Option<Box<dyn Session>>,
    places: Vec<Place>,
    file: String,
}

enum Place {
    Given(usize),
    Output(usize),
}

/// The value of `document` that stands for one of the original's graph, by its name. Numbers differ where the document is
/// of a later opset, which has constants in place of attributes.
fn value_in(document: &Document, original: &Graph, value: ValueId) -> ValueId {
    let own = document.model.graph.find(original.name(value));
    own.unwrap_or(value)
}

/// A network that is run in parts.
#[derive(Clone, Copy)]
pub struct Network<'a> {
    /// The original network.
    pub original: &'a Loaded,
    /// The runtime.
    pub target: &'a dyn Target,
    /// The samples that it is run on.
    pub samples: &'a Samples,
}

impl Segment {
    /// For `wanted` in `document`, which is the original or a rewritten copy of it, from
    /// `checkpoint`; from the graph's inputs where the runtime can't run that part, but the
    /// whole. Comes with the checkpoint that it is run from.
    ///
    /// # Errors
    /// [`Error::Target`] where the runtime can't run it.
    pub fn from_checkpoint<'f>(
        network: Network<'_>,
        document: &Document,
        checkpoint: &'f Checkpoint,
        wanted: &[ValueId],
    ) -> Result<(Self, &'f Checkpoint), Error> {
        let from = |checkpoint: &'f Checkpoint| {
            let made = Self::new(network, document, checkpoint, wanted);
            made.map(|segment| (segment, checkpoint))
        };
        from(checkpoint).or_else(|_| from(Checkpoint::inputs()))
    }

    /// For `wanted` in `document` from `checkpoint`.
    ///
    /// # Errors
    /// [`Error::Target`] where the runtime can't run the part.
    pub fn new(
        network: Network<'_>,
        document: &Document,
        checkpoint: &Checkpoint,
        wanted: &[ValueId],
    ) -> Result<Self, Error> {
        let Network {
            original,
            target,
            samples,
        } = network;
        let graph = original.graph();
        let given: Vec<ValueId> = match checkpoint.values() {
            Some(values) => values.iter().map(|(v, _)| *v).collect(),
            None => graph.inputs().collect(),
        };
        let mut outputs: Vec<ValueId> = Vec::new();
        let mut places = Vec::new();
        for value in wanted {
            places.push(if let Some(i) = given.iter().position(|v| v == value) {
                Place::Given(i)
            } else {
                let known = outputs.iter().position(|v| v == value);
                Place::Output(known.unwrap_or_else(|| {
                    outputs.push(*value);
                    outputs.len() - 1
                }))
            });
        }
        let session = if outputs.is_empty() {
            None
        } else {
            let own = |value: &ValueId| value_in(document, graph, *value);
            let outputs: Vec<ValueId> = outputs.iter().map(own).collect();
            let loaded = match checkpoint.values() {
                Some(values) => {
                    let specs: Vec<InputSpec> = values
                        .iter()
                        .map(|(value, (dtype, dims))| InputSpec {
                            name: graph.name(*value).to_owned(),
                            dtype: *dtype,
                            dims: dims.clone(),
                        })
                        .collect();
                    let given = values.iter().map(|(value, ty)| (own(value), ty.clone()));
                    let given: Vec<_> = given.collect();
                    target.load(&document.segment(&given, &outputs), &specs)
                }
                None => target.load(&document.probe(&outputs), samples.specs()),
            };
            Some(loaded.map_err(|source| Error::Target {
                file: original.file(),
                source,
            })?)
        };
        Ok(Self {
            session,
            places,
            file: original.file(),
        })
    }

    /// The wanted values of one batch, from the checkpoint's.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn run(&self, given: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let outputs = match &self.session {
            Some(session) => session.run(given).map_err(|source| Error::Target {
                file: self.file.clone(),
                source,
            })?,
            None => Vec::new(),
        };
        let values = self.places.iter().map(|place| match place {
            Place::Given(i) => given.get(*i).cloned(),
            Place::Output(i) => outputs.get(*i).cloned(),
        });
        let values: Option<Vec<Tensor>> = values.collect();
        values.ok_or_else(|| Error::Interface {
            file: self.file.clone(),
            reason: "a value of the network is missing".into(),
        })
    }
}
