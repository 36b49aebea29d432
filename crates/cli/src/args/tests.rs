//! The same option is the same everywhere: in all commands, and in Python.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, Command, CommandFactory};

use super::Cli;

/// Options of a command, without those of every command.
fn options(command: &Command) -> Vec<&Arg> {
    let own = command.get_arguments().filter(|a| !a.is_global_set());
    own.filter(|a| a.get_long().is_some_and(|long| long != "help"))
        .collect()
}

fn commands() -> Vec<Command> {
    let mut cli = Cli::command();
    cli.build();
    let commands = cli.get_subcommands().cloned();
    commands.filter(|c| c.get_name() != "help").collect()
}

fn command(name: &str) -> Command {
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
    // What all commands that do the same have.
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
    use clap::Parser;
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

/// The Python package's options and their defaults.
const PYTHON: &str = include_str!("../../../python/python/sepconv/_options.py");

/// Options of the command line alone, and their counterparts in Python.
const NOT_IN_PYTHON: [(&str, &str); 5] = [
    ("output", "compress_file's second argument"),
    ("calib", "the argument after the model"),
    ("force", "compress_file's own"),
    ("report", "Report.save"),
    ("save-plan", "Report.save_plan"),
];

/// Options of Python alone.
const NOT_IN_COMMANDS: [(&str, &str); 2] = [
    ("cache", "the command line always keeps statistics"),
    ("input_shapes", "the former name of input_shape"),
];

/// Fields of `Options` with their annotations.
fn python() -> BTreeMap<&'static str, String> {
    let class = PYTHON.split("class Options").nth(1).unwrap_or_default();
    let class = class.split("_DEFAULTS").next().unwrap_or_default();
    let mut fields = BTreeMap::new();
    // An annotation goes on up to the docstring.
    for field in class.split("\"\"\"\n") {
        let lines = field
            .lines()
            .take_while(|l| !l.trim_start().starts_with("\"\"\""));
        let text = lines.map(str::trim).filter(|line| !line.is_empty());
        let text: Vec<&str> = text.collect();
        let Some((name, first)) = text.first().and_then(|l| l.split_once(": ")) else {
            continue;
        };
        fields.insert(name, format!("{first}{}", text[1..].concat()));
    }
    fields
}

#[test]
fn python_takes_what_the_command_line_takes() {
    let command = command("compress");
    let long = |a: &&Arg| a.get_long().unwrap_or_default().to_owned();
    let all: BTreeSet<String> = options(&command).iter().map(long).collect();
    let ours: BTreeSet<String> = all
        .iter()
        .filter(|name| NOT_IN_PYTHON.iter().all(|(own, _)| own != name))
        .map(|name| name.replace('-', "_"))
        .collect();
    let theirs: BTreeSet<String> = python()
        .keys()
        .filter(|name| NOT_IN_COMMANDS.iter().all(|(own, _)| own != *name))
        .map(|name| (*name).to_owned())
        .collect();
    assert_eq!(ours, theirs);
    for (name, _) in NOT_IN_COMMANDS {
        assert!(python().contains_key(name), "{name}");
    }
}

#[test]
fn choices_and_defaults_are_the_same_in_python() {
    let (command, python) = (command("compress"), python());
    let (mut choices, mut defaults) = (0, 0);
    for option in options(&command) {
        let name = option.get_long().unwrap_or_default().replace('-', "_");
        let Some(annotation) = python.get(name.as_str()) else {
            continue;
        };
        let values = option.get_possible_values();
        if option.get_action().takes_values() && !values.is_empty() {
            let ours: BTreeSet<&str> = values.iter().map(|v| v.get_name()).collect();
            let theirs: BTreeSet<&str> = annotation.split('"').skip(1).step_by(2).collect();
            assert_eq!(ours, theirs, "{name}");
            choices += 1;
        }
        let default = option.get_default_values().first().and_then(|v| v.to_str());
        if let Some(default) = default.filter(|_| option.get_action().takes_values()) {
            let line = format!("    \"{name}\": ");
            let theirs = PYTHON.lines().find_map(|l| l.strip_prefix(&line));
            let theirs = theirs.map(|v| v.trim_end_matches(',').trim_matches('"').replace('_', ""));
            assert_eq!(theirs.as_deref(), Some(default), "{name}");
            defaults += 1;
        }
    }
    assert!(choices >= 3 && defaults >= 8, "{choices} {defaults}");
}
