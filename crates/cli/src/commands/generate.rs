//! `sepconv completions`, `sepconv man`.

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::output::Output;

pub fn completions(args: &CompletionsArgs, out: &Output) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sepconv", &mut text);
    print(&String::from_utf8_lossy(&text), "completions", out);
    Ok(())
}

pub fn man(out: &Output) -> Result<()> {
    let mut text = Vec::new();
    let command = Cli::command();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    for sub in command.get_subcommands() {
        let name = format!("sepconv-{}", sub.get_name());
        let sub = sub.clone().name(name.clone()).display_name(name);
        let man = clap_mangen::Man::new(sub);
        man.render_name_section(&mut text)?;
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        man.render_options_section(&mut text)?;
        man.render_extra_section(&mut text)?;
    }
    print(&String::from_utf8_lossy(&text), "man", out);
    Ok(())
}

fn print(text: &str, key: &str, out: &Output) {
    if out.is_json() {
        out.json(&serde_json::json!({ key: text }));
    } else {
        out.raw(text);
    }
}
