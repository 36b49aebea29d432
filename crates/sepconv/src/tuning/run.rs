//! A network, its teacher and its samples.

use std::sync::Mutex;

use sepconv_ir::{Tensor, ValueId};
use sepconv_passes::PassError;
use sepconv_targets::{Session, Target};
use sepconv_tune::{
    Epoch, Examples, Goal, Loss, Network, TrainSettings, Trained, TuneError, TypedGraph, Values,
    held_out, train,
};

use super::blocks::{Block, biases};
use super::goals::{SCALED, of_block, of_output};
use sepconv_calibrate::gradients::feeds;

use super::student::{Student, Training};
use super::{Course, TuneSettings, Tuning};
use sepconv_model::Error;
use sepconv_model::Loaded;
use sepconv_model::Progress;
use sepconv_model::Samples;

/// Largest difference between the runtime's outputs and the network's, relative to their size:
/// beyond it the network is not the model.
const TOLERANCE: f64 = 1e-2;

/// Context that all networks share.
pub(super) struct Work<'a> {
    pub original: &'a Loaded,
    pub target: &'a dyn Target,
    pub samples: &'a Samples,
    pub settings: &'a TuneSettings,
    pub progress: &'a dyn Progress,
}

/// A network with its goals and samples.
pub(super) struct Part<'a> {
    file: String,
    network: Network,
    goals: Vec<Goal>,
    student: Student<'a>,
    settings: &'a TuneSettings,
}

impl<'a> Work<'a> {
    /// The whole model, by its outputs and the values behind its blocks.
    pub fn whole(&self, model: &Loaded, blocks: &[Block]) -> Result<Part<'a>, Error> {
        let (old, new) = (self.original.graph(), model.graph());
        let float = |v: &ValueId| {
            let dtype = self.original.shapes.get(*v).and_then(|s| s.dtype);
            dtype.is_none_or(|t| t.is_float())
        };
        let mut pairs: Vec<(ValueId, ValueId, bool)> = Vec::new();
        for output in old.outputs().filter(float) {
            let own = new.outputs().find(|v| new.name(*v) == old.name(output));
            let own = own.ok_or_else(|| Error::Interface {
                file: model.file(),
                reason: format!("it has no output '{}'", old.name(output)),
            })?;
            pairs.push((own, output, true));
        }
        if pairs.is_empty() {
            return Err(Error::Interface {
                file: model.file(),
                reason: "it has no output of real numbers".into(),
            });
        }
        if self.settings.train.blocks > 0.0 {
            let inner = blocks.iter().map(|b| (b.output, b.target, false));
            let inner: Vec<_> = inner.filter(|p| pairs.iter().all(|q| q.0 != p.0)).collect();
            pairs.extend(inner);
        }
        let mut movable: Vec<ValueId> = blocks.iter().flat_map(|b| b.movable.clone()).collect();
        movable.extend(biases(new));
        movable.sort_unstable();
        movable.dedup();
        self.part(model, &[], &pairs, &movable, "tuning".into())
    }

    /// One block, by the value behind it.
    pub fn block(&self, model: &Loaded, block: &Block) -> Result<Part<'a>, Error> {
        let pairs = [(block.output, block.target, false)];
        let name = model.graph().name(block.output);
        let stage = format!("tuning {name}");
        self.part(model, &[block.input], &pairs, &block.movable, stage)
    }

    fn part(
        &self,
        model: &Loaded,
        given: &[ValueId],
        pairs: &[(ValueId, ValueId, bool)],
        movable: &[ValueId],
        stage: String,
    ) -> Result<Part<'a>, Error> {
        let wanted: Vec<ValueId> = pairs.iter().map(|p| p.0).collect();
        let targets: Vec<ValueId> = pairs.iter().map(|p| p.1).collect();
        let opset = model.document.model.opset();
        let compiled = TypedGraph {
            graph: model.graph(),
            shapes: &model.shapes,
            opset,
        };
        let compute = self.settings.train.compute;
        let network = Network::new(compute, compiled, given, &wanted, movable);
        let network = network.map_err(|e| failed(model, e))?;
        let teacher = self.session(self.original, &targets)?;
        let (feeds, computed) = feeds(model, network.given());
        let prefix = match computed.as_slice() {
            [] => None,
            computed => Some(self.session(model, computed)?),
        };
        let student = Student {
            samples: self.samples,
            file: model.file(),
            teacher,
            prefix,
            feeds,
            augment: self.settings.augment,
            progress: self.progress,
            epochs: self.settings.train.epochs,
            training: Mutex::new(Training {
                name: stage,
                ..Training::default()
            }),
        };
        let goals = self.goals(&student, pairs).map_err(|e| failed(model, e))?;
        let part = Part {
            file: model.file(),
            network,
            goals,
            student,
            settings: self.settings,
        };
        part.check(self, model, &wanted)?;
        Ok(part)
    }

    /// The goals of pairs of a value and its target, with true for an output.
    fn goals(
        &self,
        student: &Student<'_>,
        pairs: &[(ValueId, ValueId, bool)],
    ) -> Result<Vec<Goal>, TuneError> {
        let graph = self.original.graph();
        let scaled = match pairs.iter().any(|(_, _, output)| *output) {
            true => student.len().min(SCALED),
            false => 0,
        };
        // Values of outputs alone are held.
        let mut seen: Vec<Vec<Values>> = vec![Vec::new(); pairs.len()];
        for index in 0..scaled {
            let example = student.example(index, None).map_err(TuneError::Caller)?;
            let targets = example.targets.into_iter().zip(pairs).zip(&mut seen);
            for ((target, (_, _, output)), seen) in targets {
                seen.extend(output.then_some(target));
            }
        }
        let rows = self.samples.rows();
        let pairs = pairs.iter().zip(&seen);
        let goals = pairs.map(|((_, target, output), seen)| match output {
            true => of_output(graph, *target, seen, rows, self.settings.loss),
            false => of_block(graph, *target),
        });
        Ok(goals.collect())
    }

    fn session(&self, model: &Loaded, values: &[ValueId]) -> Result<Box<dyn Session>, Error> {
        let loaded = self
            .target
            .load(&model.document.probe(values), self.samples.specs());
        loaded.map_err(|source| Error::Target {
            file: model.file(),
            source,
        })
    }
}

impl Part<'_> {
    /// Checks that the network computes the same outputs as the runtime.
    fn check(&self, work: &Work<'_>, model: &Loaded, wanted: &[ValueId]) -> Result<(), Error> {
        // As the example is that the network is handed.
        let (first, layouts) = (work.samples.inputs(0)?, work.samples.layouts());
        let inputs = self.settings.augment.apply(first, layouts, None);
        let expected = work.session(model, wanted)?.run(&inputs);
        let expected = expected.map_err(|source| Error::Target {
            file: model.file(),
            source,
        })?;
        let first = self
            .student
            .example(0, None)
            .map_err(|e| failed(model, TuneError::Caller(e)))?;
        let found = self
            .network
            .values(&first.given)
            .map_err(|e| failed(model, e))?;
        for ((found, expected), goal) in found.iter().zip(&expected).zip(&self.goals) {
            let expected = expected.to_f32().unwrap_or_default();
            let pairs = || found.elements.iter().zip(expected.iter());
            let size = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
            let off = pairs().fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            let close = f64::from(off) <= TOLERANCE * f64::from(size.max(1e-6));
            if found.elements.len() != expected.len() || !close {
                return Err(Error::Interface {
                    file: self.file.clone(),
                    reason: format!(
                        "value '{}' of the differentiable graph is {off} away from that of {}: \
                         it is not tuned",
                        goal.name,
                        work.target.name()
                    ),
                });
            }
        }
        Ok(())
    }

    /// The settings of the training. Whole inputs can't be joined: their first axis is not that of a batch.
    fn train_settings(&self) -> TrainSettings {
        let asked = self.settings.train.clone();
        match self.student.samples.are_whole() {
            true => TrainSettings {
                batch: Some(1),
                ..asked
            },
            false => asked,
        }
    }

    /// Figures on the held-out samples as the weights are.
    pub fn held_out(&self) -> Result<Epoch, Error> {
        let settings = self.train_settings();
        let outputs = held_out(&self.network, &self.goals, &self.student, &settings);
        outputs.map_err(|e| self.failed(e))
    }

    pub fn train(&self, course: Course) -> Result<Trained, Error> {
        let settings = TrainSettings {
            state: course.state,
            key: course.key,
            until: course.until,
            ..self.train_settings()
        };
        let trained = train(&self.network, &self.goals, &self.student, &settings);
        self.student.trained();
        trained.map_err(|e| self.failed(e))
    }

    /// The model with the weights as they are now.
    pub fn written(&self, model: &Loaded) -> Result<Loaded, Error> {
        let mut document = model.document.clone();
        let graph = &mut document.model.graph;
        for parameter in self.network.parameters() {
            let elements = parameter.elements().map_err(|e| self.failed(e))?;
            let tensor = Tensor::from_floats(parameter.dtype, parameter.dims().to_vec(), elements);
            let set = tensor.map(|t| graph.set_constant(parameter.value, t));
            if let Some(Err(source)) = set {
                return Err(Error::Pass {
                    file: model.file(),
                    source: PassError::of("tune")(source),
                });
            }
        }
        model.with(document)
    }

    pub fn describe(&self, blocks: &[Block], before: Epoch) -> Tuning {
        let settings = self.settings;
        let n = self.student.len();
        let outputs = self.goals.iter().filter(|g| g.output);
        let losses: Vec<(String, Loss)> = outputs.map(|g| (g.name.clone(), g.loss)).collect();
        let parameters = self.network.parameters().iter();
        Tuning {
            mode: settings.mode,
            losses,
            temperature: settings.train.temperature,
            samples: n,
            held_out: n.div_ceil(settings.train.held_out_every.max(2)).min(n / 2),
            blocks: blocks.len(),
            parameters: parameters.map(|p| p.dims().iter().product::<usize>()).sum(),
            without_gradient: self.network.without_gradient().to_vec(),
            frozen: self.network.frozen().to_vec(),
            before,
            after: before,
            epochs: Vec::new(),
            left_out: 0,
        }
    }

    fn failed(&self, error: TuneError) -> Error {
        unwrapped(self.file.clone(), error)
    }
}

fn failed(model: &Loaded, error: TuneError) -> Error {
    unwrapped(model.file(), error)
}

/// An error of ours that went through the training comes out as it was.
fn unwrapped(file: String, error: TuneError) -> Error {
    match error {
        TuneError::Caller(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::Interface {
                file,
                reason: other.to_string(),
            },
        },
        source => Error::Tune {
            file,
            source: Box::new(source),
        },
    }
}
