//! A family: filters of blocks of channels, then a pointwise convolution.
//!
//! - **Before**: `W[Co, Ci, k...]`, one group.
//! - **After**: grouped `[B*R, width, k...]`, `B = Ci / width` groups, with the stride and pads of
//!   the original; pointwise `[Co, B*R, 1]` with the bias.
//! - **Formula**: for each block `b`, `W[o, b, i, u] = sum over r of P[o, b, r] F[b, r, i, u]`: the
//!   SVD of the block as a matrix `[Co, width * taps]`, the closest of its form by Eckart and Young.
//! - **Full rank**: `min(Co, width * taps)`.
//! - **Between** `dw-pw` (`width` 1) and `channel` (`width` `Ci`).
//!
//! It brings no fit to data: sepconv fits the pointwise stage in closed form.

use sepconv::factor::linalg::eigen::symmetric_eigen;
use sepconv::factor::{
    Chain, Decomposition, FactorError, Factored, Kernel, KernelShape, RankRange, Role, Skip,
    Spectrum, Stage, StageShape,
};

/// See the head of this file.
pub struct BlockFirst {
    /// Input channels of a block.
    pub width: usize,
}

const NAME: &str = "block-pw";

impl Decomposition for BlockFirst {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
        shape.validate().map_err(|_| Skip::InvalidShape)?;
        if shape.is_pointwise() {
            return Err(Skip::Pointwise);
        }
        let blocks = shape.in_channels / self.width.max(1);
        if shape.groups > 1 || blocks < 2 || blocks * self.width != shape.in_channels {
            return Err(Skip::Unsuitable);
        }
        Ok(RankRange {
            max: shape.out_channels.min(self.width * shape.taps()),
            step: 1,
        })
    }

    fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError> {
        let max = self.ranks(shape)?.max;
        if !(1..=max).contains(&rank) {
            return Err(FactorError::Rank { rank, max });
        }
        let blocks = shape.in_channels / self.width;
        let (middle, axes) = (blocks * rank, shape.spatial.len());
        Ok(vec![
            StageShape {
                role: Role::Dense,
                kernel: KernelShape::new(middle, shape.in_channels, blocks, &*shape.spatial)?,
                axes: vec![true; axes],
            },
            StageShape {
                role: Role::Pointwise,
                kernel: KernelShape::new(shape.out_channels, middle, 1, vec![1; axes])?,
                axes: vec![false; axes],
            },
        ])
    }

    fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError> {
        let shape = kernel.shape();
        let max = self.ranks(shape)?.max;
        let (outputs, d) = (shape.out_channels, self.width * shape.taps());
        let row = shape.in_channels * shape.taps();
        let mut energies = vec![0.0; max];
        let mut blocks = Vec::new();
        for block in 0..shape.in_channels / self.width {
            // The block's matrix [Co, d], and the eigenvectors of its Gram matrix [d, d].
            let part = |o: usize| &kernel.data()[o * row + block * d..][..d];
            let mut gram = vec![0.0; d * d];
            for o in 0..outputs {
                for (i, &a) in part(o).iter().enumerate() {
                    for (j, &b) in part(o).iter().enumerate() {
                        gram[i * d + j] += a * b;
                    }
                }
            }
            let (mut values, mut vectors) = (vec![0.0; d], vec![0.0; d * d]);
            symmetric_eigen(&gram, d, &mut values, &mut vectors)
                .ok_or(FactorError::NoConvergence { slice: block })?;
            let mix = |o: usize, r: usize| -> f64 {
                let filter = &vectors[r * d..][..d];
                part(o).iter().zip(filter).map(|(&w, f)| w * f).sum()
            };
            for (energy, value) in energies.iter_mut().zip(&values) {
                *energy += value.max(0.0);
            }
            blocks.push(Block {
                mixed: (0..outputs)
                    .map(|o| (0..max).map(|r| mix(o, r)).collect())
                    .collect(),
                filters: vectors,
            });
        }
        Ok(Box::new(Blocks {
            width: self.width,
            shape: shape.clone(),
            blocks,
            spectrum: Spectrum::new(energies)?,
        }))
    }

    fn widths(&self, _: &KernelShape, rank: usize) -> Vec<usize> {
        vec![rank]
    }
}

struct Block {
    /// By output and component.
    mixed: Vec<Vec<f64>>,
    /// By component, `[d]` each.
    filters: Vec<f64>,
}

struct Blocks {
    width: usize,
    shape: KernelShape,
    blocks: Vec<Block>,
    spectrum: Spectrum,
}

impl Factored for Blocks {
    fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    fn chain(&self, rank: usize) -> Result<Chain, FactorError> {
        let shapes = BlockFirst { width: self.width }.stages(&self.shape, rank)?;
        let d = self.width * self.shape.taps();
        let filters = self.blocks.iter().flat_map(|b| &b.filters[..rank * d]);
        let outputs = 0..self.shape.out_channels;
        let mixed = outputs.flat_map(|o| self.blocks.iter().flat_map(move |b| &b.mixed[o][..rank]));
        let weights: [Vec<f64>; 2] = [filters.copied().collect(), mixed.copied().collect()];
        let stages = shapes.into_iter().zip(weights);
        Ok(Chain {
            family: NAME,
            rank,
            stages: stages
                .map(|(shape, weight)| Stage { shape, weight })
                .collect(),
            bias: None,
        })
    }
}
