//! ONNX `MaxPool` and `AveragePool` (opsets 1 to 22) with gradients.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::conv::{Runs, Window, floats, taps};

/// Less than any value of a map.
const LEAST: f64 = -1e30;

/// A pool over maps of given extents.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub window: Window,
    pub runs: Arc<Runs>,
    /// Divisor of every output element; `None`: the maximum is taken.
    pub divisors: Option<Arc<Vec<f32>>>,
    pub input: Vec<usize>,
}

impl Pool {
    /// `x` is `[N, C, input...]`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.of_taps(x);
        }
        x.contiguous()?.apply_op1(self.clone())
    }

    /// The same, on any device. Of maxima that are alike every one gets a share of the gradient.
    fn of_taps(&self, x: &Tensor) -> Result<Tensor> {
        let outside = if self.divisors.is_none() { LEAST } else { 0.0 };
        let found = taps(x, &self.window, &self.runs.output, outside)?;
        let joined = found
            .into_iter()
            .map(Ok)
            .reduce(|a, b| match self.divisors {
                None => a?.maximum(&b?),
                Some(_) => a? + b?,
            });
        let joined = joined.unwrap_or_else(|| Err(Error::Msg("a window without taps".into())))?;
        let Some(divisors) = &self.divisors else {
            return Ok(joined);
        };
        let dims = [&[1, 1], self.runs.output.as_slice()].concat();
        joined.broadcast_div(&Tensor::from_slice(divisors, dims, x.device())?)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::{Device, Var};

    use super::*;
    use crate::testing::tensor;

    #[test]
    fn kernels_compute_what_the_library_does() {
        let window = Window {
            kernel: vec![3, 2],
            strides: vec![2, 1],
            dilations: vec![1, 2],
            begins: vec![1, 0],
            ends: vec![0, 1],
        };
        let runs = Arc::new(Runs::new(&window, &[7, 6]).unwrap());
        let counts = (1..=runs.outputs()).map(|n| n as f32).collect();
        for divisors in [None, Some(Arc::new(counts))] {
            let pool = Pool {
                window: window.clone(),
                runs: runs.clone(),
                divisors,
                input: vec![7, 6],
            };
            // All below zero, which the padding must not beat.
            let x = (tensor(&[2, 3, 7, 6], 1, &Device::Cpu) - 2.0).unwrap();
            let x = Var::from_tensor(&x).unwrap();
            let weights = tensor(&[2, 3, 3, 5], 2, &Device::Cpu);
            let of = |y: Tensor| {
                let sum = (&y * &weights).unwrap().sum_all().unwrap();
                [y, sum.backward().unwrap().get(&x).unwrap().clone()]
            };
            let (own, other) = (of(pool.apply(&x).unwrap()), of(pool.of_taps(&x).unwrap()));
            for (a, b) in own.iter().zip(&other) {
                let off = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
                assert!(off.max(0).unwrap().to_scalar::<f32>().unwrap() < 1e-5);
            }
        }
    }
}
