//! Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) with steps relative to the size of
//! what they move (Shazeer and Stern 2018, arXiv 1804.04235, section 8): the factors of a
//! decomposition are of very different sizes.

use candle_core::Tensor;

use crate::error::TuneError;
use crate::network::Parameter;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// Root mean square below which a parameter counts as one of that size.
const LEAST: f64 = 1e-3;

/// The moments of all parameters.
pub(crate) struct Adam {
    pub first: Vec<Tensor>,
    pub second: Vec<Tensor>,
    pub steps: usize,
}

impl Adam {
    pub fn new(parameters: &[Parameter]) -> Result<Self, TuneError> {
        let zeros = || {
            parameters
                .iter()
                .map(|p| p.var.zeros_like())
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            first: zeros()?,
            second: zeros()?,
            steps: 0,
        })
    }

    /// Moves the parameters against their gradients, of which the norm over all is clipped to
    /// `clip`.
    pub fn step(
        &mut self,
        parameters: &[Parameter],
        gradients: &[Tensor],
        rate: f64,
        clip: f64,
    ) -> Result<(), TuneError> {
        let mut square = 0.0;
        for gradient in gradients {
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let factor = (clip / square.sqrt().max(1e-30)).min(1.0);
        self.steps += 1;
        let unbiased = |beta: f64| 1.0 - beta.powi(self.steps as i32);
        let (c1, c2) = (unbiased(BETA1), unbiased(BETA2));
        for (i, (parameter, gradient)) in parameters.iter().zip(gradients).enumerate() {
            let gradient = (gradient * factor)?;
            self.first[i] = ((&self.first[i] * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
            self.second[i] = ((&self.second[i] * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let root = ((&self.second[i] / c2)?.sqrt()? + EPSILON)?;
            let direction = ((&self.first[i] / c1)? / root)?;
            let now = parameter.var.as_detached_tensor();
            let size = f64::from(now.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt();
            parameter
                .var
                .set(&(now - (direction * (rate * size.max(LEAST)))?)?)?;
        }
        Ok(())
    }
}
