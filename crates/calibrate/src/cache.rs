//! Statistics kept between runs: another budget needs no pass over the data.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use sepconv_factor::{SplitStatistics, Statistics};
use sepconv_passes::{Kept, Site};
use sepconv_targets::Target;

use super::layer_sampler::Unfit;
use super::memory_limit::Need;
use sepconv_model::Loaded;
use sepconv_spec::{CalibrationSettings, Source};

/// Most bytes that are stored for a model.
const MOST: u64 = 1 << 30;

/// Version of the weighing of channels: statistics are of weighed outputs.
const WEIGHING: u32 = 1;

/// Version of the use of tract, whose outputs statistics are of, and of the part of the data that they
/// are of.
const EXECUTION: u32 = 3;

/// Files of what is known of a model's layers.
pub(crate) struct StatisticsCache {
    /// Without its extension.
    path: PathBuf,
    /// Extension of the file of statistics.
    forms: String,
}

impl StatisticsCache {
    /// The files for a model, its data and settings: named by a hash of the model's bytes, those of its
    /// external data included, the data (a file's contents; names, sizes and times of a folder's files), the settings that
    /// statistics depend on, and the versions. `None` without a folder in the settings, for
    /// data that can't be read, and for statistics that would be too large.
    pub fn open(
        model: &Loaded,
        sites: &[&Site],
        settings: &CalibrationSettings,
        target: &dyn Target,
    ) -> Option<Self> {
        let folder = settings.cache.as_ref()?;
        // Where patches are kept, their number depends on the memory at hand.
        let bytes = sites.iter().map(|site| {
            let d = (site.kernel.group_in() as u64).saturating_mul(site.kernel.taps() as u64);
            d.saturating_mul(d)
                .saturating_mul(8 * site.kernel.groups as u64)
        });
        if bytes.fold(0, u64::saturating_add) > MOST {
            return None;
        }
        let mut hasher = Fingerprint::default();
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        (target.name(), target.version()).hash(&mut hasher);
        model.document.encode().to_bytes().hash(&mut hasher);
        (model.document).visit_external(&mut |bytes| bytes.hash(&mut hasher));
        hash_source(&settings.source, &mut hasher)?;
        (settings.positions, settings.effort, settings.held_out_every).hash(&mut hasher);
        (settings.weighted, WEIGHING, EXECUTION).hash(&mut hasher);
        for site in sites {
            site.name.hash(&mut hasher);
        }
        let name = hasher.name();
        Some(Self {
            path: folder.join("statistics-v1").join(name),
            forms: String::new(),
        })
    }

    /// With statistics of the forms that `needs` tell: patches are kept in place of covariances where there
    /// is less memory.
    pub fn with_forms(mut self, needs: &[Result<Need, Kept>]) -> Self {
        let mut hasher = Fingerprint::default();
        for need in needs {
            (need.as_ref().ok())
                .map(|need| need.patches)
                .hash(&mut hasher);
        }
        self.forms = hasher.name();
        self
    }

    /// The statistics of `layers` layers, if they are stored.
    pub fn read(&self, layers: usize) -> Option<Vec<SplitStatistics>> {
        let data = fs::read(self.statistics()).ok()?;
        let mut rest = data.as_slice();
        let mut next = || {
            let (length, tail) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (part, tail) = tail.split_at_checked(length)?;
            rest = tail;
            Statistics::from_bytes(part).ok()
        };
        let found: Option<Vec<SplitStatistics>> = (0..layers)
            .map(|_| {
                let (fit, held_out) = (next()?, next()?);
                Some(SplitStatistics { fit, held_out })
            })
            .collect();
        found.filter(|_| rest.is_empty())
    }

    /// Factors of the output channels of layers of so many, if they are stored.
    pub fn read_factors(
        &self,
        layers: impl Iterator<Item = usize>,
    ) -> Option<Vec<Option<Vec<f64>>>> {
        let data = fs::read(self.factors()).ok()?;
        let (numbers, []) = data.as_chunks::<8>() else {
            return None;
        };
        let mut numbers = numbers.iter().map(|n| f64::from_le_bytes(*n));
        let found: Option<Vec<_>> = layers
            .map(|channels| {
                let all: Option<Vec<f64>> = (0..channels).map(|_| numbers.next()).collect();
                let all = all?;
                // Without factors all are 0.
                let none = all.iter().all(|f| *f == 0.0);
                let fine = none || all.iter().all(|f| *f > 0.0 && f.is_finite());
                fine.then_some((!none).then_some(all))
            })
            .collect();
        found.filter(|_| numbers.next().is_none())
    }

    /// Stores factors.
    pub fn write_factors(&self, all: &[Option<Vec<f64>>], layers: impl Iterator<Item = usize>) {
        let mut data = Vec::new();
        for (factors, channels) in all.iter().zip(layers) {
            let none = || vec![0.0; channels];
            let factors = factors.clone().unwrap_or_else(none);
            data.extend(factors.into_iter().flat_map(f64::to_le_bytes));
        }
        write_beside(&self.factors(), &data);
    }

    fn factors(&self) -> PathBuf {
        self.path.with_extension("factors")
    }

    fn statistics(&self) -> PathBuf {
        self.path.with_extension(&self.forms)
    }

    /// Stores statistics, where those of all layers are known; those that can't be stored are
    /// collected again next time.
    pub fn write(&self, statistics: &[Result<SplitStatistics, Unfit>]) {
        let known: Option<Vec<_>> = statistics.iter().map(|s| s.as_ref().ok()).collect();
        let Some(known) = known else { return };
        let mut data = Vec::new();
        for part in known.into_iter().flat_map(|s| [&s.fit, &s.held_out]) {
            let bytes = part.to_bytes();
            data.extend((bytes.len() as u64).to_le_bytes());
            data.extend(bytes);
        }
        write_beside(&self.statistics(), &data);
    }
}

fn write_beside(path: &Path, data: &[u8]) {
    let folder = path.parent().unwrap_or(Path::new("."));
    if fs::create_dir_all(folder).is_ok() {
        let _ = sepconv_onnx::write_atomic(path, true, data);
    }
}

/// Two hashes at once, for names that are long enough never to meet.
struct Fingerprint([DefaultHasher; 2]);

impl Default for Fingerprint {
    fn default() -> Self {
        let mut halves = [DefaultHasher::new(), DefaultHasher::new()];
        halves[1].write_u8(1);
        Self(halves)
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|h| h.write(bytes));
    }

    fn finish(&self) -> u64 {
        self.0[0].finish()
    }
}

impl Fingerprint {
    fn name(&self) -> String {
        let [a, b] = &self.0;
        format!("{:016x}{:016x}", a.finish(), b.finish())
    }
}

fn hash_source(source: &Source, hasher: &mut Fingerprint) -> Option<()> {
    let source = match source {
        Source::Pictures(pictures) => {
            format!("{pictures:?}").hash(hasher);
            return Some(());
        }
        Source::Data(source) => source,
    };
    format!(
        "{:?}",
        (
            &source.preprocess,
            source.max_samples,
            source.seed,
            source.part
        )
    )
    .hash(hasher);
    if source.arrays.is_empty() {
        hash_path(&source.path, hasher)?;
    }
    for array in &source.arrays {
        format!("{array:?}").hash(hasher);
        if let Some(data) = array.data() {
            data.hash(hasher);
        }
    }
    source
        .classes
        .as_ref()
        .map_or(Some(()), |path| hash_path(path, hasher))
}

fn hash_path(path: &Path, hasher: &mut Fingerprint) -> Option<()> {
    if !path.is_dir() {
        fs::read(path).ok()?.hash(hasher);
        return Some(());
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .ok()?
        .map(|e| e.map(|e| e.path()).ok())
        .collect::<Option<_>>()?;
    entries.sort();
    for entry in entries {
        entry.hash(hasher);
        if entry.is_dir() {
            hash_path(&entry, hasher)?;
        } else {
            let about = entry.metadata().ok()?;
            (about.len(), about.modified().ok()).hash(hasher);
        }
    }
    Some(())
}
