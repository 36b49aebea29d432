//! `--report` of every command: the files, and how a browser shows them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Browser, NO_BROWSER, Scratch, digits, digits_eval, sepconv, skipped};

fn read(folder: &str, name: &str) -> String {
    std::fs::read_to_string(Path::new(folder).join(name)).unwrap()
}

/// The folders of reports of all commands, by name.
fn reports(scratch: &Scratch) -> Vec<(&'static str, String)> {
    let (model, data) = (digits(), digits_eval());
    let (path, out) = (model.path.as_str(), scratch.path("out.onnx"));
    let smaller = model.at_rank_2();
    let commands: [(&str, Vec<&str>); 5] = [
        (
            "compress",
            vec![path, "--rank", "2", "--data-free=weights", "-o", &out],
        ),
        (
            "bench",
            vec![path, &smaller, "--threads", "1", "--runs", "2"],
        ),
        ("compare", vec![path, &smaller, "--samples", "2"]),
        (
            "eval",
            vec![
                path,
                "--data",
                &data,
                "--max-samples",
                "50",
                "--scale",
                "1/255",
            ],
        ),
        ("inspect", vec![path]),
    ];
    let run = |(name, args): (&'static str, Vec<&str>)| {
        let folder = scratch.path(name);
        let args = [&[name], args.as_slice(), &["--report", &folder]].concat();
        let text = sepconv(&args).ok();
        assert!(text.contains("report.html"), "{text}");
        // Nothing is replaced unasked, and that is said before the work.
        let line = sepconv(&args).refused();
        assert!(line.contains("exists already"), "{line}");
        (name, folder)
    };
    commands.map(run).to_vec()
}

#[test]
fn every_command_reports_in_every_format_and_fits_a_phone() {
    let scratch = Scratch::new();
    let reports = reports(&scratch);
    for (name, folder) in &reports {
        let json: Value = serde_json::from_str(&read(folder, "report.json")).unwrap();
        assert_eq!(json["schema"], "sepconv-report/3", "{name}");
        assert_eq!(json["kind"], *name);
        let command = json["command"].as_str();
        let command = command.or(json["settings"]["command"].as_str()).unwrap();
        assert!(
            command.starts_with(&format!("sepconv {name} ")),
            "{command}"
        );
        assert!(json["machine"].as_str().unwrap().contains("cores"));
        let csv = read(folder, "report.csv");
        let columns = csv.split("\r\n").next().unwrap().split(',').count();
        assert!(columns > 4 && csv.matches("\r\n").count() > 1, "{csv}");
        let markdown = read(folder, "report.md");
        assert!(
            markdown.starts_with("# ") && markdown.contains("| --- |"),
            "{markdown}"
        );
        assert!(read(folder, "report.html").contains(&format!(">{name}</span>")));
        let curve = Path::new(folder).join("curve.svg").exists();
        assert_eq!(curve, *name == "compress");
    }
    let (_, folder) = &reports[0];
    let csv = read(folder, "report.csv");
    assert!(csv.contains("\r\nresult,result,0.") && csv.contains("\r\noriginal,original,1,1,"));
    let json: Value = serde_json::from_str(&read(folder, "report.json")).unwrap();
    let layers = json["layers"].as_array().unwrap();
    let rewritten = layers.iter().filter(|l| l["form"] != "kept");
    for layer in rewritten {
        // Rank 9 of a 3x3 kernel keeps all.
        let spectrum = layer["spectrum"].as_array().unwrap();
        assert_eq!(spectrum.len(), 9, "{layer}");
        assert!(
            (spectrum[8].as_f64().unwrap() - 1.0).abs() < 1e-6,
            "{layer}"
        );
    }
    let Some(browser) = Browser::find() else {
        return skipped(NO_BROWSER);
    };
    let page = |folder: &String| PathBuf::from(folder).join("report.html");
    let pages: Vec<PathBuf> = reports.iter().map(|(_, folder)| page(folder)).collect();
    let blank = browser.screenshot(Path::new(&scratch.write("blank.html", b"")), true);
    let shot = browser.screenshot(&pages[0], false);
    assert!(shot.len() > 8 * blank.len(), "{} bytes", shot.len());
    assert!(browser.printed(&pages[0]).starts_with(b"%PDF"));
    for laid in browser.lay_out(&pages, 390, true) {
        assert!(laid.scroll <= laid.client, "{laid:?}");
        assert!(laid.text >= 11.0, "{laid:?}");
        assert_eq!(laid.background, "rgb(20, 23, 27)", "{laid:?}");
        let drawn = ["compress", "inspect"]
            .iter()
            .any(|name| laid.page.parent().unwrap().ends_with(name));
        assert_eq!(laid.drawings > 0, drawn, "{laid:?}");
        assert!(
            laid.overlaps.is_empty() && laid.clipped.is_empty(),
            "{laid:?}"
        );
    }
}
