#![allow(clippy::unwrap_used)]
//! Detections whose boxes are the same and whose masks, points or angles differ.

use sepconv_ir::Tensor;

use super::*;
use crate::tasks::detect::{Detector, Found, pairs};

/// Anchors: the third and the eighth are of objects.
const N: usize = 40;
const OBJECTS: [usize; 2] = [2, 7];

fn rows(dims: &[usize], values: &[f64]) -> Option<Rows> {
    let values = values.iter().map(|v| *v as f32).collect();
    Rows::of(&Tensor::from_f32(dims.to_vec(), values), 1, 1)
}

/// `[4 + 1 + values, N]`: two boxes of 40 by 20 pixels about (50, 30) and (150, 130) of one class, with
/// values beside.
fn tensor(beside: [&[f64]; 2]) -> Option<Rows> {
    let channels = 5 + beside[0].len();
    let mut all = vec![0.0; channels * N];
    for place in 0..N {
        let object = OBJECTS.iter().position(|o| *o == place);
        let offset = object.map_or(0.0, |o| 100.0 * o as f64);
        let own = [50.0 + offset, 30.0 + offset, 40.0, 20.0];
        let score = if object.is_some() { 0.9 } else { 0.01 };
        let values = object.map_or(beside[0], |o| beside[o]);
        for (c, v) in own.iter().chain(&[score]).chain(values).enumerate() {
            all[c * N + place] = *v;
        }
    }
    rows(&[1, channels, N], &all)
}

fn detector(outputs: &[Option<Rows>]) -> Detector {
    let names = vec!["y".to_owned(); outputs.len()];
    let runs = [outputs.to_vec()];
    let seen = Seen {
        names: &names,
        runs: &runs,
        picture: Some([3, 200, 200]),
    };
    match Layout::of(seen) {
        Found::Detector(layout, _) => Detector::of(seen, layout),
        other => panic!("{other:?}"),
    }
}

/// Detections of the original, and those that a model shares.
fn shared(original: &[Option<Rows>], model: &[Option<Rows>]) -> (usize, usize) {
    let counts = pairs(&detector(original), [original, model], 0);
    assert_eq!(counts.original, counts.model);
    (counts.original, counts.both)
}

/// Two planes of 50 by 50: the left half of every box, and the right one.
fn planes() -> Option<Rows> {
    let side = |right: bool| {
        move |cell: usize| {
            let x = (cell % 50) * 4;
            let is_right = (50..100).contains(&x) || x >= 150;
            if is_right == right { 1.0 } else { -1.0 }
        }
    };
    let all = [side(false), side(true)].map(|value| (0..2500).map(value).collect::<Vec<f64>>());
    rows(&[1, 2, 50, 50], &all.concat())
}

#[test]
fn boxes_with_another_mask_are_no_pairs() {
    let of = |a: [f64; 2], b: [f64; 2]| [tensor([&a, &b]), planes()];
    let original = of([3.0, 0.1], [3.0, 0.1]);
    assert_eq!(detector(&original).details(), Some("masks"));
    assert_eq!(detector(&original).outputs(), [0, 1]);
    // Of other coefficients, the same half.
    assert_eq!(shared(&original, &of([2.0, -0.5], [9.0, 1.0])), (2, 2));
    // The second object's other half.
    assert_eq!(shared(&original, &of([3.0, 0.1], [0.1, 3.0])), (2, 1));
    // Prototypes that are lost lose all masks.
    let lost = [
        tensor([&[3.0, 0.1]; 2]),
        rows(&[1, 2, 50, 50], &[-1.0; 5000]),
    ];
    assert_eq!(shared(&original, &lost), (2, 0));
    // A model without them has no masks.
    assert_eq!(shared(&original, &[tensor([&[3.0, 0.1]; 2]), None]), (2, 0));
}

#[test]
fn boxes_with_other_key_points_are_no_pairs() {
    let first = [40.0, 25.0, 0.9, 60.0, 35.0, 0.8, 500.0, 900.0, 0.1];
    let second = [140.0, 125.0, 0.9, 160.0, 135.0, 0.8, 158.0, 130.0, 0.1];
    let near = [40.0, 25.0, 0.9, 60.0, 35.0, 0.8, 48.0, 30.0, 0.1];
    let original = [tensor([&near, &second])];
    assert_eq!(detector(&original).details(), Some("key points"));
    assert_eq!(shared(&original, &original), (2, 2));
    // A point that the original does not show may be anywhere.
    assert_eq!(shared(&original, &[tensor([&first, &second])]), (2, 2));
    let moved = near.map(|v| if v > 1.0 { v + 12.0 } else { v });
    assert_eq!(shared(&original, &[tensor([&moved, &second])]), (2, 1));
    // Two numbers a point.
    let pairs = [40.0, 25.0, 60.0, 35.0];
    let others = [140.0, 125.0, 160.0, 135.0];
    let original = [tensor([&pairs, &others])];
    assert_eq!(detector(&original).details(), Some("key points"));
    let moved = pairs.map(|v| v + 12.0);
    assert_eq!(shared(&original, &[tensor([&moved, &others])]), (2, 1));
    // Fractions of the picture: coordinates are no visibilities.
    let fractions = |x: f64, y: f64| {
        let row = [0.2, 0.2, 0.8, 0.8, 0.9, 0.0];
        let points = [x, y, 0.6, 0.3, 0.45, 0.5, 0.35, 0.7, 0.65, 0.7, 0.5, 0.6];
        [rows(&[1, 1, 18], &[&row[..], &points].concat())]
    };
    let original = fractions(0.4, 0.3);
    assert_eq!(detector(&original).details(), Some("key points"));
    assert_eq!(shared(&original, &fractions(0.41, 0.31)), (1, 1));
    // Numbers that lie nowhere near their boxes are none.
    let far = [-7.0, 8.0, -3.0, 2.0];
    assert_eq!(detector(&[tensor([&far, &far])]).details(), None);
}

#[test]
fn boxes_that_are_turned_otherwise_are_no_pairs() {
    let original = [tensor([&[-0.2], &[1.2]])];
    assert_eq!(detector(&original).details(), Some("angles"));
    assert_eq!(shared(&original, &[tensor([&[-0.1], &[1.3]])]), (2, 2));
    assert_eq!(shared(&original, &[tensor([&[-0.2], &[0.0]])]), (2, 1));
}

#[test]
fn rows_and_outputs_of_their_own_have_details_too() {
    // Suppressed rows with points behind the class.
    let row = |x: f64| [10.0, 20.0, 30.0, 40.0, 0.9, 1.0, x, 25.0, x + 16.0, 35.0];
    let of = |x: f64| [rows(&[1, 2, 10], &[row(x), [0.0; 10]].concat())];
    assert_eq!(detector(&of(12.0)).details(), Some("key points"));
    assert_eq!(shared(&of(12.0), &of(12.5)), (1, 1));
    assert_eq!(shared(&of(12.0), &of(40.0)), (1, 0));
    // Boxes, scores and landmarks in three outputs.
    let of = |x: f64| {
        let boxes = (0..N).flat_map(|_| [10.0, 20.0, 30.0, 40.0]);
        let scores = (0..N).map(|place| f64::from(u8::from(place == 5)));
        let points = (0..N).flat_map(|_| [x, 25.0, x + 16.0, 35.0]);
        [
            rows(&[1, N, 4], &boxes.collect::<Vec<_>>()),
            rows(&[1, N, 1], &scores.collect::<Vec<_>>()),
            rows(&[1, N, 4], &points.collect::<Vec<_>>()),
        ]
    };
    assert_eq!(detector(&of(12.0)).details(), Some("key points"));
    assert_eq!(detector(&of(12.0)).outputs(), [0, 1, 2]);
    assert_eq!(shared(&of(12.0), &of(12.5)), (1, 1));
    assert_eq!(shared(&of(12.0), &of(40.0)), (1, 0));
}

/// Suppressed in the graph: as many rows as there are detections, in other pictures others.
#[test]
fn rows_may_be_as_many_as_detections() {
    let row = |x: f64, on: f64| [x, 20.0, x + 40.0, 60.0, 0.9, 1.0, on, -on];
    let picture = |rows_of: &[[f64; 8]]| {
        let output = rows(&[1, rows_of.len(), 8], &rows_of.concat());
        [output, planes()]
    };
    let one = picture(&[row(10.0, 3.0)]);
    let two = picture(&[row(10.0, 3.0), row(110.0, 3.0)]);
    let lost = picture(&[row(10.0, 3.0), row(110.0, -3.0)]);
    let detector = detector(&one);
    assert_eq!(detector.details(), Some("masks"));
    let both = |a: &[Option<Rows>], b: &[Option<Rows>]| pairs(&detector, [a, b], 0).both;
    assert_eq!(
        (both(&one, &one), both(&two, &two), both(&two, &lost)),
        (1, 2, 1)
    );
}

#[test]
fn overlaps_of_turned_boxes_are_those_of_their_polygons() {
    let square = turned(&[0.0, 0.0, 2.0, 2.0], 0.0);
    let eighth = turned(&[0.0, 0.0, 2.0, 2.0], std::f64::consts::FRAC_PI_4);
    // A regular octagon of apothem 1.
    let octagon = 8.0 * (2.0_f64.sqrt() - 1.0);
    let expected = octagon / (8.0 - octagon);
    assert!((turned_overlap([square, eighth]) - expected).abs() < 1e-12);
    assert!((turned_overlap([square, square]) - 1.0).abs() < 1e-12);
    let apart = turned(&[3.0, 0.0, 5.0, 2.0], 0.3);
    assert_eq!(turned_overlap([square, apart]), 0.0);
}

#[test]
fn key_points_are_as_similar_as_cocos_formula_says() {
    // A distance of the standard deviation twice: exp(-1/2).
    let area = 400.0_f64;
    let d = 2.0 * DEVIATION * area.sqrt();
    let seen = similarity(&[0.0, 0.0], &[d, 0.0], 2, area);
    assert!((seen - (-0.5_f64).exp()).abs() < 1e-12, "{seen}");
    assert_eq!(similarity(&[0.0, 0.0, 0.2], &[9.0, 9.0, 0.2], 3, area), 1.0);
}
