//! Time of a whole network against its prediction from the times of single blocks.
//!
//! ```sh
//! cargo run --release --example latency_model -- MODEL TARGET RANK LOWERING [THREADS]
//! ```
//!
//! `LOWERING` is a name, or `best` for the one that is measured fastest in each layer. The
//! network is rewritten at one rank with data-free weights, timed whole beside the original,
//! and predicted as the original's time less the savings of the blocks. The blocks are timed
//! afresh.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use sepconv::latency::{Bench, Block, Cache, CostModel, Geometry, Key, Measured};
use sepconv::passes::planners::UniformRank;
use sepconv::passes::{Planner, Survey, fold, lowering, replace};
use sepconv::{BenchSettings, Families, Loaded, Pins, Selection, bench, targets};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, target, rank, wanted, rest @ ..] = args.as_slice() else {
        return Err("MODEL TARGET RANK LOWERING [THREADS]".into());
    };
    let threads: NonZeroUsize = rest.first().map_or("1", String::as_str).parse()?;
    let target = targets::find(target)?;
    let opened = Loaded::open(Path::new(path), &Pins::default())?;
    let mut document = opened.document.clone();
    let selection = Selection::default();
    fold(&mut document.model.graph, &selection)?;
    let original = opened.with(document)?;
    let survey = Survey::of(
        original.graph(),
        &original.shapes,
        &selection,
        &Families::default(),
        &mut |_, _| {},
    )?;
    let planner = UniformRank {
        rank: rank.parse()?,
        costlier: false,
    };
    let plan = planner.plan(&survey, original.cost.macs)?;

    let key = Key::here(target.name(), &target.version(), threads.get());
    let model = Measured::new(target, threads, None)?.with_cache(Cache::in_memory(key));
    let mut document = original.document.clone();
    let (mut before, mut after) = (0.0, 0.0);
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, candidate) in plan.rewritten() {
        let layer = survey.layers.iter().find(|l| l.name == name);
        let Some((layer, Ok((site, _)))) = layer.map(|l| (l, &l.site)) else {
            continue;
        };
        let geometry = Geometry::of(original.graph(), site).ok_or("a shape is unknown")?;
        let (family, rank) = (candidate.family.as_str(), candidate.rank);
        before += model.cost(&Block::original(geometry.clone()))?;
        let (chosen, cost) = match lowering(wanted) {
            Some(chosen) => {
                let block = Block::chain(geometry, family, rank, wanted);
                (chosen, model.cost(&block)?)
            }
            None => model.best_lowering(&geometry, family, rank)?,
        };
        after += cost;
        let chain = layer.chain(family, rank)?;
        let written = replace(&mut document.model.graph, site, &chain, Some(chosen))?;
        *used.entry(written).or_default() += 1;
    }
    let rewritten = original.with(document)?;

    let settings = BenchSettings {
        targets: vec![target],
        threads: vec![threads],
        bench: Bench {
            warm_up: Duration::from_millis(200),
            sample: Duration::from_millis(5),
            least_rounds: 60,
            most_rounds: 60,
            enough: Duration::ZERO,
            longest: Duration::MAX,
        },
        seed: 0,
    };
    let runs = bench(&[original, rewritten], &settings, &())?;
    let times: Vec<f64> = runs[0].models.iter().map(|m| m.timing.min).collect();
    let measured = times[0] / times[1];
    let predicted = times[0] / (times[0] - (before - after));
    println!(
        "{path} on {} {}, {threads} thread(s)",
        target.name(),
        target.version()
    );
    println!("  lowerings  {used:?}");
    println!("  blocks     {:.3} -> {:.3} ms", 1e3 * before, 1e3 * after);
    println!(
        "  network    {:.3} -> {:.3} ms",
        1e3 * times[0],
        1e3 * times[1]
    );
    println!(
        "  speed-up   measured {measured:.3} (median of rounds {:.3}), predicted {predicted:.3} ({:+.1} %)",
        runs[0].models[1].speed_up.median,
        100.0 * (predicted / measured - 1.0)
    );
    Ok(())
}
