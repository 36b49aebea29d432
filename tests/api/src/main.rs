//! `sepconv-api JSON LISTING [--write]`: holds rustdoc's JSON of a crate against a listing of its
//! public API.

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [json, listing, rest @ ..] = args.as_slice() else {
        return Err("usage: sepconv-api JSON LISTING [--write]".into());
    };
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    let api = match api {
        Ok(api) => format!("{api}"),
        // Every toolchain has its own layout, and the listing comes from one of them.
        Err(error @ public_api::Error::SerdeJsonError(_)) if Path::new(json).is_file() => {
            println!("skipped: tests/api/check: the JSON of this rustdoc is of another layout: {error}");
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(format!("{json}: {error}").into()),
    };
    if rest.first().is_some_and(|a| a == "--write") {
        std::fs::write(listing, &api)?;
    }
    let listed = std::fs::read_to_string(listing)?;
    let only = |a: &str, b: &str, sign: &str| {
        let other: HashSet<&str> = b.lines().collect();
        let lines = a.lines().filter(|line| !other.contains(line));
        lines.map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    let changes = only(&listed, &api, "-") + &only(&api, &listed, "+");
    if changes.is_empty() {
        println!("{} items, as listed", api.lines().count());
        return Ok(ExitCode::SUCCESS);
    }
    println!("the public API changed (`tests/api/check --write` takes it over):\n{changes}");
    Ok(ExitCode::FAILURE)
}
