//! Reports of commands that write no model.

use std::path::Path;

use serde::Serialize;

use super::contents::{command as origin, file_name};
use super::files::{json, write};
use super::format::{bytes, exact, fixed, measured, si};
use super::page::{Block, Page, Section};
use super::report::SCHEMA;
use super::rich::Rich;
use super::table::{Cell, Table};
use super::{html, markdown, measures, spark, tables};
use sepconv::{Inspection, LayerInspection};
use sepconv_eval::BenchRun;
use sepconv_eval::Comparison;
use sepconv_eval::Evaluation;
use sepconv_model::Error;

/// A report of a command that measures or lists: its output as JSON, and a page of it.
#[derive(Debug, Clone, Serialize)]
pub struct CommandReport {
    /// Layout, [`SCHEMA`].
    pub schema: &'static str,
    /// The command: `bench`, `compare`, `eval` or `inspect`.
    pub kind: &'static str,
    /// The command line, where there was one.
    pub command: Option<String>,
    /// Result of the command, as its `--json` prints it.
    pub result: serde_json::Value,
    /// Version of sepconv.
    pub sepconv: &'static str,
    /// Processor and cores.
    pub machine: String,
    #[serde(skip)]
    title: String,
    #[serde(skip)]
    lead: Rich,
    #[serde(skip)]
    table: Table,
}

/// The page of a report of one table.
struct Shown {
    title: String,
    lead: Rich,
    table: Table,
}

impl CommandReport {
    /// Of [`sepconv_eval::bench()`].
    pub fn bench(runs: &[BenchRun], command: Option<String>) -> Self {
        let mut lead = Rich::default();
        for run in runs {
            let Some(last) = run.models.last().filter(|_| run.models.len() > 1) else {
                continue;
            };
            lead = lead
                .text(format!("{} on {} threads: ", run.target, run.threads))
                .code(file_name(&last.file))
                .text(" is ")
                .strong(format!("{}×", fixed(last.speed_up.median, 2)))
                .text(" as fast as ")
                .code(file_name(&run.models[0].file))
                .text(". ");
        }
        Self::new(
            "bench",
            Shown {
                title: "Time per run".to_owned(),
                lead,
                table: tables::timing(runs),
            },
            runs,
            command,
        )
    }

    /// Of [`sepconv_eval::compare()`]: `models` are the two files.
    pub fn compare(models: [&str; 2], comparison: &Comparison, command: Option<String>) -> Self {
        let lead = Rich::default()
            .code(models[0])
            .text(" against ")
            .code(models[1])
            .text(format!(
                ", {} runs on {}.",
                comparison.runs, comparison.target
            ));
        let table = tables::outputs(&comparison.outputs, "Differences of the outputs");
        Self::new(
            "compare",
            Shown {
                title: "Outputs of two models".to_owned(),
                lead,
                table,
            },
            comparison,
            command,
        )
    }

    /// Of [`sepconv_eval::Evaluator::evaluate`]: a model on a data set, run by a runtime.
    pub fn eval(
        model: &str,
        data: &Path,
        target: &str,
        evaluation: &Evaluation,
        command: Option<String>,
    ) -> Self {
        let primary = &evaluation.primary;
        let lead = Rich::default()
            .code(model)
            .text(format!(": {} ", primary.metric.label()))
            .strong(measured(primary))
            .text(format!(" on {} samples of ", exact(primary.n as u64)))
            .code(data.display().to_string())
            .text(format!(", run by {target}."));
        let table = measures::single(&evaluation.measures);
        Self::new(
            "eval",
            Shown {
                title: file_name(model).to_owned(),
                lead,
                table,
            },
            evaluation,
            command,
        )
    }

    /// Of [`sepconv::inspect()`].
    pub fn inspect(found: &Inspection, command: Option<String>) -> Self {
        let lead = Rich::plain(format!("{} operators, ", exact(found.nodes as u64)))
            .titled(si(found.macs), exact(found.macs))
            .text(" MACs, ")
            .titled(si(found.params), exact(found.params))
            .text(" parameters, ")
            .titled(bytes(found.bytes), exact(found.bytes as u64))
            .text(format!(
                "; opset {}. Inputs: {}. Outputs: {}.",
                found.opset,
                found.inputs.join(", "),
                found.outputs.join(", ")
            ));
        let table = convolutions(&found.layers);
        let title = file_name(&found.model);
        Self::new(
            "inspect",
            Shown {
                title: title.to_owned(),
                lead,
                table,
            },
            found,
            command,
        )
    }

    fn new(
        kind: &'static str,
        shown: Shown,
        result: &(impl Serialize + ?Sized),
        command: Option<String>,
    ) -> Self {
        Self {
            schema: SCHEMA,
            kind,
            command,
            result: serde_json::to_value(result).unwrap_or_default(),
            sepconv: sepconv::VERSION,
            machine: sepconv_latency::machine(),
            title: shown.title,
            lead: shown.lead,
            table: shown.table,
        }
    }

    fn page(&self) -> Page {
        let mut page = Page {
            title: self.title.clone(),
            lead: self.lead.clone(),
            sections: vec![Section {
                heading: None,
                blocks: vec![Block::Table(self.table.clone())],
            }],
        };
        let mut blocks = origin(self.command.as_deref());
        let text = format!("sepconv {} on {}.", self.sepconv, self.machine);
        blocks.push(Block::Text(Rich::plain(text)));
        page.section("How it was made", blocks);
        page
    }

    /// Writes the files of [`super::FILES`] but the curve into `folder`, which is made if it is
    /// missing; `report.csv` is the table of the page with all digits.
    ///
    /// # Errors
    /// [`Error::Onnx`] where a file exists and `force` is not set, or can't be written.
    pub fn write(&self, folder: &Path, force: bool) -> Result<(), Error> {
        let page = self.page();
        let texts = [
            Some(json(self)),
            Some(self.table.csv()),
            Some(markdown::render(&page)),
            Some(html::render(&page)),
            None,
        ];
        write(folder, force, texts)
    }
}

/// Energy by rank of every convolution, or the reason for which it stays.
fn convolutions(layers: &[LayerInspection]) -> Table {
    let mut head = ["Convolution", "Kernel", "Stride"].map(Cell::text).to_vec();
    head.extend(["Groups", "MACs", "Weights"].map(Cell::number));
    head.extend(["Energy by rank, DW→PW (%)", "PW→DW (%)", "Kept"].map(Cell::text));
    let caption = "Convolutions in graph order. Energy by rank: share of the kernel's squared \
                   norm that a rank keeps";
    let mut table = Table::new("convolutions", caption, head);
    let joined = |v: Vec<String>| Cell::text(&v.join("×"));
    for l in layers {
        let energy = |form: &str| {
            let ranks = l.ranks.iter().filter(|r| r.form == form);
            let energies: Vec<f64> = ranks.map(|r| r.energy).collect();
            match energies.as_slice() {
                [] => Cell::text("–").exactly(""),
                e => Cell::text(&spark::told(e)).drawn(spark::draw(e, None)),
            }
        };
        table.row(vec![
            Cell::code(&l.name),
            joined(l.kernel.iter().map(ToString::to_string).collect()),
            joined(l.strides.iter().map(ToString::to_string).collect()),
            Cell::number(&l.groups.to_string()),
            match l.macs {
                Some(macs) => Cell::number(&si(macs)).exactly(macs),
                None => Cell::maybe(None).titled("shape unknown"),
            },
            Cell::number(&si(l.params)).exactly(l.params),
            energy("dw-pw"),
            energy("pw-dw"),
            Cell::text(&l.kept.as_ref().map_or(String::new(), ToString::to_string)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fixtures::{evaluated, timing};
    use super::*;

    /// The four files.
    fn written(report: &CommandReport) -> [String; 4] {
        let folder = tempfile::tempdir().unwrap();
        report.write(folder.path(), false).unwrap();
        assert!(report.write(folder.path(), false).is_err());
        report.write(folder.path(), true).unwrap();
        assert!(!folder.path().join("curve.svg").exists());
        ["report.json", "report.csv", "report.md", "report.html"]
            .map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap())
    }

    #[test]
    fn a_bench_in_every_format() {
        let report = CommandReport::bench(&[timing()], Some("sepconv bench a b".into()));
        let [json, csv, markdown, html] = written(&report);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["schema"], &json["kind"]),
            (&SCHEMA.into(), &"bench".into())
        );
        assert_eq!(json["result"][0]["models"][1]["speed_up"]["median"], 2.0);
        assert_eq!(json["command"], "sepconv bench a b");
        assert!(csv.starts_with("Model,Runtime,") && csv.lines().count() == 3);
        assert!(markdown.contains("is **2.00×** as fast as `resnet20.onnx`"));
        assert!(
            html.contains("<span class=\"word\">bench</span>") && html.contains("1.25\u{a0}ms")
        );
    }

    #[test]
    fn an_evaluation_and_a_comparison() {
        let report = evaluated();
        let evaluation = report.original.evaluation.unwrap();
        let eval = CommandReport::eval("m.onnx", Path::new("d.npz"), "tract", &evaluation, None);
        let [_, csv, markdown, html] = written(&eval);
        assert!(
            csv.contains("Top-1 accuracy,logits,labels,91.73,0.2"),
            "{csv}"
        );
        assert!(
            markdown.contains("`m.onnx`: top-1 accuracy **91.73"),
            "{markdown}"
        );
        assert!(html.contains("Made by a call of the library"));
        let comparison = Comparison {
            inputs: sepconv_eval::ComparedOn::Given,
            runs: 8,
            target: "tract",
            outputs: report.outputs,
            not_run: None,
            task: None,
            classes: None,
            pictures: Vec::new(),
        };
        let [json, csv, ..] = written(&CommandReport::compare(["a", "b"], &comparison, None));
        assert!(json.contains("\"runs\": 8"));
        assert!(
            csv.contains("logits,1×10,0.81234,0.0512,21.34,19.87,0.99631,0.9841"),
            "{csv}"
        );
    }
}
