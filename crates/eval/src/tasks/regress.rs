//! Numbers: the error of every part over its own spread.

use crate::channels::Channels;
use crate::evaluate::{Against, Measure, Metric};

/// The relative error of the worst channel of every output, the worst output first.
pub(super) fn measures(
    names: &[String],
    outputs: &[Option<(Vec<Channels>, usize)>],
) -> Vec<Measure> {
    let named = names.iter().zip(outputs);
    let measures = named.filter_map(|(name, output)| {
        let (batches, rank) = output.as_ref()?;
        let worst = Channels::worst_of(batches, *rank)?;
        let differ = batches.iter().any(Channels::differ);
        let value = match (worst.snr_db, differ) {
            (Some(db), _) => 100.0 * 10f64.powf(-db / 20.0),
            (None, true) => f64::NAN,
            (None, false) => 0.0,
        };
        let part = match worst.channels {
            1 => name.clone(),
            all => format!("{name}, channel {} of {all}", worst.channel),
        };
        let figure = Measure {
            value,
            n: batches.len(),
            ..Measure::blank(Metric::RelativeError, Against::Original, &part)
        };
        // Of a small change of the logarithm.
        let stderr = worst
            .stderr_db
            .map(|db| value * db * std::f64::consts::LN_10 / 20.0);
        Some(figure.with_error(stderr.or((!differ).then_some(0.0))))
    });
    let mut measures: Vec<Measure> = measures.collect();
    let rank = |m: &Measure| {
        if m.value.is_nan() {
            f64::INFINITY
        } else {
            m.value
        }
    };
    measures.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    measures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_is_the_first_on_its_own_scale() {
        // Spreads of 100 and 1; errors of 1 and 0.1.
        let a = [100.0, 1.0, -100.0, -1.0];
        let b = [101.0, 1.1, -101.0, -1.1];
        let fine = Channels::of(&[2, 1], &[1.0, -1.0], &[1.001, -1.001]);
        let mixed = Channels::of(&[2, 2], &a, &b);
        let names = ["fine".to_owned(), "mixed".to_owned()];
        let seen = measures(&names, &[Some((vec![fine], 2)), Some((vec![mixed], 2))]);
        assert_eq!(seen[0].output, "mixed, channel 1 of 2");
        assert!((seen[0].value - 10.0).abs() < 1e-9, "{seen:?}");
        assert!((seen[1].value - 0.1).abs() < 1e-9, "{seen:?}");
        assert!(!seen[0].metric.higher_is_better());
    }
}
