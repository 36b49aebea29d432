//! The transform on models built here: tract's outputs before and after.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Build, distance, fma, run, verify};
use sepconv_tract::{
    Choice, Families, Kept, Order, Plan, Selection, SeparateConvs, TransformError,
};
use tract_core::internal::*;
use tract_core::ops::cnn::{KernelFormat, PaddingSpec};
use tract_core::ops::nn::DataFormat;
use tract_core::transform::ModelTransform;

/// Whatever it costs.
fn exactly(how: SeparateConvs) -> SeparateConvs {
    SeparateConvs {
        costlier: true,
        ..how
    }
}

/// Every convolution of full rank computes the same as before, in every format.
#[test]
fn full_rank_is_the_convolution() {
    let data = [
        DataFormat::NCHW,
        DataFormat::NHWC,
        DataFormat::CHW,
        DataFormat::HWC,
    ];
    let kernels = [KernelFormat::OIHW, KernelFormat::HWIO, KernelFormat::OHWI];
    let mut tried = 0;
    for (i, (data_format, kernel_fmt)) in data
        .iter()
        .flat_map(|d| kernels.iter().map(move |k| (*d, *k)))
        .enumerate()
    {
        for group in [1, 2] {
            let build = Build {
                data_format,
                kernel_fmt,
                group,
                padding: match i % 3 {
                    0 => PaddingSpec::SameUpper,
                    1 => PaddingSpec::Valid,
                    _ => PaddingSpec::Explicit(tvec!(1, 0), tvec!(0, 2)),
                },
                strides: if i % 2 == 0 { tvec!(1, 1) } else { tvec!(2, 1) },
                dilations: if i % 4 < 2 { tvec!(1, 1) } else { tvec!(1, 2) },
                scalar_bias: i % 3 == 2,
                ..Build::default()
            };
            let model = build.model();
            let before = run(&model, 1);
            for order in ["dw-pw", "pw-dw", "spatial", "channel"] {
                let mut after = model.clone();
                let transform = exactly(SeparateConvs {
                    families: Families {
                        names: vec![order.into()],
                        order: match order {
                            "pw-dw" => Order::PwDw,
                            _ => Order::DwPw,
                        },
                        ..Families::default()
                    },
                    ..SeparateConvs::energy(1.0)
                });
                let plan = transform.apply(&mut after).unwrap();
                // The last rank of all: energies of 1 are reached before by rounding alone.
                assert_eq!(plan.rewritten().count(), 1, "{build:?} {order}");
                verify(&after);
                let d = distance(&before, &run(&after, 1));
                assert!(d < 1e-4, "{build:?} {order}: {d}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 96);
}

#[test]
fn one_axis_and_half_floats() {
    let line = Build {
        kernel: tvec!(5),
        strides: tvec!(2),
        dilations: tvec!(1),
        extent: tvec!(17),
        padding: PaddingSpec::Explicit(tvec!(2), tvec!(2)),
        ..Build::default()
    };
    let model = line.model();
    let mut after = model.clone();
    exactly(SeparateConvs::rank(5)).apply(&mut after).unwrap();
    verify(&after);
    let d = distance(&run(&model, 1), &run(&after, 1));
    assert!(d < 1e-4, "{d}");

    let half = Build {
        dtype: DatumType::F16,
        ..Build::default()
    };
    let model = half.model();
    let mut after = model.clone();
    SeparateConvs::rank(2).apply(&mut after).unwrap();
    verify(&after);
    let facts = after.nodes().iter().flat_map(|n| &n.outputs);
    assert!(
        facts
            .map(|o| o.fact.datum_type)
            .all(|t| t == DatumType::F16)
    );
}

#[test]
fn a_free_batch_stays_free() {
    let build = Build {
        free_batch: true,
        ..Build::default()
    };
    let model = build.model();
    let mut after = model.clone();
    exactly(SeparateConvs::rank(9)).apply(&mut after).unwrap();
    verify(&after);
    let fact = after.output_fact(0).unwrap();
    assert_eq!(fact.shape, model.output_fact(0).unwrap().shape);
    for batch in [1, 5] {
        let d = distance(&run(&model, batch), &run(&after, batch));
        assert!(d < 1e-4, "{d}");
    }
}

#[test]
fn rank_1_is_cheaper_and_full_rank_is_refused_where_it_is_not() {
    let model = Build::default().model();
    let mut after = model.clone();
    // As a transform among others.
    let transform: Box<dyn ModelTransform> = Box::new(SeparateConvs::rank(1));
    transform.transform(&mut after).unwrap();
    verify(&after);
    assert!(
        fma(&after) * 3 < fma(&model),
        "{} {}",
        fma(&after),
        fma(&model)
    );
    assert!(distance(&run(&model, 1), &run(&after, 1)) > 1e-3);
    // Its names: those of the old nodes, and below them those of the new ones.
    let names: Vec<&str> = after.nodes().iter().map(|n| n.name.as_str()).collect();
    assert!(
        names.contains(&"conv") && names.contains(&"conv/0.0"),
        "{names:?}"
    );

    let mut same = model.clone();
    let plan = SeparateConvs::rank(9).apply(&mut same).unwrap();
    assert_eq!(plan.layers[0].choice, Choice::Keep(Kept::NoSaving));
    assert_eq!(same.nodes().len(), model.nodes().len());
}

#[test]
fn energy_takes_the_fewest_macs_that_keep_it() {
    let model = Build::default().model();
    let mut kept = Vec::new();
    for share in [0.5, 0.9] {
        let mut after = model.clone();
        let plan = SeparateConvs::energy(share).apply(&mut after).unwrap();
        let (_, candidate) = plan.rewritten().next().unwrap();
        assert!(candidate.energy >= share && candidate.saves());
        kept.push((candidate.energy, fma(&after)));
    }
    assert!(kept[0].0 < kept[1].0 && kept[0].1 < kept[1].1, "{kept:?}");
}

#[test]
fn what_stays_says_why() {
    let kept = |build: Build, transform: &SeparateConvs| {
        let mut model = build.model();
        let nodes = model.nodes().len();
        let plan = transform.apply(&mut model).unwrap();
        assert_eq!(model.nodes().len(), nodes);
        match &plan.layers[0].choice {
            Choice::Keep(kept) => kept.to_string(),
            Choice::Separate(c) => panic!("{c:?}"),
        }
    };
    let rank = SeparateConvs::rank(1);
    let pointwise = Build {
        kernel: tvec!(1, 1),
        ..Build::default()
    };
    assert_eq!(kept(pointwise, &rank), "pointwise kernel");
    let depthwise = Build {
        group: 16,
        outputs: 16,
        ..Build::default()
    };
    assert_eq!(kept(depthwise, &rank), "depthwise already");
    let computed = Build {
        computed_kernel: true,
        ..Build::default()
    };
    assert_eq!(kept(computed, &rank), "weight is not a constant");
    let broken = Build {
        first_weight: Some(f32::NAN),
        ..Build::default()
    };
    assert_eq!(kept(broken, &rank), "weight is not finite");
    let skip = SeparateConvs {
        selection: Selection::new(&[], &["co*"]).unwrap(),
        ..rank
    };
    assert_eq!(kept(Build::default(), &skip), "not selected");
}

#[test]
fn a_plan_made_here_is_applied_there() {
    let build = Build::default();
    let mut first = build.model();
    let plan = SeparateConvs::rank(2).apply(&mut first).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    let plan: Plan = serde_json::from_str(&text).unwrap();
    let mut second = build.model();
    let again = SeparateConvs::plan(plan.clone())
        .apply(&mut second)
        .unwrap();
    assert_eq!(again, plan);
    assert_eq!(run(&first, 1), run(&second, 1));

    let edited = |edit: fn(&mut Plan)| {
        let mut plan = plan.clone();
        edit(&mut plan);
        let mut model = build.model();
        let error = SeparateConvs::plan(plan).apply(&mut model).unwrap_err();
        assert!(matches!(error, TransformError::Pass(_)));
        assert_eq!(model.nodes().len(), build.model().nodes().len());
        error.to_string()
    };
    assert_eq!(
        edited(|plan| plan.layers[0].layer = "other".into()),
        "layer 'other' of the plan: no such convolution"
    );
    assert_eq!(
        edited(|plan| candidate(plan).family = "wavelet".into()),
        "layer 'conv' of the plan: no family 'wavelet'"
    );
    assert_eq!(
        edited(|plan| candidate(plan).rank = 99),
        "layer 'conv' of the plan: family 'pw-dw' has no rank 99 here"
    );
}

fn candidate(plan: &mut Plan) -> &mut sepconv_tract::Candidate {
    match &mut plan.layers[0].choice {
        Choice::Separate(candidate) => candidate,
        Choice::Keep(kept) => panic!("{kept}"),
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    for (transform, text) in [
        (SeparateConvs::rank(0), "rank 0 is outside 1..=9"),
        (SeparateConvs::rank(10), "rank 10 is outside 1..=9"),
        (SeparateConvs::energy(1.5), "energy 1.5 is outside 0..1"),
    ] {
        let mut model = Build::default().model();
        let error = transform.apply(&mut model).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}
