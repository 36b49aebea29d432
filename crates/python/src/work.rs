//! Long work beside the interpreter: it runs on a thread of its own without the GIL, and the
//! thread that called waits, passes progress on, and looks for signals.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{process, thread};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use sepconv::{Event, Progress, SpecError};

use crate::error::refused;
use crate::metric::Raised;

/// Longest wait of a signal. Python handles signals on the main thread alone, between two
/// instructions or where it is asked to.
const TICK: Duration = Duration::from_millis(50);

/// Why work failed: as the library says it, or as a plain sentence.
pub enum Failure {
    Library(sepconv::Error),
    Spec(SpecError),
    Argument(String),
}

impl<E: Into<sepconv::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Library(error.into())
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Library(error) => refused(error),
            Failure::Spec(error @ (SpecError::Unknown { .. } | SpecError::Type { .. })) => {
                PyTypeError::new_err(error.to_string())
            }
            Failure::Spec(error) => refused(error),
            Failure::Argument(text) => refused(text),
        }
    }
}

/// `stage`, steps done, steps in all.
type Step = (String, usize, usize);

/// Time that work has to end after it was cancelled, within a forward pass say; then it is left
/// behind, so that nobody waits for 2 s.
const GRACE: Duration = Duration::from_millis(1500);

/// The caller as the work sees it.
struct Listener {
    /// `None` where nobody wants to know; the work then only ends the channel.
    stage: Option<Mutex<(String, usize)>>,
    steps: Mutex<Sender<Step>>,
    cancel: Arc<AtomicBool>,
}

impl Progress for Listener {
    fn on(&self, event: Event<'_>) {
        let Some(current) = &self.stage else { return };
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match event {
            Event::Begin { stage, total } => {
                *current = (stage.to_owned(), total);
                0
            }
            Event::Step { done } => done,
            Event::End | Event::Foreseen(_) => return,
        };
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits is gone only after the work.
        let _ = steps.send((current.0.clone(), done, current.1));
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// The callbacks of the thread that waits.
pub struct Waiting {
    progress: Option<Py<PyAny>>,
    /// An exception of a callback that the work calls itself.
    pub raised: Raised,
}

impl Waiting {
    pub fn new(progress: Option<Py<PyAny>>) -> Self {
        Self {
            progress,
            raised: Raised::default(),
        }
    }
}

/// Refuses work in a fork of a process that has worked before: the threads of its pools are not in the fork, and
/// whoever waits for them waits for ever.
fn refuse_fork() -> PyResult<()> {
    // 0 is no process of a program.
    static FIRST: AtomicU32 = AtomicU32::new(0);
    let own = process::id();
    match FIRST.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed) {
        Err(first) if first != own => Err(refused(
            "this process was forked from one that has called sepconv already, and its threads are not in the fork: \
             use the start method 'spawn' of multiprocessing, or fork before the first call",
        )),
        _ => Ok(()),
    }
}

/// Runs `work` with the GIL released. `progress(stage, done, total)` is called on this thread.
/// An exception that it raises, or that another callback or a signal handler raises, ends the work at its next
/// step, and is then raised; after [`GRACE`] also before that.
pub fn run<T: Send + 'static>(
    py: Python<'_>,
    waiting: Waiting,
    work: impl FnOnce(&dyn Progress) -> Result<T, Failure> + Send + 'static,
) -> PyResult<T> {
    refuse_fork()?;
    let (sender, mut steps) = channel();
    let cancel = Arc::new(AtomicBool::new(false));
    let listener = Listener {
        stage: waiting.progress.as_ref().map(|_| Mutex::default()),
        steps: Mutex::new(sender),
        cancel: Arc::clone(&cancel),
    };
    let worker = thread::Builder::new()
        .name("sepconv".into())
        .spawn(move || work(&listener))
        .map_err(|e| PyRuntimeError::new_err(format!("no thread could be started: {e}")))?;
    let raised = match attend(py, &mut steps, &waiting, &cancel) {
        Attended::Ended(raised) => raised,
        Attended::Late(raised) => {
            clean_at_exit(py)?;
            return Err(raised);
        }
    };
    let result = py.detach(|| worker.join());
    let result = result.unwrap_or_else(|panic| resume_unwind(panic));
    match raised.or_else(|| waiting.raised.take()) {
        // The last request counts, even where the work was done by then.
        Some(raised) => Err(raised),
        None => Ok(result?),
    }
}

/// Has the temporary files of work that was left behind removed where the interpreter exits before
/// it ends.
fn clean_at_exit(py: Python<'_>) -> PyResult<()> {
    static KNOWN: AtomicBool = AtomicBool::new(false);
    if !KNOWN.swap(true, Ordering::Relaxed) {
        let remove = wrap_pyfunction!(remove_temporary, py)?;
        py.import("atexit")?.call_method1("register", (remove,))?;
    }
    Ok(())
}

#[pyfunction]
fn remove_temporary() {
    sepconv::onnx::remove_temporary();
}

/// End of work that was waited for.
enum Attended {
    /// It has ended, because of the exception, if there is one.
    Ended(Option<PyErr>),
    /// It should have ended because of the exception, and goes on.
    Late(PyErr),
}

/// Waits until the work ends, or should have.
fn attend(
    py: Python<'_>,
    steps: &mut Receiver<Step>,
    waiting: &Waiting,
    cancel: &AtomicBool,
) -> Attended {
    let mut raised: Option<(PyErr, Instant)> = None;
    loop {
        if let Some((error, _)) = raised.take_if(|(_, at)| at.elapsed() >= GRACE) {
            return Attended::Late(error);
        }
        let next = &mut *steps;
        let step = py.detach(move || next.recv_timeout(TICK));
        let told = match (step, &waiting.progress) {
            (Err(RecvTimeoutError::Disconnected), _) => {
                return Attended::Ended(raised.map(|(error, _)| error));
            }
            (Ok(step), Some(progress)) if raised.is_none() => progress.call1(py, step).map(drop),
            _ => Ok(()),
        };
        let told = told.and_then(|()| waiting.raised.take().map_or(Ok(()), Err));
        if let Err(error) = told.and_then(|()| py.check_signals()) {
            cancel.store(true, Ordering::Relaxed);
            raised.get_or_insert((error, Instant::now()));
        }
    }
}
