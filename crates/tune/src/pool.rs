//! ONNX `MaxPool` and `AveragePool` (opsets 1 to 22) with gradients.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::conv::{Runs, floats};

/// A pool over maps of given extents.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub runs: Arc<Runs>,
    /// Divisor of every output element; `None`: the maximum is taken.
    pub divisors: Option<Arc<Vec<f32>>>,
    pub input: Vec<usize>,
}

impl Pool {
    /// `x` is `[N, C, input...]`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1(self.clone())
    }

    /// For every output element the input element that is its maximum.
    fn winners(&self, x: &[f32]) -> Vec<usize> {
        let mut best = vec![usize::MAX; self.runs.outputs()];
        for run in &self.runs.runs {
            for i in 0..run.count {
                let (at, from) = (run.output + i, run.input + i * self.runs.stride);
                if best[at] == usize::MAX || x[from] > x[best[at]] {
                    best[at] = from;
                }
            }
        }
        best
    }

    fn shape(&self, layout: &Layout, spatial: &[usize]) -> Shape {
        [&layout.dims()[..2], spatial].concat().into()
    }

    fn forward(&self, x: &[f32], y: &mut [f32]) {
        let Some(divisors) = &self.divisors else {
            let winners = self.winners(x).into_iter();
            y.iter_mut()
                .zip(winners)
                .for_each(|(y, i)| *y = x.get(i).copied().unwrap_or(0.0));
            return;
        };
        for run in &self.runs.runs {
            for i in 0..run.count {
                y[run.output + i] += x[run.input + i * self.runs.stride];
            }
        }
        y.iter_mut().zip(divisors.iter()).for_each(|(y, d)| *y /= d);
    }

    fn backward(&self, grad: &[f32], x: &[f32], out: &mut [f32]) {
        let Some(divisors) = &self.divisors else {
            for (g, i) in grad.iter().zip(self.winners(x)) {
                if let Some(o) = out.get_mut(i) {
                    *o += g;
                }
            }
            return;
        };
        for run in &self.runs.runs {
            for i in 0..run.count {
                let at = run.output + i;
                out[run.input + i * self.runs.stride] += grad[at] / divisors[at];
            }
        }
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let (wide, narrow) = (self.runs.outputs(), self.runs.inputs);
        let mut y = vec![0.0; x.len() / narrow.max(1) * wide];
        let maps = y.par_chunks_exact_mut(wide).zip(x.par_chunks_exact(narrow));
        maps.for_each(|(y, x)| self.forward(x, y));
        Ok((CpuStorage::F32(y), self.shape(layout, &self.runs.output)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let backward = Backward(self.clone());
        let grad = grad.contiguous()?;
        grad.apply_op2_no_bwd(&x.contiguous()?, &backward).map(Some)
    }
}

/// The gradient of a pool, of that of its output and its input.
struct Backward(Pool);

impl CustomOp2 for Backward {
    fn name(&self) -> &'static str {
        "pool-gradient"
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        grad_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (grad, x) = (floats(grad, grad_layout)?, floats(x, x_layout)?);
        let (wide, narrow) = (self.0.runs.outputs(), self.0.runs.inputs);
        let mut out = vec![0.0; x.len()];
        let maps = out
            .par_chunks_exact_mut(narrow)
            .zip(x.par_chunks_exact(narrow));
        let maps = maps.zip(grad.par_chunks_exact(wide));
        maps.for_each(|((out, x), grad)| self.0.backward(grad, x, out));
        Ok((CpuStorage::F32(out), self.0.shape(x_layout, &self.0.input)))
    }
}
