//! The log of the libraries, on standard error.

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Prints a line for each step that the libraries of sepconv log.
pub fn to_stderr() {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_writer(std::io::stderr);
    let own = Targets::new().with_target("sepconv", Level::DEBUG);
    // A second log of the process is refused, and this one is the first.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(own))
        .try_init();
}
