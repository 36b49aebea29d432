//! The table of convolutions.

use super::format::{exact, percent, ratio, seconds, si};
use super::spark;
use super::table::{Cell, Table};
use sepconv::LayerRecord;

/// Columns that only some models have.
#[derive(Clone, Copy)]
struct Optional {
    fits: bool,
    times: bool,
    spectra: bool,
    inner: bool,
}

/// The convolutions in graph order.
pub(super) fn table(layers: &[LayerRecord]) -> Table {
    let has = Optional {
        fits: layers.iter().any(|l| l.fit.is_some()),
        times: layers.iter().any(|l| l.time.is_some()),
        spectra: layers.iter().any(|l| !l.spectrum.is_empty()),
        inner: layers.iter().any(|l| l.in_subgraph),
    };
    let mut head = vec![
        Cell::text("Convolution"),
        Cell::text("Form"),
        Cell::number("Rank"),
        Cell::text("Lowering"),
    ];
    head.extend(["MACs before", "MACs after", "Ratio"].map(Cell::number));
    if has.fits {
        head.push(Cell::number("Output error"));
    }
    head.push(Cell::number("Weight error"));
    if has.times {
        head.extend(["Time before", "Time after"].map(Cell::number));
    }
    if has.spectra {
        head.push(Cell::text("Energy by rank (%)"));
    }
    let mut table = Table::new("convolutions", &caption(has), head);
    for layer in layers {
        table.row(row(layer, has));
    }
    table
}

fn caption(has: Optional) -> String {
    let mut text = "Convolutions in graph order.".to_owned();
    if has.inner {
        text.push_str(
            " Those of subgraphs and functions come last; their MACs are those of one run of the \
             body, and not among the model's.",
        );
    }
    if has.fits {
        text.push_str(
            " Output error: of the layer's output, relative, on data held out of the fit.",
        );
    }
    text.push_str(" Weight error: relative Frobenius error of the kernel without data.");
    if has.spectra {
        text.push_str(" Energy by rank: share of the kernel's squared norm that a rank keeps.");
    }
    text
}

/// The rank to be marked on the spectrum of a layer: that of its replacement, where the spectrum is of the same family.
fn marked(layer: &LayerRecord) -> Option<usize> {
    let candidate = layer.candidate()?;
    let energy = layer.spectrum.get(candidate.rank.checked_sub(1)?)?;
    let is_of_it = (energy - candidate.energy).abs() < 1e-9;
    is_of_it.then_some(candidate.rank)
}

fn row(layer: &LayerRecord, has: Optional) -> Vec<Cell> {
    let macs = |macs: Option<u64>| match macs {
        Some(macs) => Cell::number(&si(macs)).titled(exact(macs)).exactly(macs),
        None => Cell::maybe(None).titled("shape unknown"),
    };
    let none = || Cell::maybe(None);
    let time = |time: Option<f64>| match time {
        Some(time) => Cell::number(&seconds(time)).exactly(time),
        None => none(),
    };
    let mut cells = vec![Cell::code(&layer.name)];
    match layer.rank() {
        Some(rank) => cells.extend([
            Cell::text(layer.form()),
            Cell::number(&rank.to_string()),
            Cell::text(layer.lowering.as_deref().unwrap_or("–")),
        ]),
        None => {
            let why = layer.reason().map_or(String::new(), |r| format!(": {r}"));
            cells.push(Cell::text(&format!("{}{why}", layer.form())).over(3));
        }
    }
    let rewritten = layer.is_rewritten();
    let saved = layer.macs_before.zip(layer.macs_after);
    let saved = saved.filter(|_| rewritten);
    cells.extend([
        macs(layer.macs_before),
        macs(layer.macs_after),
        Cell::maybe(saved.and_then(|(before, after)| ratio(after, before))),
    ]);
    if has.fits {
        let error = layer
            .fit
            .map(|f| f.held_out_error.unwrap_or(f.output_error));
        cells.push(error.map_or_else(none, |e| Cell::number(&percent(e)).exactly(e)));
    }
    cells.push(if rewritten {
        Cell::number(&percent(layer.weight_error())).exactly(layer.weight_error())
    } else {
        none()
    });
    if has.times {
        let own = layer.time;
        cells.extend([time(own.map(|t| t.before)), time(own.map(|t| t.after))]);
    }
    if has.spectra {
        let told = spark::told(&layer.spectrum);
        cells.push(match layer.spectrum.as_slice() {
            [] => Cell::text("–"),
            spectrum => Cell::text(&told)
                .titled(told)
                .drawn(spark::draw(spectrum, marked(layer))),
        });
    }
    cells
}

#[cfg(test)]
mod tests {
    use sepconv_passes::Choice;

    use super::super::fixtures::{calibrated, evaluated};
    use super::*;

    #[test]
    fn layers_say_what_became_of_them() {
        let html = table(&evaluated().layers).html();
        assert_eq!(html.matches("<tr>").count(), 5);
        assert!(html.contains(r#"<td colspan="3">kept: pointwise kernel</td>"#));
        assert!(html.contains("<td>dw-pw</td><td class=\"number\">2</td><td>branches</td>"));
        assert!(html.contains("title=\"0.1234\">12.34\u{a0}%"));
    }

    #[test]
    fn every_row_of_layers_has_all_columns() {
        for (layers, columns) in [(evaluated().layers, 8), (calibrated().layers, 12)] {
            let html = table(&layers).html();
            for row in html.split("<tr>").skip(1) {
                let cells = row.matches("</td>").count() + row.matches("</th>").count();
                let spanned = if row.contains("colspan=\"3\"") { 2 } else { 0 };
                assert_eq!(cells + spanned, columns, "{row}");
            }
        }
    }

    #[test]
    fn a_rank_of_another_family_is_not_marked_on_a_spectrum() {
        let mut layers = calibrated().layers;
        let marks = |layers: &[LayerRecord]| table(layers).html().matches("<circle").count();
        assert_eq!(marks(&layers), 3);
        // At the same rank, Tucker keeps another share of the kernel.
        if let Choice::Separate(candidate) = &mut layers[0].choice {
            (candidate.family, candidate.energy) = ("tucker".into(), 0.97);
        }
        assert_eq!(marks(&layers), 2);
    }

    #[test]
    fn fits_times_and_spectra_where_they_are_known() {
        let table = table(&calibrated().layers);
        let html = table.html();
        assert!(html.contains("Output error") && html.contains("title=\"0.043\">4.30\u{a0}%"));
        assert!(html.contains(">1.25\u{a0}ms<"), "{html}");
        assert!(html.contains("class=\"chart spark\"") && html.contains("title=\"61 84 "));
        let text = table.markdown();
        assert!(
            text.contains("| 61 84 ") && !text.contains("<svg"),
            "{text}"
        );
    }
}
