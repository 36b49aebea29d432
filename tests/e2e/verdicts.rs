//! The figures that a compression closes with: on data that nothing was fitted to, by channel.

use serde_json::{Value, json};

use crate::support::{Scratch, ask, digits, digits_eval, root, sepconv};

/// A model whose output holds pixels and scores, and samples of 24 by 20 for it.
struct Mixed {
    scratch: Scratch,
    model: String,
    data: String,
}

impl Mixed {
    fn new(samples: usize) -> Self {
        let scratch = Scratch::new();
        let [model, data] = ["mixed.onnx", "data.npz"].map(|n| scratch.path(n));
        let free = json!({"n": samples, "h": 24, "w": 20});
        ask(json!({"do": "build", "case": "mixed", "out": model}));
        ask(json!({"do": "inputs", "model": model, "out": data, "free": free}));
        Self {
            scratch,
            model,
            data,
        }
    }

    /// `compress` with options, to a file of that name.
    fn compress(&self, out: &str, options: &[&str]) -> crate::support::Finished {
        let out = self.scratch.path(out);
        sepconv(&[&["compress", &self.model, "-o", &out, "--force"], options].concat())
    }

    fn report(&self, out: &str, options: &[&str]) -> Value {
        self.compress(out, &[options, &["--json"]].concat()).json()
    }
}

/// The scores are lost, and all figures over the whole tensor are excellent.
#[test]
fn a_lost_channel_is_the_figure() {
    let mixed = Mixed::new(64);
    let lossy = ["--rank", "1", "--calib", &mixed.data];
    let report = mixed.report("lossy.onnx", &lossy);
    assert_eq!(
        (&report["inputs"], &report["samples"]),
        (&json!("test"), &json!(8))
    );
    let output = &report["outputs"][0];
    let worst = &output["worst_channel"];
    assert_eq!(
        (&worst["channel"], &worst["channels"]),
        (&json!(2), &json!(3))
    );
    let (whole, own) = (
        output["snr_db"].as_f64().unwrap(),
        worst["snr_db"].as_f64().unwrap(),
    );
    assert!(whole > 45.0 && own < 25.0, "{whole} {own}");
    let said = mixed.compress("lossy.onnx", &lossy).ok();
    let expected =
        format!("SNR {own:.1} dB in the worst channel (y, 2 of 3), {whole:.1} dB over all");
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("on 8 held-out calibration samples"), "{said}");
    // So `eval` says first, of all samples, as ONNX Runtime has it.
    let out = mixed.scratch.path("lossy.onnx");
    let eval = [
        "eval",
        &out,
        "--original",
        &mixed.model,
        "--data",
        &mixed.data,
        "--json",
    ];
    let seen = sepconv(&eval).json();
    assert_eq!(seen["primary"], seen["measures"][0]);
    assert_eq!(seen["primary"]["metric"], "channel-snr");
    let asked = json!({
        "do": "channels", "model": out, "reference": mixed.model, "inputs": mixed.data, "axis": 1
    });
    let expected = ask(asked)["y"][2].as_f64().unwrap();
    let value = seen["primary"]["value"].as_f64().unwrap();
    assert!((value - expected).abs() < 0.05, "{value} {expected}");
    // And so does `compare`.
    let compared = [
        "compare",
        &mixed.model,
        &out,
        "--input",
        &mixed.data,
        "--json",
    ];
    let compared = sepconv(&compared).json();
    let found = compared["outputs"][0]["worst_channel"]["snr_db"]
        .as_f64()
        .unwrap();
    assert!((found - expected).abs() < 0.05, "{found} {expected}");
}

/// The default budget holds for the worst channel, so that nothing is written here.
#[test]
fn no_lost_channel_passes_the_default_budget() {
    let mixed = Mixed::new(64);
    let low = [
        "--calib",
        &mixed.data,
        "--families",
        "dw-pw",
        "--skip",
        "boxes",
    ];
    let refused = mixed.compress("default.onnx", &low).refused();
    assert!(
        refused.contains("SNR of the worst channel at 30.00 dB"),
        "{refused}"
    );
    assert!(!mixed.scratch.names().contains(&"default.onnx".to_owned()));
    // A ratio that the channel does hold is found.
    let bound = ["--min-snr", "8", "--target", "macs"];
    let report = mixed.report("bound.onnx", &[&low[..], &bound].concat());
    assert_eq!(
        (&report["inputs"], &report["samples"]),
        (&json!("test"), &json!(16))
    );
    let own = report["outputs"][0]["worst_channel"]["snr_db"]
        .as_f64()
        .unwrap();
    assert!(own >= 8.0, "{own}");
}

/// Random inputs are no data, and are called so; data that is there takes their place, also where
/// nothing is fitted to it.
#[test]
fn random_inputs_serve_where_there_is_no_data() {
    let mixed = Mixed::new(64);
    let rank = ["--rank", "1", "--data-free=weights"];
    let said = mixed.compress("free.onnx", &rank).ok();
    assert!(
        said.contains("SNR on synthetic inputs") && said.contains("it says nothing of accuracy"),
        "{said}"
    );
    for (option, inputs, samples) in [("--calib", "test", 64), ("--eval", "evaluation", 64)] {
        let report = mixed.report("free.onnx", &[&rank[..], &[option, &mixed.data]].concat());
        assert_eq!(report["inputs"], inputs);
        assert_eq!(report["samples"], samples);
    }
    let few = Mixed::new(4);
    let report = few.report("few.onnx", &["--rank", "1", "--calib", &few.data]);
    assert_eq!(
        (&report["inputs"], &report["samples"]),
        (&json!("calibration"), &json!(4))
    );
}

/// Free height and width are those of the data, for every figure.
#[test]
fn free_dimensions_are_what_the_data_says() {
    let mixed = Mixed::new(16);
    let rank = ["--rank", "1", "--data-free=weights"];
    let macs = |options: &[&str]| {
        let report = mixed.report("sized.onnx", &[&rank[..], options].concat());
        let macs = ["original", "compressed"].map(|side| report[side]["macs"].as_u64().unwrap());
        (macs, report["settings"]["shaped"].clone())
    };
    let (pinned, none) = macs(&["--input-shape", "x=1x4x24x20"]);
    assert_eq!(none, json!([]));
    for option in ["--calib", "--eval"] {
        let (found, shaped) = macs(&[option, &mixed.data]);
        assert_eq!(found, pinned, "{option}");
        assert_eq!(shaped, json!(["x[2] (h) = 24", "x[3] (w) = 20"]));
    }
    let said = mixed.compress("sized.onnx", &["--rank", "1", "--calib", &mixed.data]);
    let note = "free dimensions as the data has them: x[2] (h) = 24, x[3] (w) = 20";
    assert!(
        said.stderr().contains(note) || said.ok().contains(note),
        "{said}"
    );
    // A plan that was fitted to a part of the data is fitted to the same part again.
    let plan = mixed.scratch.path("plan.json");
    let fit = ["--target-macs", "0.8", "--calib", &mixed.data];
    mixed
        .compress(
            "planned.onnx",
            &[&fit[..], &["--save-plan", &plan]].concat(),
        )
        .ok();
    mixed
        .compress("replayed.onnx", &["--plan", &plan, "--calib", &mixed.data])
        .ok();
    let [a, b] =
        ["planned.onnx", "replayed.onnx"].map(|n| std::fs::read(mixed.scratch.path(n)).unwrap());
    assert!(a == b);
}

/// Eight samples of eight are no certainty: the limits of the data are told, and a budget that they
/// can show holds for the worst that they leave possible.
#[test]
fn verdicts_say_what_the_samples_show() {
    let scratch = Scratch::new();
    let out = scratch.path("out.onnx");
    let (model, eval) = (digits().path, digits_eval());
    let calib = root().join("models/digits_calib.npz").display().to_string();
    let compress = |options: &[&str]| {
        let common = [
            "compress", &model, "-o", &out, "--scale", "1/255", "--force",
        ];
        let few = [
            "--families",
            "spatial",
            "--rounds",
            "1",
            "--steps",
            "0",
            "--positions",
            "2000",
        ];
        sepconv(&[&common[..], &few, options].concat())
    };
    let few = ["--max-drop", "1", "--calib", &calib, "--max-samples", "80"];
    let report = compress(&[&few[..], &["--json"]].concat()).json();
    let verdict = &report["verdict"];
    assert_eq!(
        (
            &verdict["metric"],
            &verdict["samples"],
            &verdict["needed"],
            &verdict["shown"]
        ),
        (&json!("agreement"), &json!(20), &json!(299), &json!(false)),
    );
    let limit = verdict["limit"].as_f64().unwrap();
    assert!(limit < 87.0, "{verdict}");
    let said = compress(&few);
    let note = "20 samples can't show that the budget holds: at least 299 are needed";
    assert!(said.stderr().contains(note), "{said}");
    // Of 500 labelled samples a point can be shown, and the limit keeps it.
    let enough = [
        "--max-drop",
        "1",
        "--calib",
        &calib,
        "--max-samples",
        "80",
        "--eval",
        &eval,
    ];
    let report = compress(&[&enough[..], &["--json"]].concat()).json();
    let verdict = &report["verdict"];
    assert_eq!(
        (
            &verdict["metric"],
            &verdict["samples"],
            &verdict["needed"],
            &verdict["shown"]
        ),
        (
            &json!("top-1 accuracy"),
            &json!(500),
            &json!(268),
            &json!(true)
        ),
    );
    let [limit, allowed] = ["limit", "allowed"].map(|key| verdict[key].as_f64().unwrap());
    assert!(limit >= allowed, "{verdict}");
    for one in report["tries"].as_array().unwrap() {
        let holds = one["limit"].as_f64().is_some_and(|limit| limit >= allowed);
        assert_eq!(one["holds"], holds, "{one}");
    }
}

/// A network whose answer on noise is always the same has no figure there.
#[test]
fn one_class_on_synthetic_inputs_is_no_verdict() {
    let scratch = Scratch::new();
    let [model, out] = ["certain.onnx", "out.onnx"].map(|name| scratch.path(name));
    ask(json!({"do": "build", "case": "certain", "out": model}));
    let compress = ["compress", &model, "-o", &out, "--data-free=weights"];
    let said = sepconv(&[&compress[..], &["--rank", "1"]].concat()).ok();
    assert!(said.contains("no verdict: no data"), "{said}");
    assert!(!said.contains("dB"), "{said}");
    // Nor can a budget be judged by it.
    let refused = sepconv(&[&compress[..], &["--min-snr", "20", "--force"]].concat()).refused();
    assert!(refused.contains("one class wins always"), "{refused}");
    assert!(refused.contains("--calib"), "{refused}");
}

/// Where one class wins on all data, a model of that class alone would agree in full: a ratio decides.
#[test]
fn one_class_on_the_data_is_judged_by_a_ratio() {
    let scratch = Scratch::new();
    let [model, out, data] =
        ["certain.onnx", "out.onnx", "data.npz"].map(|name| scratch.path(name));
    ask(json!({"do": "build", "case": "certain", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"N": 64}}));
    let compress = ["compress", &model, "-o", &out, "--calib", &data, "--target"];
    let usual = ["macs"];
    let points = ["macs", "--max-drop", "1"];
    let evaluated = ["macs", "--max-drop", "1", "--eval", &data];
    for options in [&usual[..], &points, &evaluated] {
        let refused = sepconv(&[&compress[..], options].concat()).refused();
        for said in [
            "SNR of the worst channel",
            "100.0 % of the samples are of one class",
        ] {
            assert!(refused.contains(said), "{options:?}: {refused}");
        }
    }
    let command = ["eval", &model, "--original", &model, "--data", &data];
    let told = sepconv(&command);
    let said = "100.0 % of the samples are of one class";
    assert!(told.stderr().contains(said), "{told}");
    let seen = sepconv(&[&command[..], &["--json"]].concat()).json();
    assert_eq!(seen["largest_classes"]["y"], 1.0, "{seen:#}");
}

/// A box beside a score is a row of numbers like any other: its greatest one is no class.
#[test]
fn numbers_beside_a_score_are_no_classes() {
    let scratch = Scratch::new();
    let [model, out, data] = ["face.onnx", "out.onnx", "data.npz"].map(|name| scratch.path(name));
    ask(json!({"do": "build", "case": "face", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"N": 64}}));
    let compress = ["compress", &model, "-o", &out, "--calib", &data];
    let options = ["--rank", "1", "--target", "macs"];
    let said = sepconv(&[&compress[..], &options].concat()).ok();
    assert_eq!(said.matches("  agreement ").count(), 1, "{said}");
    // The ratio of the box is its only figure.
    let evaluated = ["--force", "--eval", &data];
    let said = sepconv(&[&compress[..], &options, &evaluated].concat()).ok();
    assert!(
        said.contains("  snr ") && said.contains("output box"),
        "{said}"
    );
    assert_eq!(said.matches("  agreement ").count(), 1, "{said}");
    let eval = ["eval", &out, "--original", &model, "--data", &data];
    let seen = sepconv(&[&eval[..], &["--json"]].concat()).json();
    let of = |output: &str| -> Vec<&str> {
        let measures = seen["measures"].as_array().unwrap().iter();
        let own = measures.filter(|m| m["output"] == output);
        own.map(|m| m["metric"].as_str().unwrap()).collect()
    };
    // One class has all samples: its numbers follow.
    assert_eq!(of("score")[..2], ["agreement", "kl"], "{seen:#}");
    assert!(
        of("box").contains(&"snr") && !of("box").contains(&"agreement"),
        "{seen:#}"
    );
    let task = sepconv(&eval).ok();
    assert!(task.contains("task classify: output 'score'"), "{task}");
}
