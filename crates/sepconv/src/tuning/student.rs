//! A network that learns, with its samples and their targets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sepconv_calibrate::gradients::Feed;
use sepconv_ir::Tensor;
use sepconv_targets::Session;
use sepconv_tune::{Draw, Epoch, Example, Examples, Values};

use super::augment::Augment;
use sepconv_model::Error;
use sepconv_model::Samples;
use sepconv_model::{Progress, Stage};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Examples of a network that is to do as the original does.
pub(super) struct Student<'a> {
    pub samples: &'a Samples,
    pub file: String,
    /// The original: gives the targets.
    pub teacher: Box<dyn Session>,
    /// The rewritten model as it was: gives the value that the network is handed, where that is not a
    /// graph input.
    pub prefix: Option<Box<dyn Session>>,
    /// The origins of the values that the network is handed.
    pub feeds: Vec<Feed>,
    pub augment: Augment,
    pub progress: &'a dyn Progress,
    /// Epochs at most.
    pub epochs: usize,
    pub training: Mutex<Training<'a>>,
}

/// Progress of the training.
#[derive(Default)]
pub(super) struct Training<'a> {
    pub name: String,
    /// All epochs are one stage.
    pub stage: Option<Stage<'a>>,
    /// Epochs that are done.
    pub epochs: usize,
}

impl<'a> Student<'a> {
    fn training(&self) -> MutexGuard<'_, Training<'a>> {
        let training = self.training.lock();
        training.unwrap_or_else(PoisonError::into_inner)
    }

    /// Endpoints the stage of the training, where it has begun.
    pub fn trained(&self) {
        self.training().stage = None;
    }

    fn make(&self, index: usize, draw: Option<Draw>) -> Result<Example, Error> {
        let inputs = self
            .augment
            .apply(self.samples.inputs(index)?, self.samples.layouts(), draw);
        let run = |session: &dyn Session| {
            let outputs = session.run(&inputs);
            outputs.map_err(|source| Error::Target {
                file: self.file.clone(),
                source,
            })
        };
        let targets = run(self.teacher.as_ref())?;
        let computed = match &self.prefix {
            Some(session) => run(session.as_ref())?,
            None => Vec::new(),
        };
        let given = self.feeds.iter().filter_map(|feed| match feed {
            Feed::Input(i) => inputs.get(*i),
            Feed::Computed(i) => computed.get(*i),
        });
        let numbers = |t: &Tensor| self.numbers(t);
        Ok(Example {
            given: given.map(numbers).collect::<Result<_, _>>()?,
            targets: targets.iter().map(numbers).collect::<Result<_, _>>()?,
        })
    }

    fn numbers(&self, tensor: &Tensor) -> Result<Values, Error> {
        let elements = match tensor.to_f32() {
            Some(values) => values.into_owned(),
            None => {
                let integers = tensor.to_i64().ok_or_else(|| Error::Interface {
                    file: self.file.clone(),
                    reason: format!("a value of type {} can't be trained with", tensor.dtype()),
                })?;
                integers.into_iter().map(|i| i as f32).collect()
            }
        };
        Ok(Values {
            dims: tensor.dims().to_vec(),
            elements,
        })
    }
}

impl Examples for Student<'_> {
    fn len(&self) -> usize {
        self.samples.batches()
    }

    fn example(&self, index: usize, draw: Option<Draw>) -> Result<Example, Failure> {
        Ok(self.make(index, draw)?)
    }

    fn on_epoch(&self, _: &Epoch) -> Result<(), Failure> {
        // The start is told of first.
        let mut training = self.training();
        training.epochs += usize::from(training.stage.is_some());
        Ok(())
    }

    fn on_batch(&self, done: usize, total: usize) -> Result<(), Failure> {
        let Training {
            name,
            stage,
            epochs,
        } = &mut *self.training();
        let begin = || Stage::begin(self.progress, name, total * self.epochs);
        let stage = stage.get_or_insert_with(begin);
        Ok(stage.step(*epochs * total + done)?)
    }
}
