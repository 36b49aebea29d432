//! Every lowering of every order computes the same as the convolution at full rank, and the
//! same as every other lowering below it.
#![allow(clippy::unwrap_used)]

use sepconv_analysis::{Assumptions, Pins, Shapes};
use sepconv_ir::Graph;

use crate::plan::Planner;
use crate::planners::UniformRank;
use crate::testing::{Map, conv, run, weights};
use crate::{Lowering, Order, Selection, Survey, apply, lowerings};

fn rewrite(
    graph: &Graph,
    order: Order,
    rank: usize,
    how: &'static dyn Lowering,
) -> (Graph, String) {
    let shapes = Shapes::infer(graph, &Pins::default(), &Assumptions::default()).unwrap();
    let all = Selection::default();
    let survey = Survey::of(graph, &shapes, &all, &order.into(), &mut |_, _| {}).unwrap();
    let planner = UniformRank {
        rank,
        costlier: true,
    };
    let plan = planner.plan(&survey, 1).unwrap();
    let mut graph = graph.clone();
    let chain = |layer: &crate::Surveyed, family: &str, rank| layer.chain(family, rank);
    let applied = apply(&mut graph, &survey, &plan, Some(how), chain).unwrap();
    (graph, applied[0].lowering.clone())
}

fn input(channels: usize) -> Map {
    Map {
        channels,
        rows: 8,
        columns: 8,
        data: weights(channels * 64),
    }
}

fn distance(a: &Map, b: &Map) -> f64 {
    assert_eq!(
        (a.channels, a.rows, a.columns),
        (b.channels, b.rows, b.columns)
    );
    let square = |v: f32| f64::from(v) * f64::from(v);
    let noise: f64 = a.data.iter().zip(&b.data).map(|(a, b)| square(a - b)).sum();
    let signal: f64 = a.data.iter().map(|v| square(*v)).sum();
    (noise / signal).sqrt()
}

#[test]
fn every_lowering_is_exact_at_full_rank_and_agrees_below() {
    for (co, ci, groups, stride) in [(12, 6, 1, 1), (12, 6, 1, 2), (24, 24, 2, 1)] {
        let original = conv(co, ci, groups, stride);
        let expected = run(&original, input(ci));
        for order in [Order::DwPw, Order::PwDw] {
            let full = 9.min(if order == Order::DwPw { co } else { ci } / groups);
            for rank in [full, 2, 1] {
                let mut results = Vec::new();
                for how in lowerings() {
                    let (graph, _) = rewrite(&original, order, rank, *how);
                    results.push(run(&graph, input(ci)));
                }
                let case = format!("{co}-{ci}/{groups} s{stride} {order:?} {rank}");
                let error = distance(&expected, &results[0]);
                assert_eq!(error < 1e-5, rank == full, "{case}: {error}");
                for other in &results[1..] {
                    let error = distance(&results[0], other);
                    assert!(error < 1e-5, "{case}: lowerings differ by {error}");
                }
            }
        }
    }
}

#[test]
fn names_are_readable_and_the_output_keeps_its_own() {
    let (graph, _) = rewrite(&conv(12, 6, 1, 1), Order::DwPw, 2, lowerings()[0]);
    let lines: Vec<String> = graph.to_string().lines().map(str::to_owned).collect();
    let ops: Vec<&String> = lines.iter().filter(|l| l.contains(" = ")).collect();
    assert!(ops[0].starts_with("c/dw.out = Conv{") && ops[0].ends_with("# c/dw"));
    assert!(
        ops[1].ends_with("(c/dw.out, c/pw.weight, b) # c/pw"),
        "{}",
        ops[1]
    );
    assert!(
        ops[3].ends_with("(c/dw_1.out, c/pw_1.weight) # c/pw_1"),
        "{}",
        ops[3]
    );
    assert_eq!(ops[4], "y = Add(c/pw.out, c/pw_1.out) # c/add");
    assert!(
        !lines.iter().any(|l| l.starts_with("const w:")),
        "the old weight is gone"
    );
}

#[test]
fn a_lowering_that_does_not_apply_gives_way() {
    let concat = crate::lowering("concat").unwrap();
    let used = |order, groups| rewrite(&conv(24, 24, groups, 1), order, 2, concat).1;
    assert_eq!(used(Order::DwPw, 1), "concat");
    assert_eq!(used(Order::DwPw, 2), "branches");
    assert_eq!(used(Order::PwDw, 1), "branches");
}

#[test]
fn padding_is_made_once_for_all_branches_and_the_filters_pad_no_more() {
    let padded = crate::lowering("branches-padded").unwrap();
    let (graph, used) = rewrite(&conv(12, 6, 1, 2), Order::DwPw, 2, padded);
    assert_eq!(used, "branches-padded");
    let count = |name: &str| graph.operators().filter(|(_, op)| op.is(name)).count();
    assert_eq!(
        (count("Shape"), count("ConstantOfShape"), count("Concat")),
        (1, 2, 2)
    );
    let convolutions = graph.operators().filter(|(_, op)| op.is("Conv"));
    for (_, op) in convolutions {
        assert_eq!(op.ints("pads"), Some([0; 4].as_slice()));
    }
    let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
    let extents = |name: &str| shapes.extents(graph.find(name).unwrap());
    assert_eq!(extents("c/dw/padded2.out"), Some(vec![1, 6, 10, 10]));
    assert_eq!(extents("c/dw.out"), Some(vec![1, 6, 4, 4]));
    // A stage that pads nothing is written as without.
    let (graph, _) = rewrite(&conv(12, 6, 1, 2), Order::PwDw, 1, padded);
    assert_eq!(graph.find("c/pw/padded2.out"), None);
    assert!(graph.find("c/dw/padded2.out").is_some());
}

#[test]
fn the_input_of_a_chain_is_padded_once_and_pointwise_stages_compute_the_rim() {
    let padded = crate::lowering("branches-input-padded").unwrap();
    assert!(padded.computes_rim() && padded.pads_apart());
    let (graph, used) = rewrite(&conv(12, 6, 1, 2), Order::PwDw, 2, padded);
    assert_eq!(used, "branches-input-padded");
    let count = |name: &str| graph.operators().filter(|(_, op)| op.is(name)).count();
    assert_eq!((count("Shape"), count("Concat"), count("Conv")), (1, 2, 4));
    let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
    let extents = |name: &str| shapes.extents(graph.find(name).unwrap());
    assert_eq!(extents("c/input/padded2.out"), Some(vec![1, 6, 10, 10]));
    for (name, extent) in [("c/pw_1.out", 10), ("c/dw_1.out", 4)] {
        let made = extents(name).unwrap();
        assert_eq!(made[2..], [extent, extent], "{name}");
    }
    // A chain that begins with its filters is padded at these.
    let (_, used) = rewrite(&conv(12, 6, 1, 1), Order::DwPw, 2, padded);
    assert_eq!(used, "branches");
    // Copies are made of the padded input.
    let tiled = crate::lowering("tiled-padded").unwrap();
    assert!(!tiled.computes_rim());
    let (graph, _) = rewrite(&conv(12, 6, 1, 1), Order::DwPw, 2, tiled);
    let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
    let extents = |name: &str| shapes.extents(graph.find(name).unwrap());
    assert_eq!(extents("c/tile.out"), Some(vec![1, 12, 10, 10]));
    assert_eq!(extents("c/dw.out"), Some(vec![1, 12, 8, 8]));
}
