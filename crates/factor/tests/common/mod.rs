//! A naive convolution and correlated random maps, shared by the tests of calibration.
#![allow(dead_code, clippy::unwrap_used)]

use sepconv_factor::random::SplitMix64;
use sepconv_factor::{
    ConvGeometry, Kernel, KernelShape, PositionSampler, SplitStatistics, SplitStatisticsBuilder,
};

/// Reproducible noise in `[-1, 1)`.
pub struct Noise(SplitMix64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::from_state(seed))
    }

    pub fn next(&mut self) -> f32 {
        (self.0.next() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    pub fn take(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

pub fn kernel(shape: &KernelShape, seed: u64) -> Kernel {
    Kernel::new(shape.clone(), Noise::new(seed).take(shape.len())).unwrap()
}

/// A map `[channels, spatial...]` whose channels are smooth along the last axis, share a
/// component, and have means of their own; every fifth is constant zero where `dead`.
pub fn map(channels: usize, spatial: &[usize], seed: u64, dead: bool) -> Vec<f32> {
    let plane: usize = spatial.iter().product();
    let mut noise = Noise::new(seed.wrapping_mul(7919));
    let common = noise.take(plane);
    let mut x = Vec::with_capacity(channels * plane);
    for channel in 0..channels {
        let mut last = 0.0;
        for shared in &common {
            last = 0.7 * last + 0.5 * noise.next();
            let value = last + 0.4 * shared + 0.3 * channel as f32;
            x.push(if dead && channel % 5 == 1 {
                0.0
            } else {
                value.max(-0.2)
            });
        }
    }
    x
}

/// Row-major indices of a box.
pub fn indices(extents: &[usize]) -> Vec<Vec<usize>> {
    extents.iter().fold(vec![vec![]], |all, &extent| {
        let longer = |head: &Vec<usize>, i: usize| [head.as_slice(), &[i]].concat();
        all.iter()
            .flat_map(|head| (0..extent).map(move |i| longer(head, i)))
            .collect()
    })
}

/// The grouped convolution of one sample `[Ci, input...]`, term by term.
pub fn convolve(
    shape: &KernelShape,
    weight: &[f64],
    bias: Option<&[f32]>,
    geometry: &ConvGeometry,
    x: &[f32],
    input: &[usize],
) -> (Vec<f32>, Vec<usize>) {
    let output = geometry.output_spatial(shape, input).unwrap();
    let plane: usize = input.iter().product();
    let (taps, group_in) = (indices(&shape.spatial), shape.group_in());
    let mut y = Vec::new();
    for o in 0..shape.out_channels {
        for position in indices(&output) {
            let mut sum = bias.map_or(0.0, |b| f64::from(b[o]));
            for i in 0..group_in {
                let channel = o / shape.group_out() * group_in + i;
                for (t, tap) in taps.iter().enumerate() {
                    let mut offset = Some(0);
                    for axis in 0..input.len() {
                        let at = (position[axis] * geometry.strides[axis]
                            + tap[axis] * geometry.dilations[axis])
                            .checked_sub(geometry.pads_begin[axis])
                            .filter(|&at| at < input[axis]);
                        offset = offset.zip(at).map(|(o, at)| o * input[axis] + at);
                    }
                    if let Some(offset) = offset {
                        let w = weight[(o * group_in + i) * taps.len() + t];
                        sum += w * f64::from(x[channel * plane + offset]);
                    }
                }
            }
            y.push(sum as f32);
        }
    }
    (y, output)
}

/// Stride 1, "same" padding.
pub fn same(shape: &KernelShape) -> ConvGeometry {
    ConvGeometry {
        pads_begin: shape.spatial.iter().map(|k| (k - 1) / 2).collect(),
        pads_end: shape.spatial.iter().map(|k| k / 2).collect(),
        ..ConvGeometry::unit(shape.spatial.len())
    }
}

/// A map as the network compressed so far makes it: a little noise, and another gain.
pub fn disturbed(x: &[f32], seed: u64) -> Vec<f32> {
    let mut noise = Noise::new(seed ^ 0xabcd);
    x.iter()
        .map(|v| {
            if *v == 0.0 {
                0.0
            } else {
                0.95 * v + 0.05 * noise.next()
            }
        })
        .collect()
}

/// Statistics of `samples` maps of the extents `input`; outputs are the original's on clean maps.
pub fn statistics(
    kernel: &Kernel,
    geometry: &ConvGeometry,
    input: &[usize],
    samples: u64,
    positions: usize,
    dead: bool,
) -> SplitStatistics {
    let shape = kernel.shape();
    let sampler = PositionSampler::new(shape, geometry.clone(), 5, positions);
    let mut builder = SplitStatisticsBuilder::new(shape, 5, 4).unwrap();
    for sample in 0..samples {
        let x = map(shape.in_channels, input, sample + 1, dead);
        let (y, _) = convolve(shape, kernel.data(), None, geometry, &x, input);
        builder
            .push_maps(&sampler, sample, &disturbed(&x, sample), input, &y)
            .unwrap();
    }
    builder.finish().unwrap()
}
