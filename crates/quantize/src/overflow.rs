//! Errors of a layer whose products are added into 16 bits.
//!
//! Kernels of x86 processors without VNNI add the products of two neighbouring inputs, channels before taps, with
//! saturation (`vpmaddubsw`).

use rayon::prelude::*;

use crate::grid::Grid;
use crate::layers::Layer;
use crate::moments::{GroupMoments, Moments};
use crate::weights::Rounded;

/// Mean squared error per position of the outputs, all channels together, by sums of two products beyond 16 bits, of a
/// layer that reads a value of the grid `input`.
pub(crate) fn overflow(layer: &Layer, input: Grid, rounded: &Rounded, moments: &Moments) -> f64 {
    let (d, taps) = (layer.width(), layer.shape.taps());
    let inputs = layer.shape.group_in();
    // A depthwise convolution multiplies in 16 bits and adds in 32.
    if layer.shape.groups > 1 && inputs == 1 {
        return 0.0;
    }
    let order: Vec<usize> = (0..taps)
        .flat_map(|tap| (0..inputs).map(move |channel| channel * taps + tap))
        .collect();
    let rows = layer.shape.out_channels / layer.shape.groups;
    let groups = moments.groups.iter().enumerate();
    let energies = groups.map(|(group, own)| {
        let rows = group * rows..(group + 1) * rows;
        let integers = &rounded.integers[rows.start * d..rows.end * d];
        let scales = &rounded.scales[rows];
        let energies = integers.par_chunks(d).zip(scales).map(|(row, scale)| {
            let excess = squared_excess(row, own, &order);
            excess * f64::from(*scale).powi(2)
        });
        // Summed in order.
        energies.collect::<Vec<f64>>().iter().sum::<f64>()
    });
    energies.sum::<f64>() * f64::from(input.scale).powi(2)
}

/// Mean square of the part of a row's sums of two that does not fit 16 bits, in integers.
fn squared_excess(row: &[i8], own: &GroupMoments, order: &[usize]) -> f64 {
    let patches = own.kept.chunks_exact(row.len().max(1));
    let count = patches.len().max(1) as f64;
    let squares = patches.map(|patch| {
        let product = |at: usize| i32::from(patch[at]) * i32::from(row[at]);
        let excess = order.chunks(2).map(|pair| {
            let sum: i32 = pair.iter().map(|at| product(*at)).sum();
            i64::from(sum - sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)))
        });
        (excess.sum::<i64>() as f64).powi(2)
    });
    squares.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_two_end_at_16_bits() {
        let own = GroupMoments {
            // Two channels of two taps.
            kept: vec![255, 10, 255, 10, 255, 255, 0, 0],
            ..GroupMoments::default()
        };
        // Channels are neighbours: 255 · 127 · 2 is beyond by 32003 in the first patch alone.
        let found = squared_excess(&[127, 127, 127, 127], &own, &[0, 2, 1, 3]);
        assert_eq!(found, f64::from(32003).powi(2) / 2.0);
        let opposed = squared_excess(&[127, 127, -127, -127], &own, &[0, 2, 1, 3]);
        assert_eq!(opposed, 0.0);
        // Sums of seven bits fit.
        assert_eq!(squared_excess(&[64; 4], &own, &[0, 2, 1, 3]), 0.0);
        assert_eq!(squared_excess(&[-64; 4], &own, &[0, 1, 2, 3]), 0.0);
    }
}
