//! The same option is the same everywhere: in all commands, in the spec, and in Python.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, CommandFactory, Parser};
use sepconv::{QuantizeSpec, Spec};

use super::{Cli, Command};

/// Options of a command, without those of every command.
fn options(command: &clap::Command) -> Vec<&Arg> {
    let own = command.get_arguments().filter(|a| !a.is_global_set());
    own.filter(|a| a.get_long().is_some_and(|long| long != "help"))
        .collect()
}

fn commands() -> Vec<clap::Command> {
    let mut cli = Cli::command();
    cli.build();
    let commands = cli.get_subcommands().cloned();
    commands.filter(|c| c.get_name() != "help").collect()
}

fn command(name: &str) -> clap::Command {
    let found = commands().into_iter().find(|c| c.get_name() == name);
    found.unwrap_or_default()
}

/// An option as it is written: its short form, and the names of its values.
fn written(option: &Arg) -> String {
    let names: Vec<&str> = option
        .get_value_names()
        .into_iter()
        .flatten()
        .map(|n| n.as_str())
        .collect();
    let values = match option.get_action().takes_values() {
        true => names,
        false => Vec::new(),
    };
    format!("{:?} {values:?}", option.get_short())
}

#[test]
fn an_option_is_written_alike_in_all_commands() {
    let mut seen: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for command in commands() {
        for option in options(&command) {
            let long = option.get_long().unwrap_or_default().to_owned();
            let by = seen.entry(long).or_default().entry(written(option));
            by.or_default().push(command.get_name().to_owned());
        }
    }
    assert!(seen.len() > 60, "{}", seen.len());
    let drifted: Vec<_> = seen.iter().filter(|(_, forms)| forms.len() > 1).collect();
    assert!(drifted.is_empty(), "{drifted:#?}");
    // Options that all commands which do the same have.
    let everywhere = |long: &str, commands: &[&str]| {
        let found: Vec<&String> = seen[long].values().flatten().collect();
        let missing: Vec<_> = commands
            .iter()
            .filter(|c| !found.iter().any(|f| f == *c))
            .collect();
        assert!(missing.is_empty(), "--{long}: not in {missing:?}");
    };
    everywhere("data", &["compare", "eval", "run"]);
    everywhere("calib", &["compress", "sweep", "tune", "quantize"]);
    everywhere(
        "scale",
        &["compress", "sweep", "tune", "compare", "eval", "run"],
    );
    everywhere(
        "max-samples",
        &["compress", "sweep", "tune", "compare", "eval", "run"],
    );
    everywhere(
        "seed",
        &[
            "compress", "sweep", "tune", "compare", "eval", "run", "bench",
        ],
    );
    everywhere(
        "target",
        &[
            "compress", "sweep", "tune", "compare", "eval", "run", "bench",
        ],
    );
    everywhere(
        "report",
        &["inspect", "compress", "sweep", "compare", "eval", "bench"],
    );
    let models = [
        "inspect", "compress", "sweep", "tune", "quantize", "compare", "eval", "run", "bench",
    ];
    everywhere("input-shape", &models);
    everywhere("force", &models);
}

#[test]
fn former_names_are_taken_and_not_shown() {
    for line in [
        "sepconv compare a b --input c",
        "sepconv run a --input c -o d",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
    }
    let help = command("run").render_long_help().to_string();
    assert!(
        help.contains("--data") && !help.contains("--input "),
        "{help}"
    );
}

#[test]
fn exit_codes_are_in_the_help() {
    let help = Cli::command().render_long_help().to_string();
    for code in ["0 ", "1 ", "2 ", "130 ", "143 "] {
        let line = format!("\n  {code}");
        assert!(help.contains(&line), "{code}: {help}");
    }
}

/// Options of `compress` that are no part of the spec: which files are written, and where shared
/// libraries of the process are.
const NOT_IN_SPEC: [&str; 5] = ["onnxruntime", "openvino", "output", "report", "save_plan"];

#[test]
fn a_command_has_the_options_of_the_spec() {
    let compress = command("compress");
    let names = options(&compress).into_iter();
    let names = names.map(|a| a.get_long().unwrap_or_default().replace('-', "_"));
    let (own, ours): (BTreeSet<_>, BTreeSet<_>) =
        names.partition(|name| NOT_IN_SPEC.contains(&name.as_str()));
    assert_eq!(own.len(), NOT_IN_SPEC.len(), "{own:?}");
    // Statistics are always kept.
    let spec = Spec::options().into_iter().filter(|name| name != "cache");
    assert_eq!(ours, spec.collect());
}

#[test]
fn quantize_has_the_options_of_its_spec() {
    let quantize = command("quantize");
    let names = options(&quantize).into_iter();
    let names = names.map(|a| a.get_long().unwrap_or_default().replace('-', "_"));
    let apart = ["calib", "onnxruntime", "openvino", "output"];
    let ours: BTreeSet<_> = names.filter(|n| !apart.contains(&n.as_str())).collect();
    assert_eq!(ours, QuantizeSpec::options().into_iter().collect());
    let line = ["sepconv", "quantize", "m", "--calib", "d"];
    let Command::Quantize(args) = Cli::try_parse_from(line).unwrap().command else {
        panic!("another command");
    };
    assert_eq!(args.options, QuantizeSpec::default());
}

#[test]
fn without_options_a_command_asks_for_the_defaults() {
    let line = ["sepconv", "compress", "model.onnx"];
    let Command::Compress(args) = Cli::try_parse_from(line).unwrap().command else {
        panic!("another command");
    };
    let mut spec = args.spec();
    assert!(spec.fit.cache);
    spec.fit.cache = false;
    assert_eq!(spec, Spec::default());
}

#[test]
fn options_are_taken_in_the_forms_of_json() {
    let line = "sepconv compress m --rank 2 --data-free=weights --tune --lowering fused-padded --skip a \
        --families cp,+lowrank --max-memory 2K --resize 32x24";
    let Command::Compress(args) = Cli::try_parse_from(line.split_whitespace())
        .unwrap()
        .command
    else {
        panic!("another command");
    };
    let json = r#"{"rank": 2, "data_free": "weights", "tune": true, "lowering": "fused-padded", "skip": "a",
        "families": "cp,+lowrank", "max_memory": "2K", "resize": [32, 24], "cache": true}"#;
    assert_eq!(args.spec(), Spec::from_json(json).unwrap());
}

#[test]
fn fits_have_a_position_at_least() {
    let line = "sepconv compress m --positions 0".split_whitespace();
    let refused = Cli::try_parse_from(line).err().unwrap().to_string();
    assert!(refused.contains("--positions"), "{refused}");
    let refused = Spec::from_json(r#"{"positions": 0}"#).unwrap_err();
    assert!(refused.to_string().contains("positions"), "{refused}");
}

#[test]
fn help_begins_with_the_common_options() {
    let help = command("compress").render_long_help().to_string();
    let lines = [
        "Options:",
        "  -o, --output <",
        "      --calib <",
        "      --speedup <",
        "      --target-macs <",
        "      --max-drop <",
        "      --int8",
        "      --target <",
        "      --eval <",
        "      --report <",
        "      --force",
        "      --max-time <",
        "  -h, --help",
        "Other budgets, one at most:",
        "      --rank <",
        "      --save-plan <",
        "Runtime:",
        "      --threads <",
        "      --openvino <",
        "Layers and their forms:",
        "      --families <",
        "Fits:",
        "      --data-free[",
        "Inputs and seed:",
        "      --input-shape <",
        "Data:",
        "Messages:",
        "Examples:",
    ];
    let place = |line: &str| help.find(&format!("\n{line}")).expect(line);
    assert!(lines.is_sorted_by_key(|line| place(line)), "{help}");
    let options = help.split("\nOther budgets").next().unwrap();
    let options = options.split("\nOptions:").nth(1).unwrap();
    assert_eq!(options.matches("\n      --").count(), 10, "{options}");
}

/// The lines of examples that are commands, in a help.
fn examples(help: &str) -> Vec<&str> {
    let lines = help.split("\nExamples:\n").nth(1).unwrap_or_default();
    let lines = lines.lines().map(str::trim);
    lines.filter(|line| line.starts_with("sepconv ")).collect()
}

#[test]
fn a_help_ends_with_three_examples_that_parse() {
    let models = [
        "inspect", "compress", "sweep", "tune", "quantize", "compare", "eval", "run", "bench",
    ];
    let mut helps: Vec<String> = vec![Cli::command().render_help().to_string()];
    for name in models {
        let help = command(name).render_help().to_string();
        let own = examples(&help);
        let own = own.iter().all(|line| line.split(' ').nth(1) == Some(name));
        assert!(own, "{help}");
        helps.push(help);
    }
    for help in &helps {
        let examples = examples(help);
        assert_eq!(examples.len(), 3, "{help}");
        for line in examples {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
        }
    }
}

/// The Python package's options.
const PYTHON: &str = include_str!("../../../python/python/sepconv/_options.py");

/// Choices are types in Python, which a type checker knows before the program runs.
#[test]
fn choices_are_the_same_in_python() {
    let command = command("compress");
    let mut choices = 0;
    for option in options(&command) {
        let values = option.get_possible_values();
        if !option.get_action().takes_values() || values.is_empty() {
            continue;
        }
        let name = option.get_long().unwrap_or_default().replace('-', "_");
        let field = PYTHON
            .split_once(&format!("\n    {name}: Literal["))
            .unwrap()
            .1;
        let annotation = field.split(']').next().unwrap_or_default();
        let ours: BTreeSet<&str> = values.iter().map(|v| v.get_name()).collect();
        let theirs: BTreeSet<&str> = annotation.split('"').skip(1).step_by(2).collect();
        assert_eq!(ours, theirs, "{name}");
        choices += 1;
    }
    assert_eq!(choices, 6);
}
