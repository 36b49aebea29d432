//! The machine, which latencies depend on beside the model.

use std::num::NonZeroUsize;

/// The machine as a key of timings: processor and number of usable cores, such as
/// `AMD EPYC, 2 cores`. Where the system doesn't name the processor, its architecture.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor(&info).unwrap_or(std::env::consts::ARCH);
    format!("{processor}, {cores} cores")
}

/// The processor's name in the format of Linux' `/proc/cpuinfo`.
fn processor(info: &str) -> Option<&str> {
    let value = |key: &str| {
        let lines = info.lines().filter_map(|l| l.split_once(':'));
        let mut values = lines
            .filter(|(k, _)| k.trim() == key)
            .map(|(_, v)| v.trim());
        values.find(|v| !v.is_empty())
    };
    value("model name").or_else(|| value("CPU part"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_named() {
        let x86 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu\n";
        assert_eq!(processor(x86), Some("AMD EPYC"));
        assert_eq!(processor("CPU part\t: 0xd0c\n"), Some("0xd0c"));
        assert_eq!(processor(""), None);
        assert!(machine().ends_with("cores"));
    }
}
