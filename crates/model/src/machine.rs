//! Memory: of the machine, of this process, and as users write amounts of it.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory of a machine that does not tell: 8 GiB.
const UNKNOWN: u64 = 8 << 30;

/// Bytes of memory that this process may take: of the machine, or of the control group that it
/// runs in where that has less (Linux: `MemTotal` of `/proc/meminfo`; `memory.max` of cgroups,
/// `memory.limit_in_bytes` of their first version). 8 GiB where neither is known.
pub fn machine_memory() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo");
    let machine = machine.ok().and_then(|text| field(&text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        text.trim().parse().ok()
    });
    limits.chain(machine).min().unwrap_or(UNKNOWN)
}

/// A text that is no amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Neither bytes nor a share.
    #[error(
        "'{}' is no size: bytes, such as 8G or 512M, or a share, such as 50%",
        .0.escape_debug()
    )]
    NoSize(String),
    /// A share above 100 %.
    #[error("'{0}' is more than the machine has")]
    TooMuch(String),
}

/// Bytes of memory from text: a number of bytes, with K, M, G or T behind it (powers of 1024;
/// also as KB or KiB), or a share of [`machine_memory`] in percent, such as `50%`.
///
/// # Errors
/// [`MemoryError`] where the text is neither, or less than a byte.
pub fn parse_memory(text: &str) -> Result<u64, MemoryError> {
    let wrong = || MemoryError::NoSize(text.to_owned());
    let number = |digits: &str| digits.trim().parse::<f64>().ok();
    let bytes = match text.strip_suffix('%') {
        Some(share) => match number(share).ok_or_else(wrong)? {
            share if share > 100.0 => return Err(MemoryError::TooMuch(text.to_owned())),
            share => share / 100.0 * machine_memory() as f64,
        },
        None => {
            let short = text.strip_suffix("iB").or(text.strip_suffix(['B', 'b']));
            let short = short.unwrap_or(text);
            let powers = [['K', 'k'], ['M', 'm'], ['G', 'g'], ['T', 't']];
            let cut = powers.iter().zip(1..).find_map(|(letters, power)| {
                let digits = short.strip_suffix(letters.as_slice())?;
                Some((digits, power))
            });
            let (digits, power) = cut.unwrap_or((short, 0));
            number(digits).ok_or_else(wrong)? * 1024_f64.powi(power)
        }
    };
    match bytes.is_finite() && bytes >= 1.0 {
        true => Ok(bytes as u64),
        false => Err(wrong()),
    }
}

/// The most bytes of memory that this process has held at a time (Linux: `VmHWM` of
/// `/proc/self/status`); `None` where the system does not say.
pub fn peak_memory() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Processor time of this process so far in seconds, of all threads, user and system (Linux:
/// `/proc/self/stat`, in hundredths); `None` where the system does not say.
pub fn processor_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the command, the second field, may hold anything in its parentheses.
    let (_, fields) = text.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11);
    let mut next = || ticks.next()?.parse::<u64>().ok();
    Some((next()? + next()?) as f64 / 100.0)
}

/// A field in kB, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The files that may hold a limit, by the contents of `/proc/self/cgroup`: of the group and of all
/// those around it.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|c| c == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = path.trim_start_matches('/');
        let around = Path::new(group).ancestors();
        files.extend(around.map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_are_in_kilobytes() {
        let text = "Name:\tx\nVmHWM:\t  12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(field(text, "VmHWM:"), Some(12345 * 1024));
        assert_eq!(field(text, "VmPeak:"), None);
    }

    #[test]
    fn limits_are_those_of_a_group_and_of_all_around_it() {
        let found = limit_files("0::/a/b\n3:cpu,memory:/x\n4:cpuset:/y\nodd\n");
        let expected = [
            "/sys/fs/cgroup/a/b/memory.max",
            "/sys/fs/cgroup/a/memory.max",
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn amounts_are_bytes_or_a_share() {
        assert_eq!(parse_memory("512M"), Ok(512 << 20));
        assert_eq!(parse_memory("8G"), Ok(8 << 30));
        assert_eq!(parse_memory("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_memory("2gb"), Ok(2 << 30));
        assert_eq!(parse_memory("1000"), Ok(1000));
        let half = machine_memory() / 2;
        assert!(parse_memory("50%").is_ok_and(|m| m.abs_diff(half) < 2));
        for wrong in [
            "", "G", "-1", "-1%", "0", "0.5", "x", "nan", "nan%", "inf", "1 e", "\u{e9}", "a\nb",
        ] {
            let error = parse_memory(wrong).unwrap_err();
            assert_eq!(error, MemoryError::NoSize(wrong.to_owned()));
            assert!(!error.to_string().contains('\n'));
        }
        let all = MemoryError::TooMuch("120%".to_owned());
        assert_eq!(parse_memory("120%"), Err(all));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_machine_has_more_than_this_process_takes() {
        let peak = peak_memory().unwrap();
        assert!(peak > 1 << 20 && peak < machine_memory(), "{peak}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_passes_with_work() {
        let before = processor_seconds().unwrap();
        let begin = std::time::Instant::now();
        while processor_seconds().unwrap() <= before {
            assert!(begin.elapsed().as_secs() < 60);
        }
    }
}
