//! Measuring, on tract and on a runtime made of sleep.
#![allow(clippy::unwrap_used)]

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sepconv_factor::KernelShape;
use sepconv_ir::{DType, Tensor};
use sepconv_latency::{
    Activation, Bench, Block, Cache, CostModel, Geometry, Key, LatencyError, Measured, Precision,
    build,
};
use sepconv_onnx::{Detached, Document};
use sepconv_targets::{InputSpec, LoadOptions, Prepared, Session, Target, TargetError, reference};

fn geometry(channels: usize) -> Geometry {
    Geometry {
        dtype: DType::F32,
        batch: 2,
        input: vec![9, 7],
        kernel: KernelShape::new(channels, channels, 1, [3, 3]).unwrap(),
        strides: vec![2, 1],
        dilations: vec![1, 1],
        pads: vec![1, 1, 1, 1],
        bias: true,
        activation: Some(Activation::LeakyRelu),
        product: None,
        transposed: None,
    }
}

/// Fast enough for tests.
const HASTE: Bench = Bench {
    warm_up: Duration::ZERO,
    sample: Duration::ZERO,
    least_rounds: 2,
    most_rounds: 2,
    enough: Duration::ZERO,
    longest: Duration::MAX,
};

fn measured(target: &'static dyn Target) -> Measured {
    let key = Key::here(target.name(), &target.version(), 1);
    Measured::new(target, NonZeroUsize::MIN, None)
        .unwrap()
        .with_cache(Cache::in_memory(key))
        .with_bench(HASTE)
}

fn chains(rank: usize) -> [Block; 4] {
    ["branches", "concat", "tiled", "fused"]
        .map(|lowering| Block::chain(geometry(8), "dw-pw", rank, lowering))
}

fn run(block: &Block) -> Vec<f32> {
    let document = build(block).unwrap();
    let g = &block.geometry;
    let dims = vec![g.batch, g.kernel.in_channels, g.input[0], g.input[1]];
    let count = dims.iter().product::<usize>();
    let values = (0..count).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let x = Tensor::from_f32(dims.clone(), values);
    let spec = InputSpec {
        name: "x".into(),
        dtype: DType::F32,
        dims,
    };
    let session = reference().load(&document.detach(), &[spec]).unwrap();
    let y = session.run(&[x]).unwrap();
    let output = g.output().unwrap();
    assert_eq!(
        y[0].dims(),
        [g.batch, g.kernel.out_channels, output[0], output[1]]
    );
    y[0].to_f32().unwrap().into_owned()
}

#[test]
fn blocks_are_models_and_their_lowerings_agree() {
    assert!(run(&Block::original(geometry(8))).iter().any(|v| *v != 0.0));
    let outputs = chains(3).map(|block| run(&block));
    assert!(outputs[0].iter().any(|v| v.abs() > 1e-2));
    for output in &outputs[1..] {
        let pairs = output.iter().zip(&outputs[0]);
        assert!(pairs.clone().count() > 0 && pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
    }
    for (family, rank) in [
        ("pw-dw", 2),
        ("spatial", 4),
        ("channel", 4),
        ("tucker", 4),
        ("cp", 4),
    ] {
        run(&Block::chain(geometry(8), family, rank, "fused"));
    }
}

#[test]
fn wide_blocks_stand_in_a_frame_and_only_they_are_rewritten() {
    let operators = |block: &Block| -> Vec<String> {
        let graph = build(block).unwrap().model.graph;
        let nodes = graph.operators().map(|(id, _)| graph.label(id).to_owned());
        nodes.collect()
    };
    let narrow = [8, 16].map(|channels| operators(&Block::original(geometry(channels))));
    assert_eq!(narrow[0], ["conv", "activation"]);
    assert_eq!(narrow[1], ["head", "conv", "activation", "tail"]);
    let chain = Block::chain(geometry(16), "dw-pw", 1, "branches");
    let expected = ["head", "conv/dw", "conv/pw", "activation", "tail"];
    assert_eq!(operators(&chain), expected);
    assert!(measured(reference()).cost(&chain).unwrap() > 0.0);
}

#[test]
fn blocks_of_half_precision_and_without_bias_are_models() {
    let half = Geometry {
        dtype: DType::F16,
        bias: false,
        activation: None,
        ..geometry(8)
    };
    let block = Block::chain(half, "dw-pw", 2, "branches");
    assert!(measured(reference()).cost(&block).unwrap() > 0.0);
}

#[test]
fn costs_are_seconds_on_a_real_runtime() {
    let model = measured(reference());
    assert_eq!(model.unit(), "seconds");
    let (_, cost) = model.best_lowering(&geometry(8), "dw-pw", 2).unwrap();
    assert!(cost > 0.0 && cost < 1.0);
    let original = model.cost(&Block::original(geometry(8))).unwrap();
    assert_eq!(model.cost(&Block::original(geometry(8))).unwrap(), original);
}

#[test]
fn only_the_heaviest_geometry_is_timed_behind_the_end_and_what_is_known_stays() {
    let model = measured(reference());
    let blocks = [8, 16, 24].map(|channels| Block::original(geometry(channels)));
    let cost = model.cost(&blocks[0]).unwrap();
    let model = model.until(Some(Instant::now()));
    let costs = model.costs(&blocks, &mut |_, _| {}).unwrap();
    assert_eq!(costs[..2], [Some(cost), None]);
    // Without a timing there is no plan.
    assert!(costs[2].is_some());
}

#[test]
fn the_middle_ranks_of_the_heaviest_geometry_are_timed_behind_the_end() {
    let chain = |family, rank| Block::chain(geometry(16), family, rank, "branches");
    let families = ["dw-pw", "pw-dw"];
    let blocks: Vec<Block> = families
        .iter()
        .flat_map(|family| (1..=5).map(|rank| chain(family, rank)))
        .collect();
    let model = measured(reference()).until(Some(Instant::now()));
    let mut told = Vec::new();
    let costs = model
        .costs(&blocks, &mut |done, _| told.push(done))
        .unwrap();
    let timed: Vec<bool> = costs.iter().map(Option::is_some).collect();
    let middle = [false, false, true, false, false];
    assert_eq!(timed, [middle, middle].concat());
    assert_eq!(told, [0, 1, 2, 10]);
    let model = measured(reference()).until(Some(Instant::now() + Duration::from_secs(600)));
    let costs = model.costs(&blocks, &mut |_, _| {}).unwrap();
    assert!(costs.iter().all(Option::is_some), "{costs:?}");
}

/// Writes models as they are, and records the layers that are to be in floats.
struct Other(Mutex<Vec<Vec<String>>>);

static OTHER: Other = Other(Mutex::new(Vec::new()));

impl Precision for Other {
    fn name(&self) -> &'static str {
        "other"
    }

    fn outline(
        &self,
        model: &Document,
        floats: &[String],
    ) -> Result<Document, Box<dyn Error + Send + Sync>> {
        self.0.lock().unwrap().push(floats.to_vec());
        Ok(model.clone())
    }
}

#[test]
fn blocks_in_floats_are_timed_beside_those_of_the_precision() {
    let key = Key::here("tract", "test", 1).in_precision("other");
    let model = Measured::new(reference(), NonZeroUsize::MIN, Some(&OTHER)).unwrap();
    let model = model.with_cache(Cache::in_memory(key)).with_bench(HASTE);
    let block = Block::original(geometry(8));
    let floats = block.clone().in_floats(true);
    assert!(model.cost(&floats).unwrap() > 0.0);
    let seen = [Vec::new(), vec!["conv".to_owned()]];
    assert_eq!(*OTHER.0.lock().unwrap(), seen);
    // Both are known now.
    assert!(
        model
            .costs(&[block, floats], &mut |_, _| {})
            .unwrap()
            .iter()
            .all(Option::is_some)
    );
    assert_eq!(OTHER.0.lock().unwrap().len(), seen.len());
}

#[test]
fn forms_that_do_not_exist_are_errors() {
    let model = measured(reference());
    let wrong = [
        ("dw-pw", 10, "branches"),
        ("wavelet", 1, "fused"),
        ("channel", 2, "tiled"),
        ("dw-pw", 2, "tilted"),
    ];
    for (family, rank, lowering) in wrong {
        let block = Block::chain(geometry(8), family, rank, lowering);
        let error = model.cost(&block).unwrap_err();
        assert!(
            matches!(
                error,
                LatencyError::Form { .. } | LatencyError::Factor { .. }
            ),
            "{error}"
        );
    }
}

/// A runtime that takes its time over models with a given text in them, and notes those that it loads.
struct Sleepy {
    slow: &'static str,
    refuses: &'static str,
    loaded: Mutex<Vec<String>>,
}

impl Sleepy {
    fn leaked(slow: &'static str, refuses: &'static str) -> &'static Self {
        Box::leak(Box::new(Self {
            slow,
            refuses,
            loaded: Mutex::default(),
        }))
    }

    fn loads(&self) -> usize {
        self.loaded.lock().unwrap().len()
    }
}

struct Sleep(Duration);

impl Target for Sleepy {
    fn name(&self) -> &'static str {
        "sleepy"
    }

    fn version(&self) -> String {
        "1.0".into()
    }

    fn load_with(
        &self,
        model: &Detached,
        _: &[InputSpec],
        _: LoadOptions,
    ) -> Result<Box<dyn Session>, TargetError> {
        let text = String::from_utf8_lossy(&model.skeleton).into_owned();
        if text.contains(self.refuses) {
            return Err(TargetError::Load {
                target: "sleepy",
                reason: "too tired".into(),
            });
        }
        let slow = text.contains(self.slow);
        self.loaded.lock().unwrap().push(text);
        Ok(Box::new(Sleep(Duration::from_millis(if slow {
            25
        } else {
            1
        }))))
    }
}

impl Session for Sleep {
    fn run(&self, _: &[Tensor]) -> Result<Vec<Tensor>, TargetError> {
        Ok(Vec::new())
    }

    fn prepare<'a>(&'a self, _: &[Tensor]) -> Result<Box<dyn Prepared + 'a>, TargetError> {
        Ok(Box::new(Sleep(self.0)))
    }
}

impl Prepared for Sleep {
    fn run(&mut self) -> Result<(), TargetError> {
        std::thread::sleep(self.0);
        Ok(())
    }
}

#[test]
fn what_is_known_is_not_measured_again() {
    let target = Sleepy::leaked("no such text", "no such text");
    let model = measured(target);
    let blocks = [
        Block::original(geometry(8)),
        chains(2)[0].clone(),
        chains(2)[0].clone(),
    ];
    let mut told = Vec::new();
    let first = model
        .measure_all(&blocks, &mut |done, of| told.push((done, of)))
        .unwrap();
    assert_eq!(target.loads(), 2);
    // The original counts with the layer.
    assert_eq!(told, [(0, 3), (1, 3), (3, 3)]);
    assert!(first.iter().all(Option::is_some) && first[1] == first[2]);
    assert_eq!(model.measure_all(&blocks, &mut |_, _| {}).unwrap(), first);
    assert_eq!(target.loads(), 2);
    // Another geometry is another figure.
    model.cost(&Block::original(geometry(16))).unwrap();
    assert_eq!(target.loads(), 3);
}

#[test]
fn slow_lowerings_are_ruled_out_and_not_loaded_at_other_ranks() {
    let target = Sleepy::leaked("conv/concat", "no such text");
    let model = measured(target);
    let ranks: Vec<Block> = (2..6).flat_map(chains).collect();
    let costs = model.costs(&ranks, &mut |_, _| {}).unwrap();
    assert!([1, 5, 9, 13].iter().all(|i| costs[*i].is_none()));
    assert_eq!(costs.iter().flatten().count(), 12);
    let loaded = target.loaded.lock().unwrap();
    assert_eq!(
        loaded.iter().filter(|m| m.contains("conv/concat")).count(),
        1
    );
    drop(loaded);
    let (lowering, _) = model.best_lowering(&geometry(8), "dw-pw", 6).unwrap();
    assert_ne!(lowering.name(), "concat");
    // Where it is the only one it is timed, beside the original.
    assert!(ranks[1].to_string().contains("concat"));
    assert!(model.cost(&ranks[1]).unwrap() > 1.5 * costs[0].unwrap());
}

#[test]
fn what_the_runtime_cannot_load_has_no_cost() {
    let target = Sleepy::leaked("no such text", "conv/tile");
    let model = measured(target);
    let costs = model.costs(&chains(2), &mut |_, _| {}).unwrap();
    let known: Vec<bool> = costs.iter().map(Option::is_some).collect();
    assert_eq!(known, [true, true, false, true]);
    let error = model.cost(&chains(2)[2]).unwrap_err().to_string();
    assert!(
        error.contains("tiled") && error.contains("sleepy can't run it"),
        "{error}"
    );
    let target = Sleepy::leaked("no such text", "conv");
    let error = measured(target)
        .cost(&Block::original(geometry(8)))
        .unwrap_err();
    assert!(error.to_string().contains("too tired"), "{error}");
}

#[test]
fn an_original_that_the_runtime_cannot_run_leaves_the_others() {
    let target = Sleepy::leaked("no such text", "LeakyRelu");
    let plain = Geometry {
        activation: None,
        ..geometry(8)
    };
    let blocks = [Block::original(geometry(8)), Block::original(plain)];
    let costs = measured(target).costs(&blocks, &mut |_, _| {}).unwrap();
    let known: Vec<bool> = costs.iter().map(Option::is_some).collect();
    assert_eq!(known, [false, true]);
}
