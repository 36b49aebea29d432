//! Plans: saved by one run, applied by another.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Scratch, ask, compress, digits, digits_eval, root, sepconv, worst};

/// Compresses the shipped model with `options` and saves the plan, applies the plan with `again`
/// added, and checks that model and plan are the same bytes. The plan.
#[track_caller]
fn replayed(options: &[&str], again: &[&str]) -> Value {
    let scratch = Scratch::new();
    let [first, second] = ["a.onnx", "b.onnx"].map(|name| scratch.path(name));
    let [plan, copy] = ["a.json", "b.json"].map(|name| scratch.path(name));
    let model = digits().path;
    let command = ["compress", &model, "-o", &first, "--save-plan", &plan];
    sepconv(&[&command[..], options].concat()).ok();
    let command = [
        "compress",
        &model,
        "-o",
        &second,
        "--plan",
        &plan,
        "--save-plan",
        &copy,
    ];
    sepconv(&[&command[..], again].concat()).ok();
    let same = fs::read(&first).unwrap() == fs::read(&second).unwrap();
    assert!(same, "the models differ");
    let [plan, copy] = [plan, copy].map(|path| fs::read_to_string(path).unwrap());
    assert_eq!(plan, copy);
    assert_ne!(fs::read(&model).unwrap(), fs::read(&first).unwrap());
    serde_json::from_str(&plan).unwrap()
}

#[test]
fn a_plan_of_data_free_weights_gives_the_same_bytes() {
    let plan = replayed(&["--target-macs", "0.5", "--data-free=weights"], &[]);
    assert_eq!(plan["format"], "sepconv-plan/1");
    assert_eq!(plan["model"]["file"], "digits.onnx");
    assert_eq!(plan["fit"], Value::Null);
    let layers = plan["layers"].as_array().unwrap();
    let planned = layers.iter().find_map(|l| l["choice"].get("separate"));
    let planned = planned.expect("a layer is rewritten");
    assert!(planned["rank"].is_u64() && planned["family"].is_string());
    assert!(planned["lowering"].is_string(), "{planned}");
}

#[test]
fn a_plan_brings_its_selection_order_and_lowering() {
    let options = [
        "--rank",
        "2",
        "--data-free=weights",
        "--order",
        "pw-dw",
        "--lowering",
        "branches",
        "--skip",
        "stage1/*",
        "--input-shape",
        "input=2x1x32x32",
    ];
    let plan = replayed(&options, &[]);
    assert_eq!(plan["selection"]["skip"][0], "stage1/*");
    assert_eq!(plan["order"], "pw-dw");
}

#[test]
fn a_plan_of_fits_to_pictures_brings_the_pictures() {
    let few = ["--positions", "2000", "--layers", "stage[23]/*"];
    let plan = replayed(&[&["--rank", "2", "--seed", "7"][..], &few].concat(), &[]);
    assert_eq!(plan["fit"]["to"]["pictures"]["seed"], 7);
}

#[test]
fn a_plan_of_fits_to_data_gives_the_same_bytes_with_the_same_data() {
    let data = root().join("models/digits_calib.npz");
    let calib = ["--calib", data.to_str().unwrap()];
    // Numbers of seventeen digits have to survive the file.
    let recipe = [
        "--scale",
        "0.0039215686274509803",
        "--seed",
        "3",
        "--positions",
        "3000",
        "--max-samples",
        "100",
        "--families",
        "dw-pw,pw-dw",
    ];
    let options = [&calib[..], &recipe, &["--target-macs", "0.5"]].concat();
    let plan = replayed(&options, &calib);
    assert_eq!(plan["fit"]["to"]["data"]["max_samples"], 100);
    assert_eq!(plan["fit"]["to"]["data"]["part"]["train"]["every"], 8);
    // --max-drop is judged by more samples, which the fits of the plan do not see either.
    let options = [&calib[..], &recipe, &["--max-drop", "5"]].concat();
    let plan = replayed(&options, &calib);
    assert_eq!(plan["fit"]["to"]["data"]["part"]["train"]["every"], 4);
}

#[test]
fn plans_that_do_not_fit_are_refused_in_one_line() {
    let scratch = Scratch::new();
    let [small, plan, out] = ["small.onnx", "plan.json", "out.onnx"].map(|n| scratch.path(n));
    let model = digits().path;
    compress(&model, &small, &["--save-plan", &plan]).ok();
    let refused = |model: &str, plan: &str, options: &[&str]| {
        let command = ["compress", model, "-o", &out, "--plan", plan];
        sepconv(&[&command[..], options].concat()).refused()
    };
    let line = refused(&small, &plan, &[]);
    assert!(
        line.contains("small.onnx") && line.contains("made for another model"),
        "{line}"
    );
    assert!(line.contains("'digits.onnx'"), "{line}");
    let line = refused(&model, &plan, &["--calib", &digits_eval()]);
    assert!(line.contains("leave out --calib"), "{line}");
    let line = refused(&model, &model, &[]);
    assert!(line.contains("digits.onnx"), "{line}");

    let text = fs::read_to_string(&plan).unwrap();
    let edited = |name: &str, edit: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&text).unwrap();
        edit(&mut value);
        let path = scratch.path(name);
        fs::write(&path, value.to_string()).unwrap();
        path
    };
    let newer = edited("newer.json", &|v| v["format"] = "sepconv-plan/9".into());
    let line = refused(&model, &newer, &[]);
    assert!(
        line.contains("newer.json") && line.contains("sepconv-plan/1"),
        "{line}"
    );
    let odd = edited("odd.json", &|v| v["surplus"] = 1.into());
    assert!(refused(&model, &odd, &[]).contains("surplus"));
    let first = |v: &Value| {
        let layers = v["layers"].as_array().unwrap();
        layers
            .iter()
            .position(|l| l["choice"].get("separate").is_some())
            .unwrap()
    };
    let odd = edited("key.json", &|v| {
        let i = first(v);
        v["layers"][i]["choice"]["separate"]["rnk"] = 1.into();
    });
    assert!(refused(&model, &odd, &[]).contains("rnk"));
    let rank = edited("rank.json", &|v| {
        let i = first(v);
        v["layers"][i]["choice"]["separate"]["rank"] = 999.into();
    });
    assert!(refused(&model, &rank, &[]).contains("has no rank 999"));
    let twice = edited("twice.json", &|v| {
        let layers = v["layers"].as_array_mut().unwrap();
        let kept = layers.iter().find(|l| l["choice"].get("keep").is_some());
        layers.push(kept.unwrap().clone());
    });
    assert!(refused(&model, &twice, &[]).contains("planned twice"));
    let odd = edited("lowering.json", &|v| {
        let layers = v["layers"].as_array_mut().unwrap();
        let mut last = layers.iter_mut().rev();
        let last = last.find_map(|l| l["choice"].get_mut("separate")).unwrap();
        last["family"] = "pw-dw".into();
        last["lowering"] = "concat".into();
    });
    let line = refused(&model, &odd, &[]);
    assert!(
        line.contains("lowering 'concat' does not write family 'pw-dw'"),
        "{line}"
    );
    let gone = edited("gone.json", &|v| {
        let i = first(v);
        v["layers"][i]["layer"] = "nowhere".into();
    });
    let line = refused(&model, &gone, &[]);
    assert!(
        line.contains("'nowhere'") && line.contains("no such convolution"),
        "{line}"
    );
    assert!(!std::path::Path::new(&out).exists());
}

#[test]
fn an_edited_plan_is_what_is_written() {
    let scratch = Scratch::new();
    let [a, plan, b] = ["a.onnx", "plan.json", "b.onnx"].map(|n| scratch.path(n));
    let model = digits().path;
    compress(&model, &a, &["--save-plan", &plan]).ok();
    let text = fs::read_to_string(&plan).unwrap();
    fs::write(&plan, text.replacen("\"rank\": 2", "\"rank\": 1", 1)).unwrap();
    let options = ["compress", &model, "-o", &b, "--plan", &plan, "--json"];
    let report = sepconv(&options).json();
    let ranks = report["layers"].as_array().unwrap().iter();
    let ranks: Vec<u64> = ranks.filter_map(|l| l["rank"].as_u64()).collect();
    assert!(ranks.contains(&1) && ranks.contains(&2), "{ranks:?}");
    assert_eq!(report["settings"]["budget"], Value::Null);
    // The figures are those of rank 1, not of the file.
    let layers = || report["layers"].as_array().unwrap().iter();
    let of_rank = |rank: u64| layers().find(|l| l["rank"] == rank).unwrap();
    let share = |l: &Value| l["macs_after"].as_f64().unwrap() / l["macs_before"].as_f64().unwrap();
    assert!(share(of_rank(1)) < 0.7 * share(of_rank(2)), "{report:#}");
    let sum: u64 = layers().filter_map(|l| l["macs_after"].as_u64()).sum();
    let all = |which: &str| report[which]["macs"].as_u64().unwrap();
    let before: u64 = layers().filter_map(|l| l["macs_before"].as_u64()).sum();
    assert_eq!(all("original") - before, all("compressed") - sum);
    // A layer without an entry stays.
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let entries = value["layers"].as_array_mut().unwrap();
    let all = entries.len();
    let place = entries
        .iter()
        .position(|l| l["choice"].get("separate").is_some());
    let gone = entries.remove(place.unwrap());
    fs::write(&plan, value.to_string()).unwrap();
    let again = [&options[..], &["--force"]].concat();
    let report = sepconv(&again).json();
    let seen = report["layers"].as_array().unwrap();
    let kept = seen.iter().find(|l| l["name"] == gone["layer"]).unwrap();
    assert_eq!((seen.len(), &kept["rank"]), (all, &Value::Null), "{kept:#}");
}

#[test]
fn a_plan_that_is_applied_again_has_a_report_with_a_curve() {
    let scratch = Scratch::new();
    let [a, plan, b] = ["a.onnx", "plan.json", "b.onnx"].map(|n| scratch.path(n));
    let folder = scratch.path("report");
    let model = digits().path;
    compress(&model, &a, &["--save-plan", &plan]).ok();
    let options = [
        "compress", &model, "-o", &b, "--plan", &plan, "--report", &folder,
    ];
    sepconv(&options).ok();
    let text = fs::read_to_string(format!("{folder}/report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let curve = report["curve"].as_array().unwrap();
    assert!(curve.len() > 3, "{curve:?}");
    assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
}

#[test]
fn a_plan_writes_leaky_activations_in_simpler_operators() {
    let scratch = Scratch::new();
    let [model, inputs, plan] = ["leaky.onnx", "x.npz", "plan.json"].map(|n| scratch.path(n));
    let [first, out] = ["first.onnx", "out.onnx"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "leaky", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": inputs, "free": {"N": 16}}));
    compress(&model, &first, &["--skip", "*", "--save-plan", &plan]).ok();
    let text = fs::read_to_string(&plan).unwrap();
    let mut saved: Value = serde_json::from_str(&text).unwrap();
    assert!(saved["expanded"].is_null(), "{saved:#}");
    saved["expanded"] = true.into();
    fs::write(&plan, saved.to_string()).unwrap();
    let copy = scratch.path("copy.json");
    let replay = [
        "compress",
        &model,
        "-o",
        &out,
        "--plan",
        &plan,
        "--save-plan",
        &copy,
    ];
    let told = sepconv(&replay).ok();
    assert!(
        told.contains("4 PRelu written in simpler operators"),
        "{told}"
    );
    let found = ask(json!({"do": "interface", "original": model, "rewritten": out}));
    assert_eq!(found["problems"], json!([]), "{found:#}");
    let added =
        json!({"Add": 1, "LeakyRelu": 1, "Max": 1, "Min": 2, "Mul": 3, "PRelu": -4, "Relu": 1});
    assert_eq!(found["added"], added, "{found:#}");
    let agree = json!({"do": "agree", "model": out, "reference": model, "inputs": inputs});
    let error = worst(&ask(agree.clone())["error"]);
    assert!(error < 1e-6, "{error}");
    let copy: Value = serde_json::from_str(&fs::read_to_string(&copy).unwrap()).unwrap();
    assert_eq!(copy["expanded"], true);
    // In eight bits the activations are written so as well. What is skipped stays in floats.
    saved["selection"]["skip"] = json!([]);
    fs::write(&plan, saved.to_string()).unwrap();
    let eight = ["--calib", &inputs, "--int8", "--allow-slower", "--force"];
    sepconv(&[&replay[..6], &eight].concat()).ok();
    let found = ask(json!({"do": "interface", "original": model, "rewritten": out}));
    assert_eq!(found["added"]["PRelu"], -4, "{found:#}");
    assert!(found["added"]["QuantizeLinear"].is_u64(), "{found:#}");
    let ratio = worst(&ask(agree)["snr_db"]);
    assert!(ratio > 20.0, "{ratio}");
}

#[test]
fn a_plan_of_eight_bits_alone_has_the_data_of_their_ranges() {
    let scratch = Scratch::new();
    let [model, inputs, plan] = ["leaky.onnx", "x.npz", "plan.json"].map(|n| scratch.path(n));
    let [first, again] = ["first.onnx", "again.onnx"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "leaky", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": inputs, "free": {"N": 16}}));
    let common = [
        "compress",
        &model,
        "--calib",
        &inputs,
        "--int8",
        "--allow-slower",
    ];
    let none = ["-o", &first, "--families", "none", "--save-plan", &plan];
    let replay = ["-o", &again, "--plan", &plan];
    sepconv(&[&common[..], &none].concat()).ok();
    sepconv(&[&common[..], &replay].concat()).ok();
    assert_eq!(fs::read(&first).unwrap(), fs::read(&again).unwrap());
}
