//! Steps of the pipeline, as the log tells of them.

use std::time::Instant;

use crate::{Error, peak_memory, processor_seconds};

/// Does a step of the pipeline, and logs its time, that of the processor, and the memory held so
/// far (`tracing`, level `DEBUG`, target `sepconv::pipeline`). A part of a step is named `STEP/PART`.
///
/// # Errors
/// Those of the work.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let (begin, busy) = (Instant::now(), processor_seconds());
    let done = work();
    tracing::debug!(
        target: "sepconv::pipeline",
        step = name,
        seconds = begin.elapsed().as_secs_f64(),
        processor_seconds = processor_seconds().zip(busy).map(|(now, before)| now - before),
        peak_bytes = peak_memory(),
        failed = done.is_err(),
    );
    done
}
