//! Steps of the pipeline, as the log tells of them.

use std::time::Instant;

use sepconv_model::{Error, peak_memory};

/// Does a step of the pipeline, and logs its time and the memory held so far.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let begin = Instant::now();
    let done = work();
    tracing::debug!(
        target: "sepconv::pipeline",
        step = name,
        seconds = begin.elapsed().as_secs_f64(),
        peak_bytes = peak_memory(),
        failed = done.is_err(),
    );
    done
}
