//! The spectrum of a kernel in the size of a word.

use std::fmt::Write as _;

use super::escape::escape;
use super::format::fixed;

const WIDTH: f64 = 72.0;
const HEIGHT: f64 = 22.0;
/// Room for the mark.
const MARGIN: f64 = 3.0;
/// Ranks whose figures are told.
const TOLD: usize = 9;

/// Share of the energy kept by rank, from 0 at rank 0, with a mark at the rank chosen.
pub(super) fn draw(spectrum: &[f64], rank: Option<usize>) -> String {
    let last = spectrum.len().max(1) as f64;
    let at = |rank: usize, energy: f64| {
        let x = MARGIN + (WIDTH - 2.0 * MARGIN) * rank as f64 / last;
        let y = HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * energy.clamp(0.0, 1.0);
        (x, y)
    };
    let known = spectrum
        .iter()
        .map(|e| if e.is_finite() { *e } else { 0.0 });
    let mut places = String::new();
    for (k, energy) in std::iter::once(0.0).chain(known).enumerate() {
        let (x, y) = at(k, energy);
        let _ = write!(places, "{}{x:.1},{y:.1}", if k > 0 { " " } else { "" });
    }
    let energy = rank.and_then(|k| Some((k, *spectrum.get(k.checked_sub(1)?)?)));
    let mark = energy.map_or(String::new(), |(k, energy)| {
        let (x, y) = at(k, energy);
        format!(r#"<circle class="solid result" cx="{x:.1}" cy="{y:.1}" r="3"/>"#)
    });
    let (right, bottom) = (WIDTH - MARGIN, HEIGHT - MARGIN);
    format!(
        concat!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart spark" viewBox="0 0 {} {}" "#,
            r#"width="{}" height="{}" role="img" aria-label="{}">"#,
            r#"<path class="axis" d="M{} {}H{}"/>"#,
            r#"<polyline class="line uniform" points="{}"/>{}</svg>"#,
        ),
        WIDTH,
        HEIGHT,
        WIDTH,
        HEIGHT,
        escape(&told(spectrum)),
        MARGIN,
        bottom,
        right,
        places,
        mark
    )
}

/// The first shares in percent.
pub(super) fn told(spectrum: &[f64]) -> String {
    let shares = spectrum.iter().take(TOLD).map(|e| fixed(100.0 * e, 0));
    let shares: Vec<String> = shares.collect();
    let more = if spectrum.len() > TOLD { " …" } else { "" };
    format!("{}{more}", shares.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_rises_from_nothing_to_all() {
        let svg = draw(&[0.5, 0.75, 1.0], Some(2));
        assert!(svg.contains(r#"points="3.0,19.0 25.0,11.0 47.0,7.0 69.0,3.0""#));
        assert!(svg.contains(r#"cx="47.0" cy="7.0""#), "{svg}");
        assert!(!draw(&[0.5, 1.0], None).contains("<circle"));
        assert!(!draw(&[0.5, 1.0], Some(9)).contains("<circle"));
        assert!(!draw(&[f64::NAN], Some(0)).contains("NaN,"));
    }

    #[test]
    fn the_first_shares_are_told() {
        assert_eq!(told(&[0.614, 0.9]), "61 90");
        assert!(told(&[1.0; 30]).ends_with("100 …"));
    }
}
