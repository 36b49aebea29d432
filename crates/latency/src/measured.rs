//! Latency as a cost.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sepconv_ir::Tensor;
use sepconv_passes::Lowering;
use sepconv_targets::{LoadOptions, Prepared, Session, Target, TargetError};

use crate::bench::{Bench, Samples, Timing};
use crate::block::{Block, Form, Geometry};
use crate::build::{LAYER, build, input};
use crate::cache::{Cache, Key};
use crate::cost::CostModel;
use crate::error::LatencyError;
use crate::precision::Precision;

/// Lowerings this many times slower than the best of their family at one rank are ruled
/// out for that family and geometry.
const RULED_OUT: f64 = 1.5;
/// Where only forms that pay are asked for, one this many times slower than the original is slow, by a full timing; this many
/// times by the momentary one before it.
const SLOW: f64 = 1.1;
const SLOW_AT_ONCE: f64 = 1.25;
/// Of a family and lowering, ranks beyond so many times that of a slow form are not timed. Ranks nearer may be faster:
/// runtimes prefer some numbers of channels.
const BEYOND: f64 = 1.25;
/// Forms that are timed together with the original, at most, and the bytes that their values may take: each holds its
/// input, its output and about as much between its stages.
const TOGETHER: usize = 8;
const HELD: u64 = 1 << 30;
const EACH: u64 = 3;

/// Number of the forms of a layer that are timed together.
fn together(geometry: &Geometry) -> usize {
    let most = HELD / (EACH * geometry.bytes()).max(1);
    usize::try_from(most).map_or(TOGETHER, |most| most.clamp(1, TOGETHER))
}

/// Costs in seconds, measured on a target: the fastest sample of one run of the block.
///
/// Forms are timed interleaved with their original and kept on the scale of the original's
/// first timing: `kept = measured * first original / this original`. Figures taken on a busy
/// and on a quiet machine can thus be compared.
pub struct Measured {
    target: &'static dyn Target,
    threads: NonZeroUsize,
    precision: Option<&'static dyn Precision>,
    bench: Bench,
    until: Option<Instant>,
    paying: bool,
    cache: Mutex<Cache>,
}

/// True where the time to begin is over.
fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

/// The end of the part of the time until then that `own` of the MACs `left` have.
fn part(until: Instant, own: u64, left: u64) -> Instant {
    let now = Instant::now();
    let share = own as f64 / left.max(1) as f64;
    now + until.saturating_duration_since(now).mul_f64(share.min(1.0))
}

impl Measured {
    /// Measures on `target` with `threads` threads, and remembers in the default [`Cache`].
    /// Blocks, the original among them, are written in `precision`; `None`: in that of their weights.
    ///
    /// # Errors
    /// [`LatencyError::Target`] where the target is not available.
    pub fn new(
        target: &'static dyn Target,
        threads: NonZeroUsize,
        precision: Option<&'static dyn Precision>,
    ) -> Result<Self, LatencyError> {
        target.available()?;
        let key = Key::here(target.name(), &target.version(), threads.get());
        let key = match precision {
            Some(precision) => key.in_precision(precision.name()),
            None => key,
        };
        Ok(Self {
            target,
            threads,
            precision,
            bench: Bench::brief(),
            until: None,
            paying: false,
            cache: Mutex::new(Cache::open(key)),
        })
    }

    /// The same with another cache.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        Self {
            cache: Mutex::new(cache),
            ..self
        }
    }

    /// The same with other settings of the benchmark.
    #[must_use]
    pub fn with_bench(self, bench: Bench) -> Self {
        Self { bench, ..self }
    }

    /// The same, that begins to time no geometry but the first after that moment, and has each a part of the time until then
    /// in proportion to its MACs. The middle rank of each family of a geometry that is begun is timed always; forms that are
    /// left have no timing.
    #[must_use]
    pub fn until(self, until: Option<Instant>) -> Self {
        Self { until, ..self }
    }

    /// The same, for the sake of forms that are faster than their original: of one that is slower, the same at ranks well
    /// above, which takes more work, has no timing. Forms in floats of results in another precision have theirs.
    #[must_use]
    pub fn of_those_that_pay(self) -> Self {
        Self {
            paying: true,
            ..self
        }
    }

    /// The target that is measured.
    pub fn target(&self) -> &'static dyn Target {
        self.target
    }

    /// Threads of one run.
    pub fn threads(&self) -> usize {
        self.threads.get()
    }

    /// Times every block that the cache doesn't know, geometry by geometry, those of most MACs first, and saves the
    /// cache after each. `progress` is told how many of the blocks are settled.
    ///
    /// To keep many candidates affordable, every form of a chain is first timed for a moment;
    /// a lowering found 1.5 times slower than the best one given for its family and rank is ruled
    /// out, and not even loaded at the ranks after that. Those have no timing, as have forms
    /// that the target can't load or run, and all forms of an original that it can't.
    ///
    /// # Errors
    /// [`LatencyError::Form`] and [`LatencyError::Factor`] for forms that do not exist,
    /// [`LatencyError::Block`] where the target can't run any of the originals.
    pub fn measure_all(
        &self,
        blocks: &[Block],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Option<Timing>>, LatencyError> {
        let mut cache = self.cache();
        forget_without_rivals(blocks, &mut cache);
        let unknown = blocks.iter().filter(|b| cache.entry(b).is_none());
        let open: HashSet<&Geometry> = unknown.map(|block| &block.geometry).collect();
        // With their MACs.
        let mut geometries: Vec<(u64, &Geometry)> = Vec::new();
        let mut seen = HashSet::new();
        for block in blocks {
            let geometry = &block.geometry;
            if seen.insert(geometry) {
                let macs = Block::original(geometry.clone()).macs();
                geometries.push((macs.unwrap_or(0), geometry));
            }
        }
        geometries.sort_by_key(|(macs, _)| Reverse(*macs));
        let left = geometries.iter().filter(|(_, g)| open.contains(g));
        let mut left: u64 = left.map(|(macs, _)| macs).sum();
        let (mut settled, mut begun) = (0, false);
        let mut failed = Vec::new();
        let all = geometries.len();
        for (macs, geometry) in geometries {
            progress(settled, blocks.len());
            let wanted: Vec<&Block> = blocks.iter().filter(|b| b.geometry == *geometry).collect();
            settled += wanted.len();
            // Without a timing there is no plan.
            let over = begun && is_over(self.until);
            if !over && open.contains(geometry) {
                begun = true;
                let until = self.until.map(|until| part(until, macs, left));
                left -= macs;
                let before = settled - wanted.len();
                let mut told = |done| progress(before + done, blocks.len());
                match self.measure_geometry(&wanted, until, &mut cache, &mut told) {
                    Err(error @ LatencyError::Block { .. }) => failed.push(error),
                    other => other?,
                }
                // A timing that can't be saved is measured again next time.
                let _ = cache.save();
            }
        }
        progress(settled, blocks.len());
        if failed.len() == all
            && let Some(error) = failed.pop()
        {
            return Err(error);
        }
        let timed = blocks.iter().map(|block| {
            let entry = cache.entry(block).filter(|entry| !entry.ruled_out);
            entry.map(|entry| entry.timing)
        });
        Ok(timed.collect())
    }

    /// Times the blocks of one geometry: the middle rank of each family, and others until the moment.
    fn measure_geometry(
        &self,
        wanted: &[&Block],
        until: Option<Instant>,
        cache: &mut Cache,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), LatencyError> {
        let Some(geometry) = wanted.first().map(|block| &block.geometry) else {
            return Ok(());
        };
        let original = Block::original(geometry.clone());
        let mut out = Ruled::default();
        self.rule_out(&original, wanted, &mut out, cache);
        let settled = |b: &&Block| cache.entry(b).is_some() || out.has(b);
        if cache.entry(&original).is_some() && wanted.iter().all(settled) {
            return Ok(());
        }
        let anchor = Loaded::new(self, &original)?.map_err(|source| LatencyError::Block {
            block: original.to_string(),
            source,
        })?;
        // Of this machine now: a known timing may be of a quieter one.
        let mut now = match cache.entry(&original) {
            None => self.finish(&original, &anchor, &mut Vec::new(), cache)?,
            Some(_) if self.paying => {
                let samples = time(&Bench::quick(), [&anchor])?;
                samples.first().map(Samples::timing)
            }
            Some(_) => None,
        };
        let mut forms: Vec<&Block> = wanted.to_vec();
        forms.retain(|b| **b != original);
        forms.sort_by(|a, b| a.floats.cmp(&b.floats).then(a.form.cmp(&b.form)));
        forms.dedup();
        let mut pending = Vec::new();
        let ranks: Vec<&[&Block]> = forms
            .chunk_by(|a, b| family_and_rank(a) == family_and_rank(b))
            .collect();
        let (mut done, most) = (0, together(geometry));
        for (turn, same_rank) in self.in_turns(ranks) {
            if turn > 0 && is_over(until) {
                break;
            }
            pending.extend(self.shortlist(same_rank, now, &mut out, cache)?);
            if pending.len() >= most {
                let timed: Vec<&Block> =
                    pending.iter().map(|form: &Loaded<'_>| form.block).collect();
                now = self.finish(&original, &anchor, &mut pending, cache)?;
                self.rule_out(&original, &timed, &mut out, cache);
            }
            done += same_rank.len();
            progress(done);
        }
        if !pending.is_empty() {
            self.finish(&original, &anchor, &mut pending, cache)?;
        }
        Ok(())
    }

    /// The ranks of all families and their turns, one family after the other; where the time is limited, the middle rank of
    /// each first, then those about it.
    fn in_turns<'r>(&self, ranks: Vec<&'r [&'r Block]>) -> Vec<(usize, &'r [&'r Block])> {
        if self.until.is_none() {
            return ranks.into_iter().map(|rank| (0, rank)).collect();
        }
        fn family<'b>(rank: &[&'b Block]) -> Option<(bool, &'b str)> {
            let (floats, family, _) = family_and_rank(rank.first()?)?;
            Some((floats, family))
        }
        let mut turns = Vec::with_capacity(ranks.len());
        for own in ranks.chunk_by(|a, b| family(a) == family(b)) {
            let turn =
                |(place, rank): (usize, &&'r [&'r Block])| (place.abs_diff(own.len() / 2), *rank);
            turns.extend(own.iter().enumerate().map(turn));
        }
        // Stable: families keep their order.
        turns.sort_by_key(|(turn, _)| *turn);
        turns
    }

    /// Rules out the lowerings that the known timings of some blocks speak against.
    fn rule_out<'b>(
        &self,
        original: &Block,
        blocks: &[&'b Block],
        out: &mut Ruled<'b>,
        cache: &Cache,
    ) {
        let known = cache.get(original).filter(|_| self.paying);
        let limit = known.map_or(f64::INFINITY, |timing| SLOW * timing.min);
        for block in blocks {
            match cache.entry(block) {
                Some(entry) if entry.ruled_out => out.add(block),
                Some(entry) if is_slow(block, entry.timing.min, limit) => out.add_from(block),
                _ => {}
            }
        }
    }

    /// Loads the lowerings of one family at one rank that are neither known nor ruled out, and
    /// rules out the slow ones; `now`: the timing of the original as it is now.
    fn shortlist<'b>(
        &self,
        same_rank: &[&'b Block],
        now: Option<Timing>,
        out: &mut Ruled<'b>,
        cache: &mut Cache,
    ) -> Result<Vec<Loaded<'b>>, LatencyError> {
        let mut loaded = Vec::new();
        for block in same_rank {
            if cache.entry(block).is_none() && !out.has(block) {
                loaded.extend(Loaded::new(self, block)?);
            }
        }
        if same_rank.len() < 2 || loaded.len() < 2 {
            return Ok(loaded);
        }
        let samples = time(&Bench::quick(), &loaded)?;
        let timings: Vec<Timing> = samples.iter().map(Samples::timing).collect();
        let best = timings.iter().map(|t| t.min).fold(f64::INFINITY, f64::min);
        let now = now.filter(|_| self.paying);
        let limit = now.map_or(f64::INFINITY, |now| SLOW_AT_ONCE * now.min);
        let mut kept = Vec::new();
        for (subject, timing) in loaded.into_iter().zip(timings) {
            if is_slow(subject.block, timing.min, limit) {
                out.add_from(subject.block);
            } else if timing.min > RULED_OUT * best {
                out.add(subject.block);
                cache.insert(subject.block, timing, true);
            } else {
                kept.push(subject);
            }
        }
        Ok(kept)
    }

    /// Times the pending blocks beside the original and moves the timings into the cache. Returns that of the original as
    /// it is now.
    fn finish(
        &self,
        original: &Block,
        anchor: &Loaded<'_>,
        pending: &mut Vec<Loaded<'_>>,
        cache: &mut Cache,
    ) -> Result<Option<Timing>, LatencyError> {
        let forms = std::mem::take(pending);
        let subjects: Vec<&Loaded<'_>> = std::iter::once(anchor).chain(&forms).collect();
        let samples = time(&self.bench, subjects)?;
        let timings: Vec<Timing> = samples.iter().map(Samples::timing).collect();
        let Some((now, timings)) = timings.split_first() else {
            return Ok(None);
        };
        let first = cache.get(original).unwrap_or_else(|| {
            cache.insert(original, *now, false);
            *now
        });
        let scale = first.min / now.min.max(f64::MIN_POSITIVE);
        for (form, timing) in forms.iter().zip(timings) {
            cache.insert(form.block, timing.scaled(scale), false);
        }
        Ok(Some(*now))
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CostModel for Measured {
    fn unit(&self) -> &'static str {
        "seconds"
    }

    fn considers(&self, lowering: &dyn Lowering) -> bool {
        !lowering.pads_apart() || self.target.pads_slowly()
    }

    fn cost(&self, block: &Block) -> Result<f64, LatencyError> {
        let timings = self.measure_all(std::slice::from_ref(block), &mut |_, _| {})?;
        let timing = timings.into_iter().next().flatten();
        let unknown = || block.misfit(format!("{} can't run it", self.target.name()));
        timing.map(|t| t.min).ok_or_else(unknown)
    }

    fn costs(
        &self,
        blocks: &[Block],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Option<f64>>, LatencyError> {
        let timings = self.measure_all(blocks, progress)?;
        Ok(timings.into_iter().map(|t| t.map(|t| t.min)).collect())
    }
}

/// Forgets forms that were ruled out beside others, where none of these is among the blocks.
fn forget_without_rivals(blocks: &[Block], cache: &mut Cache) {
    let chain = |block: &Block| {
        let (floats, family, rank) = family_and_rank(block)?;
        Some((block.geometry.clone(), floats, family.to_owned(), rank))
    };
    let is_out = |block: &&Block| cache.entry(block).is_some_and(|entry| entry.ruled_out);
    let (out, others): (Vec<&Block>, Vec<&Block>) = blocks.iter().partition(is_out);
    if out.is_empty() {
        return;
    }
    let rivals: HashSet<_> = others.into_iter().filter_map(chain).collect();
    for block in out {
        if chain(block).is_none_or(|chain| !rivals.contains(&chain)) {
            cache.forget(block);
        }
    }
}

/// Lowerings that are ruled out, by family, and the least of the ranks beyond which they are.
#[derive(Default)]
struct Ruled<'b>(HashMap<Lowered<'b>, f64>);

impl<'b> Ruled<'b> {
    /// Rules the lowering of a block out at all ranks.
    fn add(&mut self, block: &'b Block) {
        if let Some((key, _)) = lowering_and_rank(block) {
            self.0.insert(key, 0.0);
        }
    }

    /// Rules it out at ranks well beyond that of a block which does not pay.
    fn add_from(&mut self, block: &'b Block) {
        if let Some((key, rank)) = lowering_and_rank(block) {
            let least = self.0.entry(key).or_insert(f64::INFINITY);
            *least = least.min(BEYOND * rank as f64);
        }
    }

    fn has(&self, block: &'b Block) -> bool {
        let own = lowering_and_rank(block);
        own.is_some_and(|(key, rank)| self.0.get(&key).is_some_and(|least| rank as f64 >= *least))
    }
}

/// True for a form that takes longer than `limit`, the original's time and some. Forms in floats of results in another
/// precision are held against others.
fn is_slow(block: &Block, seconds: f64, limit: f64) -> bool {
    !block.floats && seconds > limit
}

type Lowered<'b> = (bool, &'b str, &'b str);

fn lowering_and_rank(block: &Block) -> Option<(Lowered<'_>, usize)> {
    match &block.form {
        Form::Chain {
            family,
            rank,
            lowering,
        } => Some(((block.floats, family, lowering), *rank)),
        Form::Original => None,
    }
}

fn family_and_rank(block: &Block) -> Option<(bool, &str, usize)> {
    match &block.form {
        Form::Chain { family, rank, .. } => Some((block.floats, family, *rank)),
        Form::Original => None,
    }
}

/// A block in a session.
struct Loaded<'b> {
    block: &'b Block,
    session: Box<dyn Session>,
    input: Tensor,
}

impl<'b> Loaded<'b> {
    /// The outer error is about the block, the inner one the target's.
    fn new(
        measured: &Measured,
        block: &'b Block,
    ) -> Result<Result<Self, TargetError>, LatencyError> {
        let document = match (build(block)?, measured.precision) {
            (document, None) => document,
            (document, Some(precision)) => {
                let floats = block.floats.then(|| LAYER.to_owned());
                let outline = precision.outline(&document, floats.as_slice());
                outline.map_err(|source| LatencyError::Precision {
                    block: block.to_string(),
                    source,
                })?
            }
        };
        let no_input = || block.misfit(format!("no input of type {}", block.geometry.dtype));
        let (spec, input) = input(&block.geometry).ok_or_else(no_input)?;
        let options = LoadOptions {
            threads: Some(measured.threads),
        };
        let model = document.detach();
        let session = measured.target.load_with(&model, &[spec], options);
        Ok(session.and_then(|session| {
            // A block that loads but does not run is found here, before it is timed with others.
            session.prepare(std::slice::from_ref(&input))?.run()?;
            Ok(Self {
                block,
                session,
                input,
            })
        }))
    }
}

fn time<'a, 'b: 'a>(
    bench: &Bench,
    subjects: impl IntoIterator<Item = &'a Loaded<'b>>,
) -> Result<Vec<Samples>, LatencyError> {
    let mut prepared: Vec<Box<dyn Prepared + 'a>> = Vec::new();
    for subject in subjects {
        let input = std::slice::from_ref(&subject.input);
        prepared.push(subject.session.prepare(input)?);
    }
    Ok(bench.time_interleaved(&mut prepared)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::testing::conv;

    #[test]
    fn of_a_form_that_does_not_pay_higher_ranks_are_not_timed() {
        let form = |rank| Block::chain(conv(8), "dw-pw", rank, "branches");
        let blocks = [1, 2, 3, 4].map(form);
        let measured = || {
            let target = sepconv_targets::reference();
            let key = Key::here(target.name(), "any", 1);
            let mut cache = Cache::in_memory(key);
            let timing = |min| Timing {
                min,
                median: min,
                mad: 0.0,
                samples: 1,
            };
            cache.insert(&Block::original(conv(8)), timing(1.0), false);
            cache.insert(&form(2), timing(0.5), false);
            cache.insert(&form(3), timing(1.2), false);
            let measured = Measured::new(target, NonZeroUsize::MIN, None).unwrap();
            measured.with_cache(cache)
        };
        let timed = |measured: Measured| {
            let costs = measured.costs(&blocks, &mut |_, _| {}).unwrap();
            costs.iter().map(Option::is_some).collect::<Vec<bool>>()
        };
        assert_eq!(timed(measured()), [true; 4]);
        let paying = measured().of_those_that_pay();
        assert_eq!(timed(paying), [true, true, true, false]);
    }

    #[test]
    fn geometries_have_parts_of_the_time_by_their_macs() {
        let hundred = Duration::from_secs(100);
        let until = Instant::now() + hundred;
        let rest = until - part(until, 1, 4);
        assert!(rest > hundred.mul_f64(0.7) && rest <= hundred.mul_f64(0.75));
        assert!(until - part(until, 4, 4) < hundred.mul_f64(0.001));
        assert!(is_over(Some(part(Instant::now(), 1, 2))) && !is_over(None));
    }

    #[test]
    fn few_forms_of_large_maps_are_timed_together() {
        let of = |extent: usize| {
            let geometry = Geometry {
                input: vec![extent; 2],
                pads: vec![1; 4],
                ..conv(64)
            };
            (geometry.bytes(), together(&geometry))
        };
        assert_eq!(of(8), (2 * 4 * 64 * 64, TOGETHER));
        assert_eq!(of(512), (1 << 27, 2));
        assert_eq!(of(2048).1, 1);
    }
}
