//! Loss at the network's outputs by the error of one layer.

use sepconv_ir::{Graph, Tensor};

use sepconv_eval::{BatchRows, divergence_of};
use sepconv_model::classes::{are_numbers, are_sequences, class_outputs, class_rows, is_by_sample};
use sepconv_model::parts::PartScales;

/// Loss at the outputs as a function of a layer's relative squared output error, through
/// measured points: straight lines in the logarithms of both.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LossCurve {
    points: Vec<(f64, f64)>,
}

/// Least and greatest slope that is believed beyond the points.
const SLOPES: (f64, f64) = (1.0, 2.0);

impl LossCurve {
    /// A curve through `(error, loss)` points. Those that are not positive are left out;
    /// without any, loss is taken to be the error itself.
    pub fn new(mut points: Vec<(f64, f64)>) -> Self {
        points.retain(|(e, d)| *e > 1e-12 && *d > 0.0 && e.is_finite() && d.is_finite());
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|a, b| a.0 < b.0 * 1.05);
        // More error does not repair anything: noise of the probes.
        for i in 1..points.len() {
            points[i].1 = points[i].1.max(points[i - 1].1);
        }
        Self { points }
    }

    /// The loss of an error.
    pub fn at(&self, error: f64) -> f64 {
        if error <= 0.0 {
            return 0.0;
        }
        let Some(((e0, d0), rest)) = self.points.split_first() else {
            return error;
        };
        if error <= *e0 {
            // Small errors act linearly on the outputs, and loss is quadratic in them.
            return d0 * (error / e0);
        }
        let mut from = (*e0, *d0);
        let mut slope = 1.0;
        for (e, d) in rest {
            slope = (d / from.1).ln() / (e / from.0).ln();
            if error <= *e {
                return from.1 * (error / from.0).powf(slope);
            }
            from = (*e, *d);
        }
        from.1 * (error / from.0).powf(slope.clamp(SLOPES.0, SLOPES.1))
    }
}

/// The loss of an error at a layer that was not probed, between two that were: in the logarithm,
/// at `share` of the way from the first to the second.
pub(crate) fn between(before: &LossCurve, behind: &LossCurve, share: f64, error: f64) -> f64 {
    let (a, b) = (before.at(error), behind.at(error));
    if a <= 0.0 || b <= 0.0 {
        return (1.0 - share) * a + share * b;
    }
    (a.ln() + share * (b.ln() - a.ln())).exp()
}

/// The measure of the distance of an output from the original's.
#[derive(Debug, Clone)]
pub(crate) struct OutputMeasure {
    /// Variances of its parts.
    pub scales: Option<PartScales>,
    /// It may be of classes, by its shape.
    pub classes: bool,
    /// It is of sequences of classes.
    pub sequences: bool,
}

/// True of an output whose values are no classes, whatever its shape.
fn are_numbers_of(output: usize, batches: &[Vec<Tensor>]) -> bool {
    let own = batches.iter().filter_map(|outputs| outputs.get(output));
    let columns = own.clone().find_map(|own| class_rows(own.dims()));
    let values = own.filter_map(Tensor::to_f32);
    let values = values.flat_map(|own| own.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
    columns.is_some_and(|(_, columns)| are_numbers(columns, values))
}

impl OutputMeasure {
    /// Of the outputs of a network, by their values in several batches of `rows`. One without an axis of the batch is of
    /// no classes: `[frames, pitches]` of a network that takes one recording.
    pub fn of_outputs(graph: &Graph, batches: &[Vec<Tensor>], rows: usize) -> Vec<Self> {
        let by_sample = |output: usize| {
            let mut own = batches.iter().filter_map(|outputs| outputs.get(output));
            own.all(|own| is_by_sample(own.dims(), rows))
        };
        let scales = PartScales::of_outputs(batches).into_iter();
        let measures = scales.zip(class_outputs(graph)).enumerate();
        let measures = measures.map(|(output, (scales, classes))| Self {
            scales,
            classes: classes && by_sample(output) && !are_numbers_of(output, batches),
            sequences: batches.first().is_some_and(|outputs| {
                let own = &outputs[output];
                let values = own.to_f64();
                values.is_some_and(|values| are_sequences(own.dims(), &values))
            }),
        });
        measures.collect()
    }

    /// Rows and columns of the output where it is of classes.
    pub fn class_rows(&self, output: &Tensor) -> Option<(usize, usize)> {
        class_rows(output.dims()).filter(|_| self.classes)
    }
}

/// The distance of the outputs of a batch from the original's, summed over its rows: for classes
/// the Kullback-Leibler divergence in nats, of sequences the mean over their steps; for other numbers the squared error
/// over the variance of the part, which `measures` has for every output; over the squared values where it has none.
pub(crate) fn loss(
    original: &[Tensor],
    other: &[Tensor],
    measures: &[OutputMeasure],
    rows: BatchRows,
) -> f64 {
    let outputs = original.iter().zip(other).enumerate();
    outputs
        .filter_map(|(place, (a, b))| {
            let measure = measures.get(place);
            let scale = measure.and_then(|measure| measure.scales.as_ref());
            let (x, y) = (a.to_f32()?, b.to_f32()?);
            // An output without an axis of the batch is one row.
            let (all, valid) = match is_by_sample(a.dims(), rows.all) {
                true => (rows.all, rows.valid),
                false => (1, 1),
            };
            let wide = x.len().checked_div(all)?;
            if wide == 0 || x.len() != y.len() {
                return None;
            }
            // Classes of a sample, or of each of its steps.
            let classes = match measure {
                Some(measure) if measure.sequences => a.dims().last().copied(),
                Some(measure) => measure.class_rows(a).map(|(_, classes)| classes),
                None => class_rows(a.dims()).map(|(_, classes)| classes),
            };
            let rows = x.chunks_exact(wide).zip(y.chunks_exact(wide)).take(valid);
            let of = |(x, y): (&[f32], &[f32])| match (classes, scale) {
                (Some(classes), _) => {
                    let steps = x.chunks_exact(classes).zip(y.chunks_exact(classes));
                    let losses = steps.map(|(x, y)| row_loss(x, y, true));
                    losses.sum::<f64>() / (wide / classes) as f64
                }
                (None, Some(scale)) => finite(scale.error(a.dims(), x, y)),
                (None, None) => row_loss(x, y, false),
            };
            Some(rows.map(of).sum::<f64>())
        })
        .sum()
}

fn row_loss(x: &[f32], y: &[f32], classes: bool) -> f64 {
    let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let (x, y) = (wide(x), wide(y));
    let loss = if classes {
        divergence_of(&x, &y)
    } else {
        let noise: f64 = x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum();
        let signal: f64 = x.iter().map(|x| x * x).sum();
        noise / signal.max(1e-30)
    };
    finite(loss)
}

/// A loss; one that is no number is as bad as can be.
fn finite(loss: f64) -> f64 {
    if loss.is_finite() { loss } else { 1e9 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice::from_ref;

    #[test]
    fn the_curve_passes_its_points_and_never_falls() {
        let curve = LossCurve::new(vec![(0.4, 0.9), (0.1, 0.1), (0.2, 0.05)]);
        assert!((curve.at(0.1) - 0.1).abs() < 1e-12);
        assert!((curve.at(0.4) - 0.9).abs() < 1e-12);
        assert!((curve.at(0.05) - 0.05).abs() < 1e-12);
        let values: Vec<f64> = (0..100).map(|i| curve.at(f64::from(i) / 100.0)).collect();
        assert!(values.is_sorted() && values[0] == 0.0);
        assert!(curve.at(0.8) <= 0.9 * 4.0 + 1e-9);
    }

    #[test]
    fn between_two_curves_the_logarithm_is_a_line() {
        let low = LossCurve::new(vec![(0.1, 0.01)]);
        let high = LossCurve::new(vec![(0.1, 1.0)]);
        let at = |share| between(&low, &high, share, 0.1);
        assert!((at(0.0) - 0.01).abs() < 1e-12 && (at(1.0) - 1.0).abs() < 1e-12);
        assert!((at(0.5) - 0.1).abs() < 1e-12);
        assert_eq!(between(&low, &high, 0.5, 0.0), 0.0);
    }

    #[test]
    fn without_a_point_the_error_is_the_damage() {
        let curve = LossCurve::new(vec![(0.0, 0.0), (0.1, f64::NAN)]);
        assert!((curve.at(0.3) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn classes_are_compared_by_divergence_and_maps_by_energy() {
        let t = |dims: &[usize], v: &[f32]| Tensor::from_f32(dims.to_vec(), v.to_vec());
        let (a, b) = (t(&[1, 2], &[0.0, 0.0]), t(&[1, 2], &[1.0, 1.0]));
        // The same probabilities.
        let rows = |all, valid| BatchRows { all, valid };
        assert!(loss(&[a], &[b], &[], rows(1, 1)).abs() < 1e-9);
        let (a, b) = (
            t(&[2, 1, 1, 2], &[3.0, 4.0, 9.0, 9.0]),
            t(&[2, 1, 1, 2], &[3.0, 3.0, 0.0, 0.0]),
        );
        // The second row is padding.
        assert!((loss(from_ref(&a), from_ref(&b), &[], rows(2, 1)) - 1.0 / 25.0).abs() < 1e-9);
        // Over the variance of the second channel, 4 and 9.
        let measures = [OutputMeasure {
            scales: PartScales::of([&a]),
            classes: true,
            sequences: false,
        }];
        assert!((loss(&[a], &[b], &measures, rows(2, 1)) - 0.5 / 6.25).abs() < 1e-9);
        // Numbers beside an output of classes, over the variance of all columns.
        let (a, b) = (
            t(&[2, 2], &[0.0, 2.0, 0.0, 2.0]),
            t(&[2, 2], &[1.0, 3.0, 0.0, 2.0]),
        );
        let numbers = [OutputMeasure {
            scales: PartScales::of([&a]),
            classes: false,
            sequences: false,
        }];
        assert!((loss(&[a], &[b], &numbers, rows(2, 2)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn all_of_an_output_without_an_axis_of_the_batch_counts() {
        let t = |v: &[f32]| Tensor::from_f32(vec![3, 1, 2], v.to_vec());
        let (a, b) = (
            t(&[9.0, 0.0, 9.0, 0.0, 9.0, 0.0]),
            t(&[9.0, 0.0, 9.0, 0.0, 0.0, 9.0]),
        );
        let rows = BatchRows { all: 1, valid: 1 };
        // The squared error of the last step over all squares.
        let squares = loss(from_ref(&a), from_ref(&b), &[], rows);
        assert!((squares - 162.0 / 243.0).abs() < 1e-9, "{squares}");
        let measures = [OutputMeasure {
            scales: None,
            classes: false,
            sequences: true,
        }];
        // About 9 nats in one step of three.
        let divergence = loss(&[a], &[b], &measures, rows);
        assert!((divergence - 3.0).abs() < 0.01, "{divergence}");
    }
}
