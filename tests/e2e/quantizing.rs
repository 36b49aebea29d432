//! `sepconv quantize`.

use serde_json::{Value, json};

use crate::support::{
    Finished, Scratch, ask, digits, digits_eval, root, runtimes, sepconv, sepconv_with, worst,
};

fn calibration() -> String {
    root()
        .join("models/digits_calib.npz")
        .to_str()
        .unwrap()
        .to_owned()
}

fn quantize(model: &str, out: &str, more: &[&str]) -> Value {
    let calib = calibration();
    let plain = [
        "quantize", model, "--calib", &calib, "-o", out, "--scale", "1/255", "--json",
    ];
    let environment = [("SEPCONV_ONNXRUNTIME", runtimes())];
    let environment = environment.each_ref().map(|(k, v)| (*k, v.as_str()));
    sepconv_with(&[&plain, more].concat(), &environment).json()
}

/// Layers in eight bits, and in floats.
fn layers(seen: &Value) -> [usize; 2] {
    let layers = seen["layers"].as_array().unwrap();
    let floats = layers.iter().filter(|l| !l["kept"].is_null()).count();
    [layers.len() - floats, floats]
}

/// Operators of the graph that ONNX Runtime makes of a model.
fn optimised(model: &str) -> Value {
    ask(json!({"do": "optimised", "model": model}))
}

#[test]
fn the_shipped_model_runs_in_integers_on_onnx_runtime() {
    let scratch = Scratch::new();
    let out = scratch.path("int8.onnx");
    let seen = quantize(&digits().path, &out, &["--max-samples", "128"]);
    assert_eq!(layers(&seen), [11, 0]);
    assert_eq!(seen["timing"]["models"].as_array().unwrap().len(), 2);
    let kinds = optimised(&out);
    assert_eq!(
        (&kinds["QLinearConv"], &kinds["QGemm"]),
        (&json!(10), &json!(1)),
        "{kinds}"
    );
    assert_eq!(kinds["Conv"], Value::Null);
    assert_eq!(kinds["Relu"], Value::Null);
    let accuracy = |model: &str| {
        let scale = 1.0 / 255.0;
        let request = json!({"do": "accuracy", "model": model, "data": digits_eval(), "scale": scale, "mean": [0.0], "std": [1.0]});
        ask(request)["correct"].as_i64().unwrap()
    };
    assert!(accuracy(&out) >= accuracy(&digits().path) - 2);
}

/// On processors without VNNI eight bits lose more than seven; on others seven do.
#[test]
fn weights_have_the_bits_that_the_outputs_keep_most_by() {
    let scratch = Scratch::new();
    let made = |name: &str, more: &[&str]| {
        let common = ["--max-samples", "64", "--all-layers"];
        let out = scratch.path(name);
        let seen = quantize(&digits().path, &out, &[&common, more].concat());
        let bits = seen["layers"].as_array().unwrap().iter();
        let bits: Vec<u64> = bits.map(|l| l["weight_bits"].as_u64().unwrap()).collect();
        let worst = &seen["comparison"]["outputs"][0]["worst_channel"];
        (bits, worst["snr_db"].as_f64().unwrap())
    };
    let usual = made("usual.onnx", &[]);
    let eight = made("eight.onnx", &["--weight-bits", "8"]);
    let seven = made("seven.onnx", &["--weight-bits", "7"]);
    assert_eq!((&eight.0, &seven.0), (&vec![8; 11], &vec![7; 11]));
    assert!(
        usual == eight || usual.1 > eight.1 && usual.1 >= seven.1,
        "{usual:?} {eight:?} {seven:?}"
    );
    assert!(usual.1 > 20.0 && seven.1 > 15.0);
    let floats = scratch.path("floats.onnx");
    let model = digits().path;
    let told = [
        "compress",
        &model,
        "--rank",
        "1",
        "--weight-bits",
        "7",
        "-o",
        &floats,
    ];
    let told = sepconv(&told).refused();
    assert!(
        told.contains("weights are rounded for eight bits alone"),
        "{told}"
    );
}

/// A model that is rewritten as chains of depthwise and pointwise convolutions.
#[test]
fn chains_run_in_integers_too() {
    let scratch = Scratch::new();
    let out = scratch.path("int8.onnx");
    let seen = quantize(&digits().at_rank_2(), &out, &["--max-samples", "64"]);
    assert!(layers(&seen)[0] > 20, "{seen}");
    assert!(seen["comparison"]["outputs"][0]["snr_db"].as_f64().unwrap() > 20.0);
    assert_eq!(optimised(&out)["Conv"], Value::Null);
}

#[test]
fn what_can_not_be_quantised_is_told_in_a_line() {
    let scratch = Scratch::new();
    let out = scratch.path("int8.onnx");
    quantize(
        &digits().path,
        &out,
        &["--max-samples", "16", "--all-layers", "--target", "tract"],
    );
    let calib = calibration();
    let other = scratch.path("b.onnx");
    let scaled = ["--calib", &calib, "--scale", "1/255"];
    let again = sepconv(&[&["quantize", &out, "-o", &other], scaled.as_slice()].concat());
    let told = again.refused();
    assert!(
        told.contains("quantised already") && told.lines().count() == 1,
        "{told}"
    );
    let exists = sepconv(&["quantize", &digits().path, "--calib", &calib, "-o", &out]).refused();
    assert!(exists.contains("--force"), "{exists}");
}

#[test]
fn a_ratio_that_is_not_reached_is_told() {
    let scratch = Scratch::new();
    let (model, calib, out) = (digits().path, calibration(), scratch.path("int8.onnx"));
    let few = [
        "--scale",
        "1/255",
        "--max-samples",
        "16",
        "--target",
        "tract",
    ];
    let asked = ["quantize", &model, "--calib", &calib, "-o", &out, "--force"];
    let asked = [&asked[..], &few, &["--min-snr", "90"]].concat();
    let told = sepconv(&asked).stderr();
    let notes: Vec<&str> = told.lines().filter(|l| l.starts_with("note: ")).collect();
    let [note] = notes[..] else { panic!("{told}") };
    assert!(
        note.starts_with("note: 90 dB are not reached: output 'logits' keeps "),
        "{note}"
    );
    let seen = sepconv(&[&asked[..], &["--json"]].concat()).json();
    let (missed, output) = (&seen["missed"], &seen["comparison"]["outputs"][0]);
    assert_eq!(missed["asked_db"], 90.0);
    assert_eq!(missed["output"], output["name"]);
    // Classes are compared with one another: they are one channel.
    assert_eq!(missed["channel"], Value::Null);
    let reached = missed["reached_db"].as_f64().unwrap();
    assert!(reached > 10.0 && reached < 90.0, "{seen}");
    // With the best choice that was tried, a layer is in eight bits.
    assert!(layers(&seen)[0] > 0, "{seen}");
    let seen = quantize(&model, &scratch.path("b.onnx"), &few[2..]);
    assert_eq!(seen["missed"], Value::Null);
}

/// The separable forms are kept where they are measured to be faster, so which of the two comes out is the
/// machine's.
#[test]
fn compress_with_eight_bits_writes_one_model_that_says_which_forms_it_has() {
    let scratch = Scratch::new();
    let (model, calib, out) = (digits().path, calibration(), scratch.path("both.onnx"));
    let (onnxruntime, eval) = (runtimes(), digits_eval());
    let args = [
        "compress",
        &model,
        "--calib",
        &calib,
        "--scale",
        "1/255",
        "--max-samples",
        "64",
        "--rank",
        "2",
        "--layers",
        "stage2*",
        "--order",
        "dw-pw",
        "--rounds",
        "1",
        "--steps",
        "0",
        "--int8",
        "--eval",
        &eval,
        "-o",
        &out,
        "--json",
    ];
    let seen = sepconv_with(&args, &[("SEPCONV_ONNXRUNTIME", onnxruntime.as_str())]).json();
    let value = |part: &str| {
        seen[part]["evaluation"]["primary"]["value"]
            .as_f64()
            .unwrap()
    };
    assert!(value("compressed") > value("original") - 2.0, "{seen:#}");
    let kinds = optimised(&out);
    assert!(kinds["QLinearConv"].as_i64().unwrap() >= 10, "{kinds}");
    let params = |part: &str| seen[part]["params"].as_u64().unwrap();
    assert!(
        params("compressed") <= params("original") && params("compressed") > params("original") / 4
    );
}

/// `compress` of the shipped model on 64 samples, with ONNX Runtime.
fn compress(out: &str, more: &[&str]) -> Finished {
    let (model, calib, onnxruntime) = (digits().path, calibration(), runtimes());
    let data = ["--calib", &calib, "--scale", "1/255", "--max-samples", "64"];
    let common = ["compress", &model, "-o", out, "--json"];
    let environment = [("SEPCONV_ONNXRUNTIME", onnxruntime.as_str())];
    sepconv_with(&[&common[..], &data, more].concat(), &environment)
}

/// Detections that the graph orders are judged by those that are kept: their rows change places.
#[test]
fn rows_that_change_places_leave_no_layer_in_floats() {
    let scratch = Scratch::new();
    let [model, out, data] = ["m.onnx", "out.onnx", "data.npz"].map(|name| scratch.path(name));
    ask(json!({"do": "build", "case": "ordered", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"n": 48}}));
    let command = ["quantize", &model, "--calib", &data, "-o", &out, "--json"];
    let seen = sepconv(&command).json();
    let layers = seen["layers"].as_array().unwrap();
    assert!(
        layers.len() == 4 && layers.iter().all(|layer| layer["kept"].is_null()),
        "{seen:#}"
    );
    assert!(seen["missed"].is_null(), "{seen:#}");
    let worst = &seen["comparison"]["outputs"][0]["worst_channel"]["snr_db"];
    assert!(worst.as_f64().unwrap() < 10.0, "{seen:#}");
}

/// With no family to rewrite by, `compress` is a quantiser as `quantize` is, of the samples that it does not hold out: no
/// weight and no range is of those that it judges by.
#[test]
fn without_families_eight_bits_are_all_that_is_done() {
    let scratch = Scratch::new();
    let [alone, out] = ["alone.onnx", "compressed.onnx"].map(|name| scratch.path(name));
    quantize(&digits().path, &alone, &["--max-samples", "64"]);
    let seen = compress(&out, &["--families", "none", "--int8"]).json();
    assert_eq!(optimised(&alone), optimised(&out));
    assert_ne!(std::fs::read(&alone).unwrap(), std::fs::read(&out).unwrap());
    assert!(!seen["verdict"].is_null(), "{seen:#}");
    let layers = seen["layers"].as_array().unwrap();
    assert!(layers.iter().all(|l| l["rank"].is_null()), "{seen:#}");
    let skipping = [
        "--families",
        "none",
        "--int8",
        "--skip",
        "stem/*",
        "--force",
    ];
    let seen = compress(&out, &skipping).json();
    let layers = seen["eight_bits"]["layers"].as_array().unwrap();
    let kept = |l: &&serde_json::Value| !l["kept"].is_null();
    let kept: Vec<&str> = layers
        .iter()
        .filter(kept)
        .filter_map(|l| l["name"].as_str())
        .collect();
    assert_eq!(kept, ["stem/conv1", "stem/conv2"], "{seen:#}");
    let told = compress(&out, &["--families", "none", "--force"]).refused();
    assert!(told.contains("families") && told.contains("int8"), "{told}");
}

/// Without a budget that is named, models in eight bits are judged as they will run.
#[test]
fn plans_are_judged_in_eight_bits() {
    let scratch = Scratch::new();
    let out = scratch.path("judged.onnx");
    let seen = compress(
        &out,
        &["--families", "spatial", "--effort", "quick", "--int8"],
    )
    .json();
    let kinds = optimised(&out);
    assert!(kinds["QLinearConv"].as_i64().unwrap() >= 10, "{kinds}");
    let speed = &seen["timing"]["models"][1]["speed_up"]["median"];
    assert!(speed.as_f64().unwrap() > 1.0, "{seen:#}");
    let eight = &seen["eight_bits"];
    assert!(eight["layers"].as_array().unwrap().len() >= 11, "{eight:#}");
    let layers = seen["layers"].as_array().unwrap();
    let rewritten = layers.iter().any(|l| !l["rank"].is_null());
    assert_eq!(eight["separable"].as_bool().unwrap(), rewritten, "{seen:#}");
    assert!(!seen["verdict"].is_null(), "{seen:#}");
    // The runtime that has measured them, and not the one of floats.
    let versions = &seen["versions"];
    assert_eq!(versions["target"], "onnxruntime");
    assert_eq!(versions["latency"]["target"], "onnxruntime");
}

/// A sweep in eight bits has the curve of floats beside that of eight bits, all of it timed.
#[test]
fn sweeps_draw_eight_bits_alone_and_both() {
    let (model, calib, onnxruntime) = (digits().path, calibration(), runtimes());
    let data = ["--calib", &calib, "--scale", "1/255", "--max-samples", "32"];
    let few = [
        "--families",
        "spatial",
        "--effort",
        "quick",
        "--no-baselines",
    ];
    let common = ["sweep", &model, "--fractions", "0.7", "--int8", "--json"];
    let environment = [("SEPCONV_ONNXRUNTIME", onnxruntime.as_str())];
    let seen = sepconv_with(&[&common[..], &data, &few].concat(), &environment).json();
    let points = seen["curve"].as_array().unwrap();
    let mut series: Vec<&str> = points
        .iter()
        .map(|p| p["series"].as_str().unwrap())
        .collect();
    series.sort_unstable();
    assert_eq!(series, ["allocated", "both", "int8", "original"]);
    assert!(points.iter().all(|p| p["time"].is_number()), "{points:#?}");
    let versions = &seen["versions"];
    assert_eq!(versions["target"], "tract");
    assert_eq!(versions["latency"]["target"], "onnxruntime");
    // Constants of eight bits are not counted as parameters: those of the floats are told.
    let of = |name: &str| points.iter().find(|p| p["series"] == name).unwrap();
    assert_eq!(of("int8")["params"], 1.0);
    assert!(of("both")["params"].as_f64().unwrap() < 1.0);
}

/// tract computes eight bits in floats, and so no faster.
#[test]
fn floats_stay_where_eight_bits_are_no_faster() {
    let scratch = Scratch::new();
    let (model, calib, out) = (digits().path, calibration(), scratch.path("auto.onnx"));
    let scaled = ["--calib", &calib, "--scale", "1/255", "--max-samples", "32"];
    let rank = [
        "--rank", "2", "--layers", "stage2*", "--rounds", "1", "--steps", "0",
    ];
    let common = ["compress", &model, "-o", &out, "--precision", "auto"];
    let seen = sepconv(&[&common[..], &scaled, &rank, &["--json"]].concat()).json();
    let reason = seen["floats"].as_str().unwrap();
    assert!(reason.contains("as fast as floats on tract"), "{reason}");
    assert!(seen["eight_bits"].is_null());
    let alone = ["--families", "none", "--force"];
    let told = sepconv(&[&common[..], &scaled, &alone].concat()).refused();
    assert!(told.contains("no family"), "{told}");
}

/// A plan names layers that stay in floats, and is written however fast it is.
#[test]
fn a_plan_says_which_layers_stay_in_floats() {
    let scratch = Scratch::new();
    let [plan, out] = ["plan.json", "out.onnx"].map(|name| scratch.path(name));
    let (model, calib) = (digits().path, calibration());
    let common = ["compress", &model, "-o", &out, "--force"];
    let data = ["--calib", &calib, "--scale", "1/255", "--max-samples", "32"];
    let rank = [
        "--rank", "2", "--layers", "stage2*", "--rounds", "1", "--steps", "0",
    ];
    let save = ["--save-plan", &plan];
    sepconv(&[&common[..], &data, &rank, &save].concat()).ok();
    let text = std::fs::read_to_string(&plan).unwrap();
    let mut saved: Value = serde_json::from_str(&text).unwrap();
    assert!(saved["in_floats"].is_null(), "{saved:#}");
    let layers = saved["layers"].as_array().unwrap();
    let names: Vec<Value> = layers[1..].iter().map(|l| l["layer"].clone()).collect();
    let mut replay = |names: Value| {
        saved["in_floats"] = names;
        std::fs::write(&plan, saved.to_string()).unwrap();
        sepconv(
            &[
                &common[..],
                &data[..4],
                &["--plan", &plan, "--int8", "--json"],
            ]
            .concat(),
        )
    };
    let seen = replay(json!(names)).json();
    let eight = &seen["eight_bits"];
    assert_eq!(eight["separable"], true, "{seen:#}");
    let kept = eight["layers"].as_array().unwrap().iter();
    let planned = kept.filter(|l| l["kept"] == "the plan has it in floats");
    assert!(planned.count() >= names.len(), "{eight:#}");
    // ONNX Runtime would round the weights of layers that read eight bits of one scale.
    let kinds = optimised(&out);
    assert!(
        kinds["Conv"].as_u64().unwrap() as usize >= names.len() - 1,
        "{kinds}"
    );
    let told = replay(json!(["stage9"])).refused();
    assert!(
        told.contains("stage9") && told.contains("no such convolution"),
        "{told}"
    );
}

#[test]
fn eight_bits_need_data() {
    let scratch = Scratch::new();
    let out = scratch.path("none.onnx");
    let refused = sepconv(&[
        "compress",
        &digits().path,
        "--rank",
        "1",
        "--data-free=weights",
        "--int8",
        "-o",
        &out,
    ]);
    let line = refused.refused();
    assert!(
        line.contains("ranges of activations need calibration data: give --calib"),
        "{line}"
    );
    assert!(!std::fs::exists(&out).unwrap());
}

/// Softmax of opset 11 is over all axes behind its own; bounds, pads and scales of opset 9 are attributes.
#[test]
fn a_model_of_an_earlier_opset_is_raised_where_that_is_asked_for() {
    raised("early", 11);
    raised("earlier", 9);
}

/// A model that is raised has other numbers of values than the file: they are held against one another by their names.
#[test]
fn a_raised_model_is_judged_in_eight_bits() {
    let scratch = Scratch::new();
    let [model, data, out] = ["m.onnx", "x.npz", "int8.onnx"].map(|name| scratch.path(name));
    ask(json!({"do": "build", "case": "squeezed", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"N": 64}}));
    let args = ["compress", &model, "--calib", &data, "-o", &out, "--int8"];
    let options = ["--opset", "13", "--target", "macs", "--json"];
    let seen = sepconv(&[&args[..], &options].concat()).json();
    assert!(layers(&seen["eight_bits"])[0] > 0, "{seen:#}");
    let agreed = ask(json!({"do": "agree", "model": out, "reference": model, "inputs": data}));
    assert!(agreed["snr_db"]["y"].as_f64().unwrap() > 20.0, "{agreed}");
}

fn raised(case: &str, opset: u32) {
    let scratch = Scratch::new();
    let [model, data, out] = ["m.onnx", "x.npz", "int8.onnx"].map(|name| scratch.path(name));
    ask(json!({"do": "build", "case": case, "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data}));
    let args = [
        "quantize",
        &model,
        "--calib",
        &data,
        "-o",
        &out,
        "--all-layers",
        "--target",
        "tract",
        "--json",
    ];
    let told = sepconv(&args).refused();
    assert!(
        told.contains(&format!("opset {opset}")) && told.contains("--opset 13"),
        "{told}"
    );
    let seen = sepconv(&[&args[..], &["--opset", "13"]].concat()).json();
    assert_eq!(layers(&seen)[0], 1, "{seen}");
    let parts = ask(json!({"do": "functions", "original": model, "rewritten": out}));
    assert_eq!(parts["problems"], json!(["opset_import"]), "{parts}");
    // Where processors have no VNNI, sums of two of ONNX Runtime's products of eight bits end at 16 bits.
    let request =
        json!({"do": "agree", "model": out, "reference": model, "inputs": data, "exact": true});
    let agreed = ask(request);
    for output in ["y", "z"] {
        let snr = agreed["snr_db"][output].as_f64().unwrap();
        assert!(snr > 25.0, "{agreed}");
    }
}

#[test]
fn pictures_of_a_clip_are_quantised_by_one_sample_whatever_the_seed() {
    let scratch = Scratch::new();
    let [model, inputs, out] = ["clips.onnx", "x.npz", "out.onnx"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "clips", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": inputs}));
    // One sample is held out by some seeds.
    for seed in ["0", "5", "12"] {
        let options = [
            "quantize", &model, "--calib", &inputs, "-o", &out, "--force", "--seed", seed,
        ];
        let told = sepconv(&options).ok();
        assert!(told.contains("2 in eight bits"), "{told}");
        let agree = json!({"do": "agree", "model": out, "reference": model, "inputs": inputs});
        assert!(worst(&ask(agree)["snr_db"]) > 25.0);
    }
}
