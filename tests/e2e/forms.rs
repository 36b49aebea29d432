//! The forms that convolutions and their weights take, built by tests/cases.py.

use serde_json::{Value, json};

use crate::support::{Scratch, ask, compress, sepconv, worst};

/// Families of decompositions, each with the lowerings that it has.
const FAMILIES: [(&str, &[&str]); 4] = [
    (
        "--order dw-pw",
        &["branches", "concat", "tiled", "fused", "tiled-padded"],
    ),
    (
        "--order pw-dw",
        &[
            "branches",
            "fused",
            "branches-padded",
            "branches-input-padded",
        ],
    ),
    ("--families spatial", &["auto", "fused-padded"]),
    ("--families tucker", &["auto", "fused-input-padded"]),
];

/// A case at full rank, in a family and a lowering, equals the original, or is refused where the form
/// can't hold it. The number of layers that were rewritten.
fn rewritten_exactly(scratch: &Scratch, case: &str, form: &[&str]) -> usize {
    let [model, inputs, out] = ["model.onnx", "inputs.npz", "out.onnx"].map(|n| scratch.path(n));
    let mut options = vec!["compress", &model, "-o", &out, "--energy", "1", "--force"];
    options.extend(["--allow-costlier", "--data-free=weights", "--json"]);
    options.extend(form);
    let report = sepconv(&options);
    let spatial = form.contains(&"spatial");
    if spatial && matches!(case, "transposed-shaped" | "transposed-narrow") {
        // `output_shape` can't be divided among stages; a 1 x 5 kernel has no second axis.
        let reason = report.refused();
        assert!(reason.contains("no convolution qualifies"), "{reason}");
        return 0;
    }
    if case == "padded-attribute" && form.iter().any(|part| part.ends_with("-padded")) {
        let reason = report.refused();
        assert!(reason.contains("needs ONNX opset 9"), "{reason}");
        return 0;
    }
    let report = report.json();
    let layers = report["layers"].as_array().unwrap();
    let saved = |l: &Value| {
        let of = |key: &str| l[key].as_i64();
        Some(of("macs_before")? - of("macs_after")?)
    };
    let saved = layers.iter().map(saved).sum::<Option<i64>>();
    // A batch norm that is folded saves MACs as well; of bodies, one is counted.
    let inner = layers.iter().any(|l| l["in_subgraph"] == true);
    if let Some(saved) = saved.filter(|_| !inner && case != "normalised-before") {
        let macs = |model: &str| report[model]["macs"].as_i64().unwrap();
        let counted = macs("original") - macs("compressed");
        assert_eq!(saved, counted, "{case} {form:?}");
    }
    let found = ask(json!({"do": "interface", "original": model, "rewritten": out}));
    assert_eq!(found["problems"], json!([]), "{case} {form:?}");
    let found = ask(json!({"do": "agree", "model": out, "reference": model, "inputs": inputs}));
    let error = worst(&found["error"]);
    assert!(error <= 1e-4, "{case} {form:?}: {error:e}");
    layers.iter().filter(|l| l["rank"].is_u64()).count()
}

/// All cases, each in the forms that `chosen` gives for its number. The number of layers that were
/// rewritten.
fn all_cases<'f>(chosen: impl Fn(usize) -> Vec<[&'f str; 4]>) -> usize {
    let mut rewritten = 0;
    let cases = ask(json!({"do": "cases"}));
    for (number, case) in cases.as_array().unwrap().iter().enumerate() {
        let case = case.as_str().unwrap();
        let scratch = Scratch::new();
        let [model, inputs] = ["model.onnx", "inputs.npz"].map(|n| scratch.path(n));
        ask(json!({"do": "build", "case": case, "out": model}));
        ask(json!({"do": "inputs", "model": model, "out": inputs}));
        let forms = chosen(number).into_iter();
        rewritten += forms
            .map(|form| rewritten_exactly(&scratch, case, &form))
            .sum::<usize>();
    }
    rewritten
}

/// The options of a family and one of its lowerings.
fn form<'f>(family: &'f str, lowering: &'f str) -> [&'f str; 4] {
    let (option, name) = family.split_once(' ').unwrap();
    [option, name, "--lowering", lowering]
}

/// Every case in every family, in its lowerings by turns: that lowerings equal one another, the tests
/// of crates/passes/src/lowering show.
#[test]
fn every_case_is_rewritten_exactly_by_every_family() {
    let rewritten = all_cases(|number| {
        let families = FAMILIES.iter();
        families
            .map(|(family, lowerings)| form(family, lowerings[number % lowerings.len()]))
            .collect()
    });
    assert!(rewritten >= 100, "{rewritten} layers were rewritten");
}

#[test]
#[ignore = "full product, for tests/run --all"]
fn every_case_is_rewritten_exactly_in_every_form() {
    let rewritten = all_cases(|_| {
        let families = FAMILIES.iter();
        families
            .flat_map(|(family, lowerings)| lowerings.iter().map(|lowering| form(family, lowering)))
            .collect()
    });
    assert!(rewritten >= 300, "{rewritten} layers were rewritten");
}

/// Operators that made a weight go with it, unless something else reads them.
#[test]
fn the_makers_of_a_weight_go_with_it() {
    let scratch = Scratch::new();
    let added = |case: &str| {
        let model = scratch.path(&format!("{case}.onnx"));
        let out = scratch.path(&format!("{case}.out.onnx"));
        ask(json!({"do": "build", "case": case, "out": model}));
        compress(&model, &out, &[]).ok();
        ask(json!({"do": "interface", "original": model, "rewritten": out}))["added"].clone()
    };
    assert_eq!(
        added("behind"),
        json!({"Constant": -2, "Reshape": -1, "Transpose": -1, "Identity": -1, "Conv": 3, "Add": 1})
    );
    assert_eq!(
        added("shared"),
        json!({"Identity": -1, "Conv": 6, "Add": 2})
    );
    assert_eq!(added("read-twice"), json!({"Conv": 3, "Add": 1}));
}

/// Padding and normalisation before convolutions go into them, unless one of them is to stay.
#[test]
fn what_comes_before_convolutions_is_folded() {
    let scratch = Scratch::new();
    for (case, folded, before) in [
        ("padded-attribute", "1 pads folded", json!({"Pad": -1})),
        ("padded-axes", "1 pads folded", json!({"Pad": -1})),
        (
            "normalised-before",
            "1 batch norms folded, 1 pads folded",
            json!({"BatchNormalization": -1, "Pad": -1}),
        ),
    ] {
        let model = scratch.path(&format!("{case}.onnx"));
        ask(json!({"do": "build", "case": case, "out": model}));
        let added = |out: &str, options: &[&str]| {
            let out = scratch.path(&format!("{case}.{out}"));
            let said = compress(&model, &out, options).ok();
            let seen = ask(json!({"do": "interface", "original": model, "rewritten": out}));
            assert_eq!(seen["problems"], json!([]), "{case}");
            (said, seen["added"].clone())
        };
        let (said, mut both) = added("both.onnx", &[]);
        assert!(said.contains(folded), "{said}");
        let grown = both.as_object_mut().unwrap();
        grown.retain(|op, _| matches!(op.as_str(), "Pad" | "BatchNormalization"));
        assert_eq!(both, before, "{case}");
        let (_, one) = added("one.onnx", &["--skip", "second"]);
        assert_eq!(one["Pad"], json!(null), "{case}: {one}");
        assert_eq!(one["BatchNormalization"], json!(null), "{case}: {one}");
    }
}

/// The fit of a transposed convolution: on its own calibration data never worse than without.
#[test]
fn transposed_convolutions_are_calibrated() {
    let scratch = Scratch::new();
    let data = scratch.path("data.npz");
    for case in ["transposed-strided", "transposed-grouped"] {
        let model = scratch.path(&format!("{case}.onnx"));
        ask(json!({"do": "build", "case": case, "out": model}));
        ask(json!({"do": "inputs", "model": model, "out": data}));
        let snr = |options: &[&str]| {
            let out = scratch.path("out.onnx");
            let all = ["compress", &model, "-o", &out, "--rank", "1", "--force"];
            sepconv(&[&all, options].concat()).ok();
            let found = sepconv(&["compare", &model, &out, "--data", &data, "--json"]).json();
            found["outputs"][0]["snr_db"].as_f64().unwrap()
        };
        let (free, fitted) = (snr(&["--data-free=weights"]), snr(&["--calib", &data]));
        assert!(fitted > free, "{case}: {fitted} dB, {free} dB data-free");
    }
}

/// A model compressed: its layers by name and form, the parts that are not as they were, and how its
/// outputs agree with the original's.
fn cut(
    scratch: &Scratch,
    model: &str,
    data: &str,
    options: &[&str],
) -> (Vec<(String, String)>, Value, Value) {
    let out = scratch.path("out.onnx");
    let all = ["compress", model, "-o", &out, "--force", "--json"];
    let report = sepconv(&[&all, options].concat()).json();
    let text = |layer: &Value, key: &str| layer[key].as_str().unwrap().to_owned();
    let layers = report["layers"].as_array().unwrap().iter();
    let layers = layers.map(|l| (text(l, "name"), text(l, "form"))).collect();
    let found = ask(json!({"do": "interface", "original": model, "rewritten": out}));
    let agreement = ask(json!({"do": "agree", "model": out, "reference": model, "inputs": data}));
    (layers, found["problems"].clone(), agreement)
}

/// 1x1 convolutions are cut to a lower rank where that is asked for, exactly at full rank, and
/// better with data than without.
#[test]
fn pointwise_convolutions_are_cut_by_low_rank() {
    let scratch = Scratch::new();
    let [model, data] = ["model.onnx", "data.npz"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "pointwise", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data}));
    let made = |options: &[&str]| {
        let (layers, problems, found) = cut(&scratch, &model, &data, options);
        assert_eq!(problems, json!([]), "{options:?}");
        let forms: Vec<String> = layers.into_iter().map(|(_, form)| form).collect();
        let snr = found["snr_db"]["y"].as_f64().unwrap();
        (forms, worst(&found["error"]), snr)
    };
    let weights = ["--data-free=weights"];
    let (forms, ..) = made(&[&weights[..], &["--rank", "2"]].concat());
    assert_eq!(forms[..4], ["kept"; 4]);
    let full = ["--energy", "1", "--allow-costlier"];
    let plus = ["--families", "+lowrank"];
    let (forms, error, _) = made(&[&weights[..], &full, &plus].concat());
    assert_eq!(forms[..4], ["lowrank"; 4]);
    assert!(forms[4].contains("dw"), "{forms:?}");
    assert!(error <= 1e-4, "{error:e}");
    let one = ["--target-macs", "0.8", "--families", "lowrank"];
    let (forms, _, free) = made(&[&weights[..], &one].concat());
    assert!(forms.iter().any(|f| f == "lowrank"), "{forms:?}");
    let (forms, _, fitted) = made(&[&["--calib", &data][..], &one].concat());
    assert!(forms.iter().any(|f| f == "lowrank"), "{forms:?}");
    assert!(fitted > free, "{fitted} dB, {free} dB data-free");
}

/// Products by constant matrices are cut to a lower rank where that is asked for, exactly at full
/// rank, better with data than without, and are left alone otherwise.
#[test]
fn matrix_products_are_cut_by_low_rank() {
    let scratch = Scratch::new();
    for case in ["products", "products-9"] {
        let [model, data] = ["model.onnx", "data.npz"].map(|n| scratch.path(n));
        ask(json!({"do": "build", "case": case, "out": model}));
        ask(json!({"do": "inputs", "model": model, "out": data, "free": {"N": 300}}));
        let made = |options: &[&str]| {
            let (layers, problems, found) = cut(&scratch, &model, &data, options);
            let others = problems.as_array().unwrap().iter().filter(|p| {
                let text = p.as_str().unwrap();
                let products = [
                    "Gemm that makes 'g'",
                    "Gemm that makes 'y'",
                    "MatMul that makes 't'",
                ];
                !products.iter().any(|p| text.starts_with(p))
            });
            assert_eq!(others.count(), 0, "{options:?}: {problems}");
            let snr = ["y", "z"].map(|o| found["snr_db"][o].as_f64().unwrap());
            (layers, worst(&found["error"]), snr)
        };
        let weights = ["--data-free=weights"];
        let full = ["--energy", "1", "--allow-costlier"];
        let (forms, ..) = made(&[&weights[..], &full].concat());
        assert_eq!(forms.len(), 1, "{forms:?}");
        let (forms, error, _) = made(&[&weights[..], &full, &["--families", "+lowrank"]].concat());
        let low = |name: &str| (name.to_owned(), "lowrank".to_owned());
        assert_eq!(forms[1..], ["first", "second", "rows"].map(low));
        assert!(error <= 1e-4, "{error:e}");
        let half = [
            "--target-params",
            "0.7",
            "--skip",
            "conv",
            "--families",
            "lowrank",
        ];
        let (forms, _, free) = made(&[&weights[..], &half].concat());
        assert!(forms.iter().any(|f| f.1 == "lowrank"), "{forms:?}");
        let (forms, _, fitted) = made(&[&["--calib", &data][..], &half].concat());
        assert!(forms.iter().any(|f| f.1 == "lowrank"), "{forms:?}");
        let least = |snr: [f64; 2]| snr[0].min(snr[1]);
        assert!(
            least(fitted) > least(free),
            "{fitted:?} dB, {free:?} dB data-free"
        );
    }
}

/// A model of two convolutions with quantised weights, which is refused as it is; where to write,
/// and inputs.
fn quantised(scratch: &Scratch, case: &str) -> [String; 3] {
    let [model, out, data] = ["model.onnx", "out.onnx", "data.npz"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": case, "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data}));
    let line = compress(&model, &out, &[]).refused();
    let reason = "2 x weight is quantised (--quantized looks through it)";
    assert!(line.contains(reason), "{line}");
    [model, out, data]
}

/// Quantised weights stay as they are, to the byte, unless they are to be looked through: then
/// the model equals the original at full rank, with floats in the place of rewritten weights.
#[test]
fn quantised_weights_are_rewritten_where_that_is_asked_for() {
    let scratch = Scratch::new();
    let [model, out, data] = quantised(&scratch, "quantized");
    let plan = scratch.path("plan.json");
    let full = [
        "compress",
        &model,
        "-o",
        &out,
        "--energy",
        "1",
        "--allow-costlier",
    ];
    let plain = ["--data-free=weights", "--save-plan", &plan];
    let made = |options: &[&str]| {
        let report = sepconv(&[&full[..], &plain, options, &["--json", "--force"]].concat()).json();
        let forms = report["layers"].as_array().unwrap().iter();
        let kept = forms.filter(|l| l["form"] == "kept").count();
        let seen = ask(json!({"do": "interface", "original": model, "rewritten": out}));
        let found = ask(json!({"do": "agree", "model": out, "reference": model, "inputs": data}));
        (kept, seen, worst(&found["error"]))
    };
    let (kept, seen, error) = made(&["--quantized"]);
    assert_eq!(kept, 0);
    assert!(error <= 1e-4, "{error:e}");
    let gone = ["w", "v"].map(|v| format!("DequantizeLinear that makes '{v}' is gone"));
    assert_eq!(seen["problems"], json!(gone), "those of the weights alone");
    let again = scratch.path("again.onnx");
    sepconv(&["compress", &model, "-o", &again, "--plan", &plan]).ok();
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&again).unwrap());
    let (kept, seen, error) = made(&["--quantized", "--skip", "second"]);
    assert_eq!(kept, 1);
    assert!(error <= 1e-4, "{error:e}");
    assert_eq!(seen["problems"], json!([gone[0]]));
    let names = seen["initializers"].as_array().unwrap();
    assert!(
        names.contains(&json!("u")) && !names.contains(&json!("q")),
        "{names:?}"
    );
}

/// Weights of 4 bits, two in a byte, are looked through as well.
#[test]
fn weights_of_4_bits_are_rewritten_where_that_is_asked_for() {
    let scratch = Scratch::new();
    let [model, out, data] = quantised(&scratch, "quantized-4");
    let made = [
        "compress",
        &model,
        "-o",
        &out,
        "--energy",
        "1",
        "--allow-costlier",
        "--data-free=weights",
        "--quantized",
        "--json",
    ];
    let report = sepconv(&made).json();
    let mut layers = report["layers"].as_array().unwrap().iter();
    assert!(layers.all(|l| l["form"] != "kept"), "{report}");
    let found = ask(json!({"do": "agree", "model": out, "reference": model, "inputs": data}));
    let error = worst(&found["error"]);
    assert!(error <= 1e-4, "{error:e}");
}

/// A weight that is stored in f64 is decomposed and written in f64.
#[test]
fn weights_of_64_bits_keep_their_digits() {
    let scratch = Scratch::new();
    let [model, out, data] = ["model.onnx", "out.onnx", "data.npz"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "double", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data}));
    for form in [
        "--order dw-pw --lowering branches",
        "--order dw-pw --lowering concat",
        "--order pw-dw --lowering fused",
        "--order pw-dw --lowering fused-padded",
        "--families spatial",
        "--families channel",
        "--families tucker",
    ] {
        let mut options = vec!["compress", &model, "-o", &out, "--energy", "1", "--force"];
        options.extend(["--allow-costlier", "--data-free=weights", "--json"]);
        options.extend(form.split(' '));
        let report = sepconv(&options).json();
        let layers = report["layers"].as_array().unwrap();
        assert!(
            layers.iter().all(|l| l["form"] != "kept"),
            "{form}: {layers:?}"
        );
        let seen = ask(json!({"do": "interface", "original": model, "rewritten": out}));
        assert_eq!(seen["problems"], json!([]), "{form}");
        let both = json!({"do": "reference", "model": out, "reference": model, "inputs": data});
        let error = worst(&ask(both)["error"]);
        assert!(error > 0.0 && error <= 1e-9, "{form}: {error:e}");
    }
}
