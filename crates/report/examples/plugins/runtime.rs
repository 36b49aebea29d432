//! A runtime: another one, with its runs counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sepconv::ir::Tensor;
use sepconv::onnx::Detached;
use sepconv::targets::{InputSpec, LoadOptions, Prepared, Session, Target, TargetError};

/// See the head of this file.
pub struct Counted {
    inner: &'static dyn Target,
    runs: Arc<AtomicUsize>,
}

impl Counted {
    /// Counts the runs on `inner`.
    pub fn new(inner: &'static dyn Target) -> Self {
        Self {
            inner,
            runs: Arc::default(),
        }
    }

    /// Runs so far.
    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }
}

impl Target for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn version(&self) -> String {
        self.inner.version()
    }

    fn available(&self) -> Result<(), TargetError> {
        self.inner.available()
    }

    fn load_with(
        &self,
        model: &Detached,
        inputs: &[InputSpec],
        options: LoadOptions,
    ) -> Result<Box<dyn Session>, TargetError> {
        Ok(Box::new(CountedSession {
            inner: self.inner.load_with(model, inputs, options)?,
            runs: Arc::clone(&self.runs),
        }))
    }
}

struct CountedSession {
    inner: Box<dyn Session>,
    runs: Arc<AtomicUsize>,
}

impl Session for CountedSession {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, TargetError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.inner.run(inputs)
    }

    fn prepare<'a>(&'a self, inputs: &[Tensor]) -> Result<Box<dyn Prepared + 'a>, TargetError> {
        self.inner.prepare(inputs)
    }
}
