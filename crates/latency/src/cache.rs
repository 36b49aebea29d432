//! Timings on disk.
//!
//! One JSON file per [`Key`] in the folder `latency-v1` of `$SEPCONV_CACHE`, or of `sepconv` in
//! the platform's folder for caches. A file that can't be read is treated as empty and
//! replaced by the next save. A cache that can't be written costs time, not results.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use etcetera::base_strategy::BaseStrategy;
use serde::{Deserialize, Serialize};

use crate::bench::Timing;
use crate::block::{Block, Form};
use crate::error::LatencyError;
use crate::machine::machine;

/// The circumstances that the timings of one file have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Name of the runtime.
    pub target: String,
    /// Its version.
    pub version: String,
    /// Threads of one run.
    pub threads: usize,
    /// See [`machine`].
    pub machine: String,
    /// Name of the [`crate::Precision`] that blocks are written in; `None`: that of their weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

impl Key {
    /// The key of a runtime on this machine.
    pub fn here(target: &str, version: &str, threads: usize) -> Self {
        Self {
            target: target.to_owned(),
            version: version.to_owned(),
            threads,
            machine: machine(),
            precision: None,
        }
    }

    /// The same for blocks in a precision of this name.
    #[must_use]
    pub fn in_precision(self, name: &str) -> Self {
        Self {
            precision: Some(name.to_owned()),
            ..self
        }
    }

    /// `onnxruntime-1.32.0-1t-amd-epyc-2-cores.json`.
    fn file_name(&self) -> String {
        let Self {
            target,
            version,
            threads,
            machine,
            precision,
        } = self;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let precision = precision.as_deref().unwrap_or_default();
        let text = format!("{target} {version} {threads}t {machine} {precision}").to_lowercase();
        let words = text.split(|c| !plain(c)).filter(|w| !w.is_empty());
        format!("{}.json", words.collect::<Vec<_>>().join("-"))
    }
}

/// A timing as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub timing: Timing,
    /// True where it was only timed long enough to be ruled out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ruled_out: bool,
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(flatten)]
    key: Key,
    /// Seconds by block.
    blocks: BTreeMap<String, Entry>,
}

/// Timings by block.
#[derive(Debug, Clone)]
pub struct Cache {
    key: Key,
    path: Option<PathBuf>,
    blocks: BTreeMap<String, Entry>,
}

impl Cache {
    /// The cache in the default folder, or in memory where there is none.
    pub fn open(key: Key) -> Self {
        match cache_folder() {
            Some(folder) => Self::open_in(&folder, key),
            None => Self::in_memory(key),
        }
    }

    /// The cache in a folder, which need not exist.
    pub fn open_in(folder: &Path, key: Key) -> Self {
        let path = folder.join("latency-v1").join(key.file_name());
        Self {
            blocks: read(&path, &key),
            path: Some(path),
            key,
        }
    }

    /// A cache that is never saved.
    pub fn in_memory(key: Key) -> Self {
        Self {
            key,
            path: None,
            blocks: BTreeMap::new(),
        }
    }

    /// The file; `None` for a cache in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The timing of a block.
    pub fn get(&self, block: &Block) -> Option<Timing> {
        self.entry(block).map(|e| e.timing)
    }

    pub(crate) fn entry(&self, block: &Block) -> Option<&Entry> {
        self.blocks.get(&block.to_string())
    }

    pub(crate) fn insert(&mut self, block: &Block, timing: Timing, ruled_out: bool) {
        let entry = Entry { timing, ruled_out };
        self.blocks.insert(block.to_string(), entry);
    }

    /// Forgets a block that was ruled out.
    pub(crate) fn forget(&mut self, block: &Block) {
        self.blocks.remove(&block.to_string());
    }

    /// Writes the file, together with timings that other processes have added to it since. Timings of a
    /// geometry are multiples of that of its original: those beside another original are replaced.
    ///
    /// # Errors
    /// [`LatencyError::Cache`].
    pub fn save(&self) -> Result<(), LatencyError> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let found = read(path, &self.key);
        let mut blocks = found.clone();
        blocks.retain(|block, _| {
            let own = original_of(block).and_then(|original| self.blocks.get(&original));
            let there = original_of(block).and_then(|original| found.get(&original));
            own.is_none_or(|own| there.is_none_or(|there| own.timing.min == there.timing.min))
        });
        blocks.extend(self.blocks.iter().map(|(k, v)| (k.clone(), *v)));
        let file = File {
            key: self.key.clone(),
            blocks,
        };
        write(path, &file).map_err(|source| LatencyError::Cache {
            path: path.clone(),
            source,
        })
    }
}

/// The original of a block, by its text `GEOMETRY | FORM`.
fn original_of(block: &str) -> Option<String> {
    let (geometry, _) = block.rsplit_once(" | ")?;
    Some(format!("{geometry} | {}", Form::Original))
}

fn read(path: &Path, key: &Key) -> BTreeMap<String, Entry> {
    let usable = |e: &Entry| e.timing.min.is_finite() && e.timing.min > 0.0;
    std::fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok())
        .filter(|file| file.key == *key)
        .map(|file| file.blocks.into_iter().filter(|(_, e)| usable(e)).collect())
        .unwrap_or_default()
}

fn write(path: &Path, file: &File) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    let _known = sepconv_onnx::Temporary::file(temporary.path());
    let mut text = serde_json::to_vec_pretty(file)?;
    text.push(b'\n');
    temporary.write_all(&text)?;
    temporary.persist(path).map(drop).map_err(|e| e.error)
}

/// The folder of everything that sepconv keeps: `$SEPCONV_CACHE`, or `sepconv` in the user's
/// cache folder. `None` where neither is known.
pub fn cache_folder() -> Option<PathBuf> {
    let named = std::env::var_os("SEPCONV_CACHE").filter(|v| !v.is_empty());
    named.map(PathBuf::from).or_else(|| {
        let platform = etcetera::base_strategy::choose_native_strategy().ok()?;
        Some(platform.cache_dir().join("sepconv"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::conv;

    fn key() -> Key {
        Key::here("onnxruntime", "1.32.0", 1)
    }

    const TIMING: Timing = Timing {
        min: 1e-3,
        median: 2e-3,
        mad: 1e-4,
        samples: 7,
    };

    #[test]
    fn timings_survive_and_are_joined_with_those_of_others() {
        let scratch = tempfile::tempdir().unwrap();
        let [a, b] = [8, 16].map(|channels| Block::original(conv(channels)));
        let [mut one, mut two] = [(); 2].map(|()| Cache::open_in(scratch.path(), key()));
        one.insert(&a, TIMING, false);
        two.insert(&b, TIMING.scaled(2.0), true);
        one.save().unwrap();
        two.save().unwrap();
        let seen = Cache::open_in(scratch.path(), key());
        assert_eq!(seen.get(&a), Some(TIMING));
        assert_eq!(seen.get(&b), Some(TIMING.scaled(2.0)));
        assert!(!seen.entry(&a).unwrap().ruled_out && seen.entry(&b).unwrap().ruled_out);
        let mut three = Cache::open_in(scratch.path(), key());
        three.insert(&a, TIMING.scaled(3.0), false);
        let form = |rank| {
            let family = sepconv_factor::family("dw-pw").unwrap();
            Block::of(a.geometry.clone(), family, rank, "fused").unwrap()
        };
        one.insert(&form(1), TIMING, false);
        one.save().unwrap();
        three.insert(&form(2), TIMING, false);
        three.save().unwrap();
        let seen = Cache::open_in(scratch.path(), key());
        let all = [&a, &form(1), &form(2), &b].map(|block| seen.get(block).map(|t| t.min));
        assert_eq!(all, [Some(3e-3), None, Some(1e-3), Some(2e-3)]);
        let other = Cache::open_in(
            scratch.path(),
            Key {
                threads: 2,
                ..key()
            },
        );
        assert_eq!(other.get(&a), None);
    }

    #[test]
    fn broken_files_and_those_of_other_machines_are_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let block = Block::original(conv(8));
        let mut cache = Cache::open_in(scratch.path(), key());
        cache.insert(&block, TIMING, false);
        cache.save().unwrap();
        let path = cache.path().unwrap().to_owned();
        let good = std::fs::read_to_string(&path).unwrap();
        let foreign = good.replace("1.32.0", "1.31.0");
        let negative = good.replace("\"min\": 0.001", "\"min\": -1.0");
        for broken in ["{", &good[..good.len() / 2], &foreign, &negative] {
            assert_ne!(broken, good);
            std::fs::write(&path, broken).unwrap();
            assert_eq!(Cache::open_in(scratch.path(), key()).get(&block), None);
            cache.save().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), good);
        }
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_that_names_the_file() {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::open_in(scratch.path(), key()).save().unwrap_err();
        assert!(error.to_string().contains("latency-v1"), "{error}");
        assert!(Cache::in_memory(key()).save().is_ok());
    }

    #[test]
    fn file_names_hold_the_key() {
        let key = Key {
            machine: "AMD/EPYC (7) @ 3.2GHz, 2 cores".into(),
            ..key()
        };
        assert_eq!(
            key.file_name(),
            "onnxruntime-1.32.0-1t-amd-epyc-7-3.2ghz-2-cores.json"
        );
        assert_eq!(
            key.in_precision("int8").file_name(),
            "onnxruntime-1.32.0-1t-amd-epyc-7-3.2ghz-2-cores-int8.json"
        );
    }
}
