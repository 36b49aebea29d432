//! The sensitivity of the outputs to the channels of values on the way there.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Shape, Tensor, Var};
use sepconv_factor::random::SplitMix64;
use sepconv_ir::ValueId;

use crate::compute::Compute;
use crate::conv::floats;
use crate::error::TuneError;
use crate::loss::{Nature, log_probabilities};
use crate::network::Network;
use crate::typed::TypedGraph;
use crate::values::Values;

impl Network {
    /// Compiles the operators that compute `wanted`, without parameters.
    ///
    /// # Errors
    /// [`TuneError`].
    pub fn fixed(
        compute: Compute,
        model: TypedGraph<'_>,
        wanted: &[ValueId],
    ) -> Result<Self, TuneError> {
        Self::compiled(compute, model, &[], wanted, &[])
    }

    /// Per value of `watched`, the mean square of the outputs' derivative with respect to each of
    /// its channels (axis 1), over rows and positions; `None` where the outputs' gradient does not
    /// reach it. `kinds` are those of the wanted values, in their order.
    ///
    /// The derivative is that of a random projection: of numbers, relative to their scale; of the
    /// logarithm of a class's probability, the class drawn by the probabilities. Its mean square is
    /// the diagonal of the Fisher information (Martens 2014, arXiv 1412.1193, sections 5 and 9.2): how
    /// far the outputs move, in squares or in divergence, when a channel does. It is computed on the processor.
    ///
    /// # Errors
    /// [`TuneError`], of a network on another device too.
    pub fn sensitivities(
        &self,
        given: &[Values],
        kinds: &[OutputKind],
        watched: &[ValueId],
        mut draw: SplitMix64,
    ) -> Result<Vec<Option<Vec<f64>>>, TuneError> {
        let device = self.device();
        let given = self.tensors(given)?;
        let anchor = Var::zeros((), DType::F32, device)?;
        let mut squares: HashMap<ValueId, MeanSquares> = HashMap::new();
        let mut watch = |value: ValueId, tensor: Tensor| {
            if !watched.contains(&value) || tensor.dtype() != DType::F32 || tensor.rank() < 2 {
                return Ok(tensor);
            }
            let own = squares.entry(value).or_default().clone();
            tensor.contiguous()?.apply_op2(&anchor, Watch(own))
        };
        let outputs = self.run_watched(&given, false, &mut watch)?;
        let mut sum = Tensor::zeros((), DType::F32, device)?;
        for (output, kind) in outputs.iter().zip(kinds) {
            sum = (sum + projection(output, kind, &mut draw)?)?;
        }
        sum.backward()?;
        let of = |value: &ValueId| squares.get(value)?.0.get().cloned();
        Ok(watched.iter().map(of).collect())
    }
}

/// The mean squares of a gradient per channel, once it is known.
#[derive(Debug, Clone, Default)]
struct MeanSquares(Arc<OnceLock<Vec<f64>>>);

impl MeanSquares {
    /// Those of `gradient`, channels along axis 1.
    fn set(&self, gradient: &Tensor) -> candle_core::Result<()> {
        let squares = gradient.sqr()?.transpose(0, 1)?.flatten_from(1)?;
        let means = squares.contiguous()?.mean(1)?.to_vec1::<f32>()?;
        self.0
            .get_or_init(|| means.into_iter().map(f64::from).collect());
        Ok(())
    }
}

/// A value as it is, whose gradient is seen on the way back, on the processor. The second argument is a variable: gradients
/// go where there is one.
struct Watch(MeanSquares);

impl CustomOp2 for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn cpu_fwd(
        &self,
        value: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let own = floats(value, layout)?.to_vec();
        Ok((CpuStorage::F32(own), layout.shape().clone()))
    }

    fn bwd(
        &self,
        value: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        self.0.set(gradient)?;
        Ok((value.track_op().then(|| gradient.clone()), None))
    }
}

/// The meaning of an output's numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputKind {
    /// Those of classes, of that nature.
    Classes(Nature),
    /// Numbers whose inverse scales these are, one for every number of the output; over their root mean
    /// square where there are none.
    Numbers(Option<Vec<f32>>),
}

/// A number whose derivative is a random direction of the output's information.
fn projection(
    output: &Tensor,
    kind: &OutputKind,
    draw: &mut SplitMix64,
) -> Result<Tensor, TuneError> {
    let flat = output.flatten_from(1)?;
    let nature = match kind {
        OutputKind::Numbers(lengths) => return of_numbers(&flat, lengths.as_deref(), draw),
        OutputKind::Classes(nature) => *nature,
    };
    let logs = log_probabilities(nature, &flat, 1.0)?;
    let mut chosen = vec![0f32; logs.elem_count()];
    let rows = logs.detach().to_vec2::<f32>()?;
    for (row, chosen) in rows.iter().zip(chosen.chunks_exact_mut(logs.dim(1)?)) {
        let mut left = draw.below(1 << 24) as f32 / (1 << 24) as f32;
        let class = row.iter().position(|log| {
            left -= log.exp();
            left < 0.0
        });
        if let Some(place) = chosen.get_mut(class.unwrap_or(0)) {
            *place = 1.0;
        }
    }
    let chosen = Tensor::from_vec(chosen, logs.dims(), logs.device())?;
    Ok((logs * chosen)?.sum_all()?)
}

/// The projection of numbers on signs as long as their inverse scales.
fn of_numbers(
    flat: &Tensor,
    lengths: Option<&[f32]>,
    draw: &mut SplitMix64,
) -> Result<Tensor, TuneError> {
    let count = flat.elem_count();
    let alike = || -> Result<Vec<f32>, TuneError> {
        let size = flat.detach().sqr()?.mean_all()?.to_scalar::<f32>()?;
        Ok(vec![1.0 / size.sqrt().max(1e-12); count])
    };
    let mut signs = match lengths.filter(|lengths| lengths.len() == count) {
        Some(lengths) => lengths.to_vec(),
        None => alike()?,
    };
    for sign in &mut signs {
        if draw.below(2) == 0 {
            *sign = -*sign;
        }
    }
    let signs = Tensor::from_vec(signs, flat.dims(), flat.device())?;
    Ok((flat * signs)?.sum_all()?)
}
