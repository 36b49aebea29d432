//! The contract of a pass, and the driver that runs passes one after the other.

use sepconv_analysis::{Assumptions, Pins, Shapes};
use sepconv_ir::{Graph, IrError};

use crate::error::PassError;
use crate::select::Selection;

/// A rewrite of a graph.
///
/// The journey of a model is a slice of passes, see [`crate::FOLDS`] and [`crate::pipeline`]; a
/// pass of one's own is run beside those of this crate by [`run`].
///
/// ```
/// use sepconv_ir::{Graph, Operator, Patch};
/// use sepconv_passes::{Context, Outcome, Pass, PassError, run};
///
/// /// `y = Relu(Relu(x))` becomes `y = Relu(x)`. Terminates: every patch removes a node.
/// struct OneRelu;
///
/// impl Pass for OneRelu {
///     fn name(&self) -> &'static str {
///         "one-relu"
///     }
///
///     fn run(&self, graph: &mut Graph, _: &Context) -> Result<Outcome, PassError> {
///         let mut outcome = Outcome::default();
///         let relus = graph.operators().filter(|(_, op)| op.is("Relu"));
///         for node in relus.map(|(node, _)| node).collect::<Vec<_>>() {
///             let label = graph.label(node).to_owned();
///             let before = graph.operator(node).and_then(|op| op.input(0));
///             let Some((first, relu)) = before.and_then(|x| graph.producer(x)) else {
///                 continue;
///             };
///             let (Some(input), Some(output)) =
///                 (relu.input(0), graph.operator(node).and_then(|op| op.output(0)))
///             else {
///                 continue;
///             };
///             if !relu.is("Relu") || graph.readers(before.unwrap_or(input)).len() > 1 {
///                 outcome.keep(label, "what it reads is no Relu of its own");
///                 continue;
///             }
///             let mut patch = Patch::replace(self.name(), node);
///             patch.remove(first);
///             patch.operator_into(Operator::new("Relu", &label), vec![Some(input.into())], output);
///             graph.apply(patch).map_err(PassError::of(self.name()))?;
///             outcome.change(label, "merged");
///         }
///         Ok(outcome)
///     }
/// }
///
/// let mut b = sepconv_ir::Builder::new();
/// let x = b.input("x", None)?;
/// let y = b.operator(Operator::new("Relu", "r1"), &[Some(x)], &["y"])?[0];
/// let z = b.operator(Operator::new("Relu", "r2"), &[Some(y)], &["z"])?[0];
/// b.output(z)?;
/// let mut graph = b.finish()?;
/// let outcomes = run(&[&OneRelu], &mut graph, &Context::default())?;
/// assert_eq!(graph.to_string(), "input x\nz = Relu(x) # r2\noutput z\n");
/// assert_eq!(outcomes[0].changed[0].node, "r2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Pass: Send + Sync {
    /// Stable name, such as `fold-padding`: errors and reports call the pass by it.
    fn name(&self) -> &'static str;

    /// Rewrites `graph` in place, and tells the outcome of every place that it looked at. A
    /// second run finds nothing left to do that the first run could have done.
    ///
    /// # Errors
    /// [`PassError`]. The graph may then be half rewritten and must be dropped.
    fn run(&self, graph: &mut Graph, context: &Context) -> Result<Outcome, PassError>;
}

/// The knowledge of passes beside the graph.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The layers that are meant: folds and rewrites change no others.
    pub selection: Selection,
    /// Input dimensions that are fixed.
    pub pins: Pins,
    /// Extents for those that are free.
    pub assumptions: Assumptions,
}

impl Context {
    /// The shapes of all values of `graph` as it is now: shapes inferred before a rewrite may be
    /// those of values that are gone.
    ///
    /// # Errors
    /// [`PassError::Shapes`] where a pin does not fit.
    pub fn shapes(&self, graph: &Graph) -> Result<Shapes, PassError> {
        Ok(Shapes::infer(graph, &self.pins, &self.assumptions)?)
    }
}

impl From<&Selection> for Context {
    fn from(selection: &Selection) -> Self {
        Self {
            selection: selection.clone(),
            ..Self::default()
        }
    }
}

/// The changes that a pass made, and the places that it left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Name of the pass, see [`Pass::name`]; [`run`] sets it.
    pub pass: &'static str,
    /// The nodes that it changed, in the order of the changes.
    pub changed: Vec<Note>,
    /// The nodes that it looked at and left, with the reason.
    pub kept: Vec<Note>,
}

/// The outcome of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Name of the node, see [`Graph::label`].
    pub node: String,
    /// The change, or the reason why there is none; a short phrase.
    pub what: String,
}

impl Outcome {
    /// Notes a change.
    pub fn change(&mut self, node: impl Into<String>, what: impl Into<String>) {
        self.changed.push(Note::new(node, what));
    }

    /// Notes why a node stays as it is.
    pub fn keep(&mut self, node: impl Into<String>, why: impl Into<String>) {
        self.kept.push(Note::new(node, why));
    }
}

impl Note {
    fn new(node: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            what: what.into(),
        }
    }
}

/// Runs passes in order and returns the outcome of each. The graph is verified before the first and
/// after each, which is before the next: a pass that breaks it is named.
///
/// # Errors
/// Those of the passes; [`PassError::Given`] where the graph did not hold together before the
/// first, [`PassError::Graph`] where it does not after one.
pub fn run(
    passes: &[&dyn Pass],
    graph: &mut Graph,
    context: &Context,
) -> Result<Vec<Outcome>, PassError> {
    if let Some(first) = passes.first() {
        graph.verify().map_err(|source| PassError::Given {
            pass: first.name(),
            source,
        })?;
    }
    let mut outcomes = Vec::with_capacity(passes.len());
    for pass in passes {
        let name = pass.name();
        let outcome = pass.run(graph, context)?;
        graph.verify().map_err(PassError::of(name))?;
        outcomes.push(Outcome {
            pass: name,
            ..outcome
        });
    }
    Ok(outcomes)
}

impl PassError {
    /// Makes errors of editing the graph those of the pass called `pass`.
    pub fn of(pass: &'static str) -> impl Fn(IrError) -> Self {
        move |source| Self::Graph { pass, source }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::conv;

    /// Fails as a pass does whose patch fits nothing.
    struct Careless;

    impl Pass for Careless {
        fn name(&self) -> &'static str {
            "careless"
        }

        fn run(&self, graph: &mut Graph, _: &Context) -> Result<Outcome, PassError> {
            let (node, _) = graph.operators().next().unwrap();
            let patch = sepconv_ir::Patch::replace("careless", node);
            graph.apply(patch).map_err(PassError::of(self.name()))?;
            Ok(Outcome::default())
        }
    }

    #[test]
    fn a_pass_that_breaks_the_graph_is_named() {
        let mut graph = conv(4, 4, 1, 1);
        let error = run(&[&Careless], &mut graph, &Context::default()).unwrap_err();
        assert!(
            error.to_string().starts_with("pass 'careless': "),
            "{error}"
        );
        assert!(matches!(
            error,
            PassError::Graph {
                pass: "careless",
                ..
            }
        ));
    }

    #[test]
    fn pins_that_do_not_fit_are_refused() {
        let mut pins = Pins::default();
        pins.insert("x", vec![1, 2]).unwrap();
        let context = Context {
            pins,
            ..Context::default()
        };
        let error = context.shapes(&conv(4, 4, 1, 1)).unwrap_err();
        assert!(matches!(error, PassError::Shapes(_)), "{error}");
    }
}
