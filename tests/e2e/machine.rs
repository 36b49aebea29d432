//! Output for machines: JSON, completions, the man page, exit codes; and plain text without colour.

use serde_json::Value;

use crate::support::{Scratch, compress, digits, digits_eval, sepconv};

#[test]
fn every_command_prints_json() {
    let scratch = Scratch::new();
    let model = digits().path;
    let data = digits_eval();
    let [a, b] = ["a.onnx", "b.npz"].map(|name| scratch.path(name));
    let seen = sepconv(&["inspect", &model, "--json"]).json();
    assert_eq!(seen["macs"], 48_563_456);
    let layers = seen["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 10);
    assert_eq!(layers[1]["name"], "stem/conv2");
    assert!(layers[1].to_string().contains("energy"), "{}", layers[1]);
    let seen = compress(&model, &a, &["--json"]).json();
    let size = |of: &str| seen[of]["macs"].as_u64().unwrap();
    assert!(size("compressed") < size("original"), "{seen}");
    let seen = sepconv(&["compare", &model, &a, "--json"]).json();
    assert_eq!(seen["outputs"][0]["name"], "logits");
    let seen = sepconv(&["run", &a, "--output", &b, "--json"]).json();
    assert!(seen.to_string().contains("logits"), "{seen}");
    let seen = sepconv(&[
        "eval", &model, "--data", &data, "--scale", "1/255", "--json",
    ])
    .json();
    assert_eq!(seen["primary"]["n"], 500);
}

#[test]
fn inspect_lists_energy_and_cost_of_every_rank() {
    let model = digits().path;
    let seen = sepconv(&["inspect", &model, "--json"]).json();
    let layer = &seen["layers"][2];
    let ranks: Vec<&Value> = layer["ranks"].as_array().unwrap().iter().collect();
    for form in ["dw-pw", "pw-dw"] {
        let of = |key: &str| -> Vec<f64> {
            let these = ranks.iter().filter(|r| r["form"] == form);
            these.map(|r| r[key].as_f64().unwrap()).collect()
        };
        let (energy, macs) = (of("energy"), of("macs"));
        assert_eq!(energy.len(), 9, "{layer}");
        assert!(energy.is_sorted() && macs.is_sorted(), "{layer}");
        assert!((energy[8] - 1.0).abs() < 1e-6, "{layer}");
        // DW->PW and PW->DW at stride 1: K (9 + 64) / (9 * 64) of the MACs.
        assert!((macs[1] - 2.0 * 73.0 / 576.0).abs() < 1e-9, "{layer}");
    }
}

#[test]
fn completions_are_generated_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sepconv(&["completions", shell]).ok();
        assert!(
            script.contains("sepconv") && script.contains("target-macs"),
            "{shell}"
        );
    }
}

#[test]
fn the_man_page_is_generated() {
    let page = sepconv(&["man"]).ok();
    assert!(page.contains(".TH") && page.contains("compress"), "{page}");
}

#[test]
fn help_and_version_succeed() {
    let help = sepconv(&["--help"]).ok();
    for command in ["inspect", "compress", "compare", "eval", "run", "bench"] {
        assert!(help.contains(command), "{command}");
        sepconv(&[command, "--help"]).ok();
    }
    let version = sepconv(&["--version"]).ok();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn output_that_is_piped_has_no_colour_and_quiet_has_no_output() {
    let model = digits().path;
    let scratch = Scratch::new();
    let [a, b] = ["a.onnx", "b.onnx"].map(|name| scratch.path(name));
    let text = compress(&model, &a, &[]).ok();
    assert!(text.contains("MACs") && text.contains("a.onnx"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let run = compress(&model, &b, &["--quiet"]);
    assert_eq!((run.ok().as_str(), run.stderr().as_str()), ("", ""));
    assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap());
}

#[test]
fn wrong_usage_exits_with_2() {
    let model = digits().path;
    let wrong: [&[&str]; 9] = [
        &[],
        &["frobnicate"],
        &["compress"],
        &["compress", &model, "--frobnicate"],
        &["compress", &model, "--rank", "two"],
        &["compress", &model, "--rank", "2", "--energy", "0.9"],
        &["compress", &model, "--rank", "2", "--order", "sideways"],
        &["compress", &model, "--rank", "2", "--lowering", "sideways"],
        &["eval", &model],
    ];
    for args in wrong {
        let run = sepconv(args);
        assert_eq!(run.code(), Some(2), "{run}");
        assert_ne!(run.stderr(), "", "{run}");
    }
}

#[test]
fn data_is_named_alike_everywhere_and_the_former_name_is_taken() {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.npz"));
    let said = |name: &str| {
        let data = [name, "missing.npz"];
        let run = sepconv(&[&["run", &model, "-o", &out][..], &data].concat());
        let compare = sepconv(&[&["compare", &model, &model][..], &data].concat());
        (run.refused(), compare.refused())
    };
    assert_eq!(said("--data"), said("--input"));
    // Data are read as everywhere: with preprocessing, and so many of them.
    let data = ["--data", &digits_eval(), "--scale", "1/255"];
    let some = ["--max-samples", "3", "--json"];
    let compare = ["compare", &model, &model];
    let seen = sepconv(&[&compare[..], &data, &some].concat()).json();
    assert_eq!(seen["runs"], 3);
}
