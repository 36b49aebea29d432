//! Reports made by hand, for tests.

use std::collections::BTreeMap;

use super::{
    CalibrationReport, DataReport, Kind, LatencyReport, Report, ReportSettings, SCHEMA, Versions,
};
use sepconv::Budget;
use sepconv::Size;
use sepconv::{CurvePoint, Series};
use sepconv_eval::ComparedOn;
use sepconv_eval::OutputComparison;
use sepconv_eval::WorstChannel;
use sepconv_eval::{Against, Evaluation, Measure, Metric};
use sepconv_eval::{BenchRun, ModelTiming, Panel, Raster, ShownSample};
use sepconv_passes::{Candidate, Choice, Kept, LayerPlan};
use sepconv_spec::{LayerFit, LayerRecord, LayerTime, Schedule, Try};

/// Every report by name.
pub(super) fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("evaluated", evaluated()),
        ("restored", restored()),
        ("related", related()),
        ("snr", snr_only()),
        ("not-run", not_run()),
        ("hundred", hundred_layers()),
        ("hostile", hostile()),
        ("ranks", many_ranks()),
        ("empty", empty()),
        ("calibrated", calibrated()),
        ("swept", swept()),
        ("regressed", regressed()),
        ("shown", shown()),
    ]
}

/// Figures of a classifier on 10,000 labelled samples.
fn accuracy(value: f64) -> Option<Evaluation> {
    let of = |metric, against, value: f64| {
        let hits = (value * 100.0).round() as usize;
        let share = Measure::share(metric, against, "logits", hits, 10_000);
        Measure { value, ..share }
    };
    let primary = of(Metric::TopOne, Against::Labels, value);
    let top5 = of(
        Metric::TopFive,
        Against::Labels,
        100.0 - (100.0 - value) / 10.0,
    );
    let agreement = of(Metric::Agreement, Against::Original, value);
    let kl = Measure::mean(Metric::Kl, Against::Original, "logits", &[0.01, 0.03]);
    Some(Evaluation {
        measures: vec![primary.clone(), top5, agreement, kl],
        primary,
        task: None,
        largest_classes: BTreeMap::new(),
    })
}

/// Figures of an image-to-image model on 7 pictures.
fn restoration(value: f64) -> Option<Evaluation> {
    let primary = Measure {
        value,
        stderr: Some(0.3),
        ..Measure::mean(Metric::Psnr, Against::Target, "y", &[value; 7])
    };
    let ssim = Measure::mean(Metric::Ssim, Against::Target, "y", &[0.9; 7]);
    let snr = Measure::mean(Metric::Snr, Against::Original, "y", &[f64::INFINITY; 7]);
    Some(Evaluation {
        measures: vec![primary.clone(), ssim, snr],
        primary,
        task: None,
        largest_classes: BTreeMap::new(),
    })
}

fn after(report: &mut Report) -> &mut Size {
    report.compressed.get_or_insert_default()
}

/// An image-to-image model, evaluated with a target.
pub(super) fn restored() -> Report {
    let mut report = evaluated();
    report.original.evaluation = restoration(30.33);
    after(&mut report).evaluation = restoration(29.91);
    for point in &mut report.curve {
        let value = match point.label.as_str() {
            "original" => 30.33,
            "result" => 29.91,
            _ => 30.33 - 4.0 * (1.0 - point.macs),
        };
        point.evaluation = restoration(value);
    }
    report
}

/// With samples before and after.
pub(super) fn shown() -> Report {
    let mut report = restored();
    let picture = |width, shade: usize| {
        Raster::of(120, width, |y, x| {
            [x, y, shade].map(|v| (2 * v % 256) as u8)
        })
    };
    let sample = |(sample, width): (usize, usize)| ShownSample {
        sample,
        panels: ["input", "original: 12 detections", "rewritten <b>"]
            .iter()
            .enumerate()
            .map(|(i, caption)| Panel {
                caption: (*caption).to_owned(),
                picture: picture(width, 40 * i),
            })
            .collect(),
    };
    report.pictures = [(0, 224), (4, 60)].map(sample).to_vec();
    report
}

/// Evaluated without labels, against the original alone.
pub(super) fn related() -> Report {
    let mut report = evaluated();
    let agreement = |hits| {
        let of = |hits| Measure::share(Metric::Agreement, Against::Original, "logits", hits, 100);
        Some(Evaluation {
            primary: of(hits),
            measures: vec![of(hits)],
            task: None,
            largest_classes: BTreeMap::new(),
        })
    };
    report.original.evaluation = agreement(100);
    after(&mut report).evaluation = agreement(97);
    for point in &mut report.curve {
        point.evaluation = agreement((100.0 * point.macs.min(1.0)) as usize);
    }
    report
}

/// A point of the curve.
pub(super) fn point(label: &str, macs: f64, snr_db: Option<f64>, value: Option<f64>) -> CurvePoint {
    CurvePoint {
        series: match label {
            "original" => Series::Original,
            "result" => Series::Result,
            _ => Series::Uniform,
        },
        time: None,
        label: label.into(),
        macs,
        params: (macs * 1.05).min(1.0),
        snr_db,
        evaluation: value.and_then(accuracy),
    }
}

/// A rewritten layer.
pub(super) fn layer(name: &str, before: Option<u64>, after: Option<u64>) -> LayerRecord {
    let candidate = Candidate {
        family: "dw-pw".into(),
        rank: 2,
        macs_before: before.unwrap_or_default(),
        macs: after.unwrap_or_default(),
        params: 1,
        energy: 0.84,
        weight_error: 0.1234,
        lowering: None,
    };
    LayerRecord {
        lowering: Some("branches".into()),
        macs_before: before,
        macs_after: after,
        ..LayerRecord::of(LayerPlan {
            layer: name.into(),
            choice: Choice::Separate(candidate),
        })
    }
}

fn kept(name: &str, macs: Option<u64>, reason: &str) -> LayerRecord {
    LayerRecord {
        lowering: None,
        choice: Choice::Keep(Kept::Malformed(reason.into())),
        ..layer(name, macs, macs)
    }
}

fn output(name: &str) -> OutputComparison {
    OutputComparison {
        name: name.into(),
        shape: vec![1, 10],
        max_abs: Some(0.81234),
        max_rel: Some(0.0512),
        snr_db: Some(21.34),
        cosine: Some(0.996_31),
        top1_agreement: Some(0.9841),
        worst_channel: Some(WorstChannel {
            axis: Some(1),
            channel: 3,
            channels: 10,
            snr_db: Some(19.87),
            stderr_db: None,
        }),
        ..Default::default()
    }
}

/// With accuracy.
pub(super) fn evaluated() -> Report {
    Report {
        schema: SCHEMA,
        kind: Kind::Compress,
        model: "models/resnet20.onnx".into(),
        output: Some("models/resnet20.sep.onnx".into()),
        original: Size { macs: 40_551_040, params: 269_722, bytes: 1_082_112, evaluation: accuracy(91.73) },
        compressed: Some(Size { macs: 18_085_760, params: 121_410, bytes: 498_310, evaluation: accuracy(91.32) }),
        inputs: ComparedOn::Test,
        samples: 128,
        outputs: vec![output("logits")],
        task: None,
        pictures: Vec::new(),
        not_run: None,
        layers: vec![
            layer("/layer1/layer1.0/conv1/Conv", Some(2_359_296), Some(1_048_576)),
            layer("/layer2/layer2.0/conv1/Conv", Some(4_718_592), Some(1_900_544)),
            kept("/layer2/layer2.0/shortcut/Conv", Some(131_072), "pointwise kernel"),
            layer("/layer3/layer3.2/conv2/Conv", Some(2_359_296), Some(557_056)),
        ],
        unrewritten: None,
        expanded: 0,
        curve: vec![
            point("rank 1", 0.169, Some(3.1), Some(62.41)),
            point("rank 2", 0.293, Some(8.4), Some(85.02)),
            point("rank 3", 0.418, Some(13.2), Some(89.61)),
            point("result", 0.446, Some(21.3), Some(91.32)),
            point("rank 4", 0.542, Some(17.7), Some(90.71)),
            point("rank 5", 0.667, Some(22.9), Some(91.34)),
            point("rank 6", 0.791, Some(29.5), Some(91.61)),
            point("rank 7", 0.915, Some(38.0), Some(91.70)),
            point("original", 1.0, None, Some(91.73)),
        ],
        curve_complete: true,
        settings: ReportSettings {
            families: Vec::new(),
            calibration: None,
            command: Some("sepconv compress models/resnet20.onnx --target-macs 0.45 --eval shared/cifar10-test.npz --report out".into()),
            budget: Some(Budget::TargetMacs(0.45)),
            order: sepconv_passes::Order::Best,
            lowering: "auto".into(),
            assumed: vec!["input: batch = 1".into()],
            shaped: vec!["input[2] = 32".into()],
            eval: Some(DataReport { path: "shared/cifar10-test.npz".into(), samples: Some(10_000) }),
        },
        seed: 0,
        solution: None,
        tries: Vec::new(),
        verdict: None,
        tuning: None,
        eight_bits: None,
        floats: None,
        timing: None,
        versions: Versions { sepconv: "0.1.0", target: "tract", target_version: "0.23.9".into(), latency: None },
        machine: "AMD EPYC, 2 cores".into(),
    }
}

/// Without labelled data.
pub(super) fn snr_only() -> Report {
    let mut report = evaluated();
    report.settings.eval = None;
    report.settings.budget = Some(Budget::MinSnr(20.0));
    report.original.evaluation = None;
    after(&mut report).evaluation = None;
    for point in &mut report.curve {
        point.evaluation = None;
    }
    report
}

/// A model that the runtime can't run.
pub(super) fn not_run() -> Report {
    let mut report = snr_only();
    report.not_run =
        Some("tract can't run model.onnx: node 'Attention_7': operator Attention".into());
    report.outputs.clear();
    for point in &mut report.curve {
        point.snr_db = None;
    }
    report.settings.command = None;
    report.curve_complete = false;
    report
}

/// Many layers with long names, some of unknown shape.
pub(super) fn hundred_layers() -> Report {
    let mut report = evaluated();
    report.layers = (0..100u64)
        .map(|i| {
            let name = format!(
                "/backbone/features/stage{}/block.{i}/conv_3x3/branch_main/Conv_{i}",
                i / 20
            );
            let macs = 115_605_504 / (1 + i % 17) * (1 + i % 3);
            match i % 7 {
                5 => kept(&name, Some(macs / 9), "pointwise kernel"),
                6 => kept(&name, None, "input shape unknown"),
                _ => layer(&name, Some(macs), Some(macs / (2 + i % 5))),
            }
        })
        .collect();
    report
}

/// Names that are markup, of other scripts, or of characters that no page may hold.
pub(super) fn hostile() -> Report {
    let script = r#"<script>alert("1")</script>"#;
    let mut report = snr_only();
    report.model = format!("dir/{script}&amp;'層\u{0}.onnx");
    report.output = Some("a\"onload=\"x".into());
    report.layers = vec![
        layer(script, Some(1000), Some(400)),
        layer(
            "層/畳み込み/第三ブロック/深さ方向の畳み込み層その一の二の三",
            Some(900),
            Some(500),
        ),
        layer(
            "\u{202e}abc\u{1b}[31m\n\"quoted\" & <b>",
            Some(3),
            Some(4_000),
        ),
        kept("&", None, "<b>why</b>"),
        layer("طبقة", Some(700), Some(300)),
        layer(
            "\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}",
            Some(700),
            Some(300),
        ),
    ];
    let mut odd = output(&format!("out{script}"));
    odd.not_compared = Some("shapes differ: [1] and [<2>]".into());
    let mut same = output("same");
    (same.max_abs, same.snr_db) = (Some(0.0), None);
    let mut tiny = output("tiny");
    tiny.max_abs = Some(1.2e-7);
    tiny.cosine = Some(1.0 - 3e-12);
    tiny.top1_agreement = None;
    report.outputs = vec![odd, same, tiny];
    report.curve.push(point(script, 0.6, Some(15.0), None));
    report.settings.command = Some(format!("sepconv compress '{script}' --layers '*&*'"));
    report
}

/// The ranks of 5x5 kernels, close together, and error bars that reach 0 and 100 %.
fn many_ranks() -> Report {
    let mut report = evaluated();
    report.curve = (1..=24)
        .map(|k| {
            let value = 100.0 - 95.0 * (-0.25 * f64::from(k)).exp();
            let mut point = point(&format!("rank {k}"), 0.04 * f64::from(k), None, Some(value));
            if let Some(evaluation) = &mut point.evaluation {
                evaluation.primary.stderr = Some(3.0);
            }
            point
        })
        .collect();
    report.curve.push(point("result", 0.08, None, Some(42.4)));
    report.curve.push(point("original", 1.0, None, Some(100.0)));
    report
}

/// Nothing to show.
fn empty() -> Report {
    let mut report = not_run();
    (report.layers, report.curve) = (Vec::new(), Vec::new());
    (report.original, report.compressed) = (Size::default(), Some(Size::default()));
    report.model = String::new();
    report
}

/// A run of two models.
pub(super) fn timing() -> BenchRun {
    let model = |file: &str, macs, median, speed_up: [f64; 3]| ModelTiming {
        file: file.into(),
        macs,
        inputs: vec![vec![1, 3, 32, 32]],
        timing: sepconv_latency::Timing {
            min: 0.9 * median,
            median,
            mad: 0.01 * median,
            samples: 30,
        },
        speed_up: sepconv_latency::Ratio {
            median: speed_up[0],
            low: speed_up[1],
            high: speed_up[2],
        },
    };
    BenchRun {
        target: "onnxruntime",
        version: "1.27.0".into(),
        threads: 1,
        machine: "AMD EPYC, 2 cores".into(),
        models: vec![
            model("models/resnet20.onnx", 40_551_040, 2.5e-3, [1.0; 3]),
            model(
                "models/resnet20.sep.onnx",
                18_085_760,
                1.25e-3,
                [2.0, 1.9, 2.1],
            ),
        ],
    }
}

/// Fitted to data for a runtime, with all that is known of layers.
pub(super) fn calibrated() -> Report {
    let mut report = evaluated();
    report.settings.families = vec!["dw-pw".into(), "tucker".into()];
    report.settings.calibration = Some(CalibrationReport {
        data: "shared/train.npz".into(),
        samples: Some(2_000),
        max_samples: Some(2_000),
        positions: 60_000,
        held_out_every: 10,
        weighted: true,
        schedule: Schedule::Sequential,
        fit: sepconv_factor::FitOptions::default(),
    });
    report.tries = [(0.31, false), (0.52, true), (0.4493, true)]
        .map(|(fraction, holds)| Try {
            asked: fraction + 0.01,
            fraction: Some(fraction),
            expected_loss: Some(0.02 / fraction),
            measured: Some(99.0 + fraction),
            limit: None,
            holds,
        })
        .to_vec();
    report.solution = Some(sepconv_planning::Solution {
        fraction: 0.4493,
        loss: 0.012,
        bound: 0.0119,
        time: Some(0.581),
        ..sepconv_planning::Solution::default()
    });
    report.timing = Some(timing());
    report.versions.latency = Some(LatencyReport {
        target: "onnxruntime",
        version: "1.27.0".into(),
        threads: 1,
    });
    for layer in report.layers.iter_mut().filter(|l| l.is_rewritten()) {
        layer.time = Some(LayerTime {
            before: 1.25e-3,
            after: 0.61e-3,
        });
        layer.spectrum = vec![0.614, 0.84, 0.921, 0.956, 0.978, 0.989, 0.995, 0.998, 1.0];
        layer.fit = Some(LayerFit {
            output_error: 0.041,
            held_out_error: Some(0.043),
            activated_error: None,
            rounds: 5,
        });
    }
    for point in &mut report.curve {
        point.time = match point.series {
            Series::Original => Some(1.0),
            Series::Result => Some(0.5),
            _ => None,
        };
    }
    report
}

/// Several series on 10,000 labelled samples.
pub(super) fn swept() -> Report {
    let mut report = evaluated();
    (report.kind, report.output, report.compressed) = (Kind::Sweep, None, None);
    (report.layers, report.outputs) = (Vec::new(), Vec::new());
    (report.inputs, report.samples) = (ComparedOn::Test, 250);
    report.model = "shared/models/resnet20-cifar10.onnx".into();
    report.settings.budget = None;
    report.settings.command = Some(
        "sepconv sweep shared/models/resnet20-cifar10.onnx --calib shared/train.npz --eval \
         shared/cifar10-test.npz --report out"
            .into(),
    );
    let mut curve = vec![point("original", 1.0, None, Some(91.73))];
    // Rate at which each series nears the original as MACs grow.
    let series = [
        (Series::Allocated, 14.0, 0.08),
        (Series::Uniform, 9.0, 0.1),
        (Series::PaperDwPw, 5.0, 0.13),
        (Series::PaperPwDw, 4.3, 0.15),
        (Series::PaperEnergy, 3.6, 0.17),
    ];
    for (series, speed, from) in series {
        for k in 1..=7 {
            let macs = from + 0.118 * f64::from(k - 1);
            let value = 91.8 - 81.8 * (-speed * (macs - from + 0.04)).exp();
            let label = match series {
                Series::Allocated => format!("{:.0} % of the MACs", 100.0 * macs),
                Series::PaperEnergy => format!("energy {:.2}", 0.6 + 0.05 * f64::from(k)),
                _ => format!("rank {k}"),
            };
            let mut point = point(&label, macs, None, Some(value));
            point.series = series;
            point.params = 0.04 + 0.93 * macs;
            point.time = (series == Series::Allocated || series == Series::PaperDwPw)
                .then_some(0.25 + 0.8 * macs);
            curve.push(point);
        }
    }
    curve[0].time = Some(1.0);
    curve.sort_by(|a, b| a.macs.total_cmp(&b.macs));
    report.curve = curve;
    report
}

/// The same with an error in place of the accuracy.
pub(super) fn regressed() -> Report {
    let mut report = swept();
    let error = |evaluation: &mut Option<Evaluation>| {
        if let Some(evaluation) = evaluation {
            let primary = &mut evaluation.primary;
            let (metric, against) = (Metric::RelativeError, Against::Original);
            let error = 91.73 - primary.value.min(91.73);
            *primary = Measure {
                value: error,
                ..Measure::mean(metric, against, "y", &[error; 50])
            };
            evaluation.measures = vec![primary.clone()];
        }
    };
    error(&mut report.original.evaluation);
    report
        .curve
        .iter_mut()
        .for_each(|p| error(&mut p.evaluation));
    report
}
