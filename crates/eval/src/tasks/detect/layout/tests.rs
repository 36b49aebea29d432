#![allow(clippy::unwrap_used)]
//! Every layout, built by hand: the same two objects come out of each.

use sepconv_ir::Tensor;

use super::*;

/// Anchors of the layouts without suppression.
const N: usize = 40;

fn rows(dims: &[usize], values: &[f64]) -> Option<Rows> {
    let values = values.iter().map(|v| *v as f32).collect();
    Rows::of(&Tensor::from_f32(dims.to_vec(), values), 1, 1)
}

fn found(names: &[&str], outputs: &[Option<Rows>], picture: Option<[usize; 3]>) -> Found {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let runs = [outputs.to_vec()];
    Layout::of(Seen {
        names: &names,
        runs: &runs,
        picture,
    })
}

/// The layout of outputs, and their detections.
#[track_caller]
fn detected(
    names: &[&str],
    outputs: &[Option<Rows>],
    picture: Option<[usize; 3]>,
) -> (Layout, Vec<Detection>) {
    match found(names, outputs, picture) {
        Found::Detector(layout, _) => (layout, layout.detections(outputs, 0)),
        other => panic!("{other:?}"),
    }
}

/// Class 1 at [10, 20, 30, 40] and class 0 at [50, 60, 90, 80].
#[track_caller]
fn are_the_two(seen: &[Detection]) {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
    let expected = [
        (1, 0.9, [10.0, 20.0, 30.0, 40.0]),
        (0, 0.6, [50.0, 60.0, 90.0, 80.0]),
    ];
    assert_eq!(seen.len(), 2, "{seen:?}");
    for (d, (class, score, corners)) in seen.iter().zip(expected) {
        let same = d.corners.iter().zip(corners).all(|(a, b)| near(*a, b));
        assert!(d.class == class && near(d.score, score) && same, "{seen:?}");
    }
}

/// Rows of centre, extents and two scores, for all anchors: the second object twice.
fn anchors() -> Vec<[f64; 6]> {
    let mut all = vec![[5.0, 5.0, 8.0, 8.0, 0.01, 0.02]; N];
    all[3] = [20.0, 30.0, 20.0, 20.0, 0.2, 0.9];
    all[7] = [70.0, 70.0, 40.0, 20.0, 0.6, 0.0];
    all[8] = [70.5, 70.0, 40.0, 20.0, 0.5, 0.0];
    all
}

fn turned(rows: &[Vec<f64>]) -> Vec<f64> {
    let columns = 0..rows[0].len();
    columns
        .flat_map(|c| rows.iter().map(move |row| row[c]))
        .collect()
}

#[test]
fn one_tensor_with_channels_first() {
    let rows_of: Vec<Vec<f64>> = anchors().iter().map(|a| a.to_vec()).collect();
    let output = rows(&[1, 6, N], &turned(&rows_of));
    let (layout, seen) = detected(&["output0"], std::slice::from_ref(&output), None);
    assert!(matches!(
        layout,
        Layout::One(One {
            first: 4,
            classes: 2,
            ..
        })
    ));
    are_the_two(&seen);
    // Coefficients of masks behind the scores are no scores.
    let with_masks: Vec<Vec<f64>> = anchors()
        .iter()
        .map(|a| [&a[..], &[-3.0, 8.0]].concat())
        .collect();
    let output = rows(&[1, 8, N], &turned(&with_masks));
    are_the_two(&detected(&["output0"], &[output], None).1);
}

#[test]
fn one_tensor_with_an_objectness() {
    let with = |a: &[f64; 6]| {
        let objectness = a[4].max(a[5]);
        [
            a[0],
            a[1],
            a[2],
            a[3],
            objectness,
            a[4] / objectness,
            a[5] / objectness,
        ]
    };
    let values: Vec<f64> = anchors().iter().flat_map(with).collect();
    let (layout, seen) = detected(&["output"], &[rows(&[1, N, 7], &values)], None);
    assert!(matches!(
        layout,
        Layout::One(One {
            first: 5,
            classes: 2,
            ..
        })
    ));
    are_the_two(&seen);
}

#[test]
fn offsets_on_grids_are_decoded_where_the_strides_are_known() {
    // 64 by 64: 64 cells of 8, 16 of 16, 4 of 32 pixels.
    let mut all = vec![[0.5, 0.5, 0.0, -0.1, 0.01, 0.5, 0.5]; 84];
    // Column 1, row 3 of 8; column 2, row 2 of 32 is none, so of 16: (1, 2).
    all[3 * 8 + 1] = [1.5, 0.75, 2.5_f64.ln(), 2.5_f64.ln(), 1.0, 0.1, 0.9];
    all[64 + 2 * 4 + 1] = [3.375, 2.375, 2.5_f64.ln(), 1.25_f64.ln(), 0.6, 1.0, 0.0];
    let output = rows(&[1, 84, 7], &all.concat());
    let (layout, seen) = detected(
        &["output"],
        std::slice::from_ref(&output),
        Some([3, 64, 64]),
    );
    assert!(matches!(layout, Layout::One(One { grids: Some(_), .. })));
    are_the_two(&seen);
    let other = found(&["output"], &[output], Some([3, 96, 96]));
    assert!(matches!(other, Found::Undecoded(_)), "{other:?}");
}

#[test]
fn boxes_and_scores_apart() {
    let corners = |a: &[f64; 6]| {
        let [x, y, w, h] = [a[0], a[1], a[2], a[3]];
        [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
    };
    let boxes: Vec<f64> = anchors().iter().flat_map(corners).collect();
    // Class 0 is the background.
    let probabilities = |a: &[f64; 6]| {
        let (first, second) = (a[4].min(1.0 - a[5]), a[5]);
        [1.0 - first - second, first, second]
    };
    let scores: Vec<f64> = anchors().iter().flat_map(probabilities).collect();
    let outputs = [rows(&[1, N, 3], &scores), rows(&[1, N, 4], &boxes)];
    let (layout, seen) = detected(&["scores", "boxes"], &outputs, None);
    assert!(matches!(
        layout,
        Layout::Apart(Apart {
            background: true,
            corners: true,
            ..
        })
    ));
    // Classes are counted without it.
    are_the_two(&seen);
}

#[test]
fn rows_and_lists_of_what_was_suppressed() {
    let two = [
        [10.0, 20.0, 30.0, 40.0, 0.9, 1.0],
        [50.0, 60.0, 90.0, 80.0, 0.6, 0.0],
    ];
    let none = [0.0; 6];
    let output = rows(&[1, 3, 6], &[&two[0][..], &two[1], &none].concat());
    let (layout, seen) = detected(&["output0"], &[output], None);
    assert!(matches!(layout, Layout::Rows { .. }));
    are_the_two(&seen);
    let batched = two.map(|r| [0.0, r[0], r[1], r[2], r[3], r[5], r[4]]);
    let output = rows(&[2, 7], &batched.concat());
    let (layout, seen) = detected(&["output"], &[output], None);
    assert!(matches!(layout, Layout::Batched { .. }));
    are_the_two(&seen);
    // As TensorRT's operator has them, and as torchvision does.
    let column = |c: usize| [two[0][c], two[1][c], 0.0];
    let boxes = [&two[0][..4], &two[1][..4], &none[..4]].concat();
    let lists = [
        rows(&[1, 1], &[2.0]),
        rows(&[1, 3, 4], &boxes),
        rows(&[1, 3], &column(4)),
        rows(&[1, 3], &column(5)),
    ];
    let names = ["num_dets", "det_boxes", "det_scores", "det_classes"];
    let (layout, seen) = detected(&names, &lists, None);
    assert!(matches!(
        layout,
        Layout::Lists(Lists {
            count: Some(0),
            scores: 2,
            classes: 3,
            ..
        })
    ));
    are_the_two(&seen);
    let free = [
        rows(&[3, 4], &boxes),
        rows(&[3], &column(5)),
        rows(&[3], &column(4)),
    ];
    are_the_two(&detected(&["boxes", "labels", "scores"], &free, None).1);
}

#[test]
fn other_outputs_are_no_detections() {
    // Probabilities over time, a map, embeddings, logits.
    let probabilities: Vec<f64> = (0..80 * 10).map(|i| f64::from(i % 7) / 7.0).collect();
    // A mask of two classes, whose regions end at straight lines.
    let mask: Vec<f64> = (0..24 * 20)
        .map(|i| f64::from(u8::from(i / 20 > 11)))
        .collect();
    let cases: [(&[usize], Vec<f64>); 5] = [
        (&[1, 24, 20], mask),
        (&[1, 80, 10], probabilities.clone()),
        (&[1, 8, 10, 10], probabilities),
        (&[1, 512], vec![0.1; 512]),
        (
            &[1, 50, 6],
            (0..300).map(|i| f64::from(i % 13) - 6.0).collect(),
        ),
    ];
    for (dims, values) in cases {
        assert_eq!(
            found(&["y"], &[rows(dims, &values)], None),
            Found::Other,
            "{dims:?}"
        );
    }
    assert_eq!(found(&["y"], &[None], None), Found::Other);
}

#[test]
fn a_distribution_over_seven_classes_is_no_box() {
    for class in [3, 5, 6] {
        let mut row = [0.0; 7];
        row[class] = 1.0;
        let seen = found(&["p"], &[rows(&[1, 7], &row)], None);
        assert!(!matches!(seen, Found::Detector(..)), "{class}: {seen:?}");
    }
}

#[test]
fn lists_may_number_classes_from_one() {
    let from_one = |classes: [f64; 2], name: &str| {
        let boxes = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 90.0, 80.0];
        let outputs = vec![
            rows(&[1, 2, 4], &boxes),
            rows(&[1, 2], &[0.9, 0.6]),
            rows(&[1, 2], &classes),
        ];
        let names = ["boxes", "scores", name].map(str::to_owned);
        let Found::Detector(layout, _) = found(&["boxes", "scores", name], &outputs, None) else {
            panic!("{name}");
        };
        layout.numbers_from_one(Seen {
            names: &names,
            runs: &[outputs],
            picture: None,
        })
    };
    assert!(from_one([1.0, 3.0], "labels"));
    assert!(!from_one([0.0, 3.0], "labels"));
    assert!(from_one([0.0, 3.0], "detection_classes"));
}
