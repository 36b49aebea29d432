//! How much memory the machine has, and how much of it this process took.

use std::fs;
use std::path::{Path, PathBuf};

/// What is assumed where the machine does not say: 8 GiB.
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

/// The most bytes of memory that this process has held at a time (Linux: `VmHWM` of
/// `/proc/self/status`); `None` where the system does not say.
pub fn peak_memory() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// A field in kB, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The files that may hold a limit, for what `/proc/self/cgroup` says: of the group and of all
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

    #[cfg(target_os = "linux")]
    #[test]
    fn the_machine_has_more_than_this_process_takes() {
        let peak = peak_memory().unwrap();
        assert!(peak > 1 << 20 && peak < machine_memory(), "{peak}");
    }
}
