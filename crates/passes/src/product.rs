//! Products of rows by a constant matrix, as pointwise convolutions over one axis.
//!
//! `Gemm` (ONNX opsets 7 to 13) and `MatMul` (1 to 13) compute `y[p, o] = sum of x[p, i] W[i, o]`:
//! at every position `p`, as a pointwise convolution does. They are described as one, of kernel
//! `[Co, Ci, 1]`: the rows of a `Gemm` are its batch, the leading axes of a `MatMul` behind the
//! first its positions. They differ in that channels come last, and in how they are written.

use sepconv_analysis::{AutoPad, ConvAttributes, constants};
use sepconv_ir::{Graph, Operator, Tensor};
use serde::{Deserialize, Serialize};

use crate::kept::Kept;
use crate::transposed::swap_channels;

/// Inputs of a matrix beyond which it stays: its statistics would take gigabytes.
const WIDEST: usize = 12288;

/// The operator that a matrix product is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// `Gemm`, `alpha x W + beta C`.
    Gemm,
    /// `MatMul`.
    MatMul,
}

impl Product {
    /// The product that an operator is, by whatever factors.
    pub fn of(op: &Operator) -> Option<Self> {
        let mut all = [Self::Gemm, Self::MatMul].into_iter();
        all.find(|product| op.is(product.op_type()))
    }

    /// Name of the ONNX operator.
    pub fn op_type(self) -> &'static str {
        match self {
            Self::Gemm => "Gemm",
            Self::MatMul => "MatMul",
        }
    }

    /// The pointwise convolution that it is, given its constant factor's extents.
    pub(crate) fn attributes(
        self,
        graph: &Graph,
        op: &Operator,
        weight: &[usize],
    ) -> Result<ConvAttributes, Kept> {
        let &[rows, columns] = weight else {
            let rank = weight.len();
            return Err(Kept::Form(format!("a factor of rank {rank} is no matrix")));
        };
        if self == Self::Gemm && op.int("transA", 0) != 0 {
            return Err(Kept::Form("a Gemm with transA".into()));
        }
        if !self.has_plain_bias(graph, op) {
            return Err(Kept::Form("a Gemm that adds other than a bias".into()));
        }
        let (inputs, outputs) = if self.is_turned(op) {
            (columns, rows)
        } else {
            (rows, columns)
        };
        if inputs > WIDEST {
            return Err(Kept::Form(format!("a matrix of more than {WIDEST} inputs")));
        }
        Ok(ConvAttributes {
            transposed: false,
            in_channels: inputs as u64,
            out_channels: outputs as u64,
            group: 1,
            kernel: vec![1],
            strides: vec![1],
            dilations: vec![1],
            pads: vec![0; 2],
            auto_pad: AutoPad::NotSet,
            output_padding: vec![0],
            output_shape: None,
        })
    }

    /// True where the matrix is `[Co, Ci]`, as that of a convolution.
    fn is_turned(self, op: &Operator) -> bool {
        self == Self::Gemm && op.int("transB", 0) != 0
    }

    /// True where the summand of `Gemm` is the same for every row, as a bias is.
    fn has_plain_bias(self, graph: &Graph, op: &Operator) -> bool {
        let added = (self == Self::Gemm).then(|| op.input(2)).flatten();
        let Some(value) = added else { return true };
        let is_row = |dims: &[usize]| dims.len() < 2 || dims[0] == 1;
        constants::resolve(graph, value).is_some_and(|t| is_row(t.dims()))
    }

    /// The factor as a kernel `[Co, Ci]`, with `alpha` in it.
    pub(crate) fn kernel(self, op: &Operator, outputs: usize, weight: Vec<f64>) -> Vec<f64> {
        let alpha = f64::from(match self {
            Self::Gemm => op.float("alpha", 1.0),
            Self::MatMul => 1.0,
        });
        let mut kernel = match self.is_turned(op) {
            true => weight,
            false => {
                let inputs = weight.len() / outputs.max(1);
                swap_channels(&weight, 1, inputs, outputs)
            }
        };
        if alpha != 1.0 {
            kernel.iter_mut().for_each(|w| *w *= alpha);
        }
        kernel
    }

    /// Positions of one row of the batch, given the extents of the operand or of the result.
    pub(crate) fn positions(extents: &[u64]) -> Option<Vec<usize>> {
        let (_, leading) = extents.split_last()?;
        let (_, positions) = leading.split_first()?;
        let count = positions.iter().try_fold(1u64, |n, d| n.checked_mul(*d))?;
        Some(vec![usize::try_from(count).ok()?])
    }

    /// An operand or a result as a batch of maps: `[N, ..., C]` as `[N, C, positions]`. `None`
    /// for vectors and for tensors that are not made of numbers.
    pub fn as_maps(value: &Tensor) -> Option<Tensor> {
        let &[batch, .., channels] = value.dims() else {
            return None;
        };
        let values = value.to_f32()?;
        let row = values.len().checked_div(batch)?;
        let positions = row.checked_div(channels)?;
        let dims = vec![batch, channels, positions];
        let maps = if positions == 1 {
            values.into_owned()
        } else {
            let rows = values.chunks_exact(row.max(1));
            rows.flat_map(|row| swap_channels(row, 1, positions, channels))
                .collect()
        };
        Some(Tensor::from_f32(dims, maps))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sepconv_ir::AttributeValue;

    #[test]
    fn channels_come_first_in_maps() {
        let value = Tensor::from_f32(vec![1, 2, 3], vec![1., 2., 3., 4., 5., 6.]);
        let maps = Product::as_maps(&value).unwrap();
        assert_eq!(maps.dims(), [1, 3, 2]);
        assert_eq!(&*maps.to_f32().unwrap(), &[1., 4., 2., 5., 3., 6.]);
        let rows = Tensor::from_f32(vec![2, 2], vec![1., 2., 3., 4.]);
        let maps = Product::as_maps(&rows).unwrap();
        assert_eq!(maps.dims(), [2, 2, 1]);
        assert_eq!(&*maps.to_f32().unwrap(), &[1., 2., 3., 4.]);
        assert!(Product::as_maps(&Tensor::from_f32(vec![3], vec![1.; 3])).is_none());
    }

    #[test]
    fn gemm_is_read_with_its_attributes() {
        let graph = &crate::testing::conv(1, 1, 1, 1);
        let op = Operator::new("Gemm", "g").with("alpha", AttributeValue::Float(2.0));
        let gemm = Product::of(&op).unwrap();
        let a = gemm.attributes(graph, &op, &[3, 2]).unwrap();
        assert_eq!((a.in_channels, a.out_channels), (3, 2));
        let kernel = gemm.kernel(&op, 2, vec![1., 2., 3., 4., 5., 6.]);
        assert_eq!(kernel, [2., 6., 10., 4., 8., 12.]);
        let op = Operator::new("Gemm", "g").with("transB", AttributeValue::Int(1));
        let a = gemm.attributes(graph, &op, &[3, 2]).unwrap();
        assert_eq!((a.in_channels, a.out_channels), (2, 3));
        let op = Operator::new("Gemm", "g").with("transA", AttributeValue::Int(1));
        assert!(gemm.attributes(graph, &op, &[3, 2]).is_err());
        assert!(Product::MatMul.attributes(graph, &op, &[2, 3, 2]).is_err());
        assert_eq!(Product::of(&Operator::new("Conv", "c")), None);
    }
}
