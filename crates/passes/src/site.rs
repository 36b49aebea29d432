//! Layers of a graph: convolutions and matrix products.

use sepconv_analysis::constants::Sight;
use sepconv_analysis::{AutoPad, ConvAttributes, NodeCost, Shapes};
use sepconv_factor::{
    Kernel, KernelShape, StageShape, chain_macs, kernel_macs, transposed_chain_macs,
};
use sepconv_ir::{DType, Graph, NodeId, Operator, Tensor};

use crate::kept::Kept;
use crate::product::Product;
use crate::transposed::swap_channels;

/// A convolution, or a product that is one, that can be rewritten.
#[derive(Debug, Clone)]
pub struct Site {
    /// The node.
    pub node: NodeId,
    /// Its name, or that of its output where it has none.
    pub name: String,
    /// The matrix product that it is, where it is no convolution.
    pub product: Option<Product>,
    /// Geometry.
    pub attributes: ConvAttributes,
    /// Kernel shape, `[Co, Ci/groups, k...]`.
    pub kernel: KernelShape,
    /// Element type of the weight; the rewritten weights have the same.
    pub dtype: DType,
    /// The operators that the weight is seen through.
    pub sight: Sight,
    /// Input extents along the spatial axes, where known.
    pub input_spatial: Option<Vec<usize>>,
    /// Output extents along the spatial axes, where known.
    pub output_spatial: Option<Vec<usize>>,
    /// Batch that MACs are counted for.
    pub batch: u64,
    /// MACs, where the shapes are known.
    pub macs: Option<u64>,
}

impl Site {
    /// Describes the convolution or the product on `node`, or says why it stays. `None` if `node`
    /// is neither.
    pub fn of(
        graph: &Graph,
        node: NodeId,
        shapes: &Shapes,
        sight: Sight,
    ) -> Option<Result<Self, Kept>> {
        let op = graph.operator(node)?;
        if let Some(kept) = Self::always_kept(op) {
            return Some(Err(kept));
        }
        Self::is_layer(op).then(|| Self::read(graph, node, op, shapes, sight))
    }

    /// The reason why a convolution of another operator than `Conv` and `ConvTranspose` stays: `ConvInteger`
    /// and `QLinearConv`, and those of ONNX Runtime's domain `com.microsoft`. `None` for all else.
    pub fn always_kept(op: &Operator) -> Option<Kept> {
        let runtimes = op.domain == "com.microsoft";
        match op.op_type.as_str() {
            "ConvInteger" if op.is("ConvInteger") => Some(Kept::Integer),
            "QLinearConv" if runtimes || op.is("QLinearConv") => Some(Kept::Integer),
            "FusedConv" | "NhwcFusedConv" if runtimes => Some(Kept::Fused),
            _ => None,
        }
    }

    /// True where an operator is one that sites describe: a convolution or a matrix product.
    pub fn is_layer(op: &Operator) -> bool {
        Self::is_convolution(op) || Product::of(op).is_some()
    }

    /// Number of operators that read the weights of a layer's operator, itself included; 0 where it has none.
    pub fn weight_readers(graph: &Graph, op: &Operator) -> usize {
        op.input(1)
            .map_or(0, |weights| graph.readers(weights).len())
    }

    /// True where an operator is a convolution.
    pub fn is_convolution(op: &Operator) -> bool {
        op.is("Conv") || op.is("ConvTranspose")
    }

    fn read(
        graph: &Graph,
        node: NodeId,
        op: &Operator,
        shapes: &Shapes,
        sight: Sight,
    ) -> Result<Self, Kept> {
        let input = op.input(1).ok_or(Kept::NotConstant)?;
        let weight = sight.resolve(graph, input).ok_or_else(|| {
            match Sight::Quantized.resolve(graph, input) {
                Some(_) => Kept::Quantized,
                None => Kept::NotConstant,
            }
        })?;
        if weight.is_sparse() {
            return Err(Kept::Sparse);
        }
        if weight.dtype().is_float() && weight.data().is_none() {
            return Err(Kept::Unread);
        }
        if !weight.dtype().is_float() {
            return Err(Kept::Type(weight.dtype().to_string()));
        }
        if !op.is_literal() {
            return Err(Kept::Reference);
        }
        let product = Product::of(op);
        let attributes = match product {
            Some(product) => product.attributes(graph, op, weight.dims())?,
            None => ConvAttributes::read(op, weight.dims())
                .map_err(|e| Kept::Malformed(e.reason.to_string()))?,
        };
        let spatial: Vec<usize> = attributes.kernel.iter().map(|k| *k as usize).collect();
        let kernel = KernelShape::new(
            attributes.out_channels as usize,
            attributes.in_channels as usize,
            attributes.group as usize,
            spatial,
        )
        .map_err(|e| Kept::Malformed(e.to_string()))?;
        let input = op.input(0).and_then(|v| shapes.extents(v));
        let output = op.output(0).and_then(|v| shapes.extents(v));
        let axes = attributes.axes();
        let places = |extents: Vec<u64>| match product {
            Some(_) => Product::positions(&extents),
            None => spatial_of(&extents, axes),
        };
        let batch = input.as_ref().and_then(|d| d.first().copied());
        let counted = input.is_some() && output.is_some();
        Ok(Self {
            node,
            name: graph.label(node).to_owned(),
            dtype: weight.dtype(),
            sight,
            product,
            input_spatial: input.and_then(places),
            output_spatial: output.and_then(places),
            attributes,
            kernel,
            batch: batch.unwrap_or(1),
            // Chains are counted by both extents.
            macs: NodeCost::of(graph, node, shapes).macs.filter(|_| counted),
        })
    }

    /// The kernel's weights as a `Conv` has them: those of a transposed convolution with their
    /// channels swapped within the groups, the matrix of a product with its outputs first.
    ///
    /// # Errors
    /// [`Kept::NotFinite`] and other reasons why it can't be decomposed.
    pub fn weights(&self, graph: &Graph) -> Result<Kernel, Kept> {
        let op = graph.operator(self.node).ok_or(Kept::NotConstant)?;
        let tensor = op.input(1).and_then(|w| self.sight.resolve(graph, w));
        let tensor = tensor.ok_or(Kept::NotConstant)?;
        self.kernel_of(op, &tensor)
    }

    /// [`Site::weights`] of the operator's second input.
    pub(crate) fn kernel_of(&self, op: &Operator, tensor: &Tensor) -> Result<Kernel, Kept> {
        let data = tensor
            .to_f64()
            .ok_or_else(|| Kept::Type(tensor.dtype().to_string()))?;
        let k = &self.kernel;
        let kernel = if let Some(product) = self.product {
            Kernel::new(k.clone(), product.kernel(op, k.out_channels, data))
        } else if self.attributes.transposed {
            let swapped = swap_channels(&data, k.groups, k.group_in(), k.group_out());
            Kernel::new(k.clone(), swapped)
        } else {
            Kernel::new(k.clone(), data)
        };
        kernel.map_err(|_| Kept::NotFinite)
    }

    /// MACs of the convolution and of a chain in its place, for the known shapes or else for
    /// one output position.
    pub fn chain_macs(&self, stages: &[StageShape]) -> (u64, u64) {
        let (input, output) = match (&self.input_spatial, &self.output_spatial) {
            (Some(i), Some(o)) => (i.clone(), o.clone()),
            _ => {
                let strides = self.attributes.strides.iter();
                let large: Vec<usize> = strides.map(|s| *s as usize).collect();
                let small = vec![1; large.len()];
                if self.attributes.transposed {
                    (small, large)
                } else {
                    (large, small)
                }
            }
        };
        let (before, after) = if self.attributes.transposed {
            (
                kernel_macs(&self.kernel, &input),
                transposed_chain_macs(stages, &input, &output),
            )
        } else {
            (
                kernel_macs(&self.kernel, &output),
                chain_macs(stages, &input, &output),
            )
        };
        (
            before.saturating_mul(self.batch),
            after.saturating_mul(self.batch),
        )
    }

    /// True where any stride is above 1.
    pub fn is_strided(&self) -> bool {
        self.attributes.strides.iter().any(|s| *s > 1)
    }

    /// True where stages may share the axes: a transposed convolution whose output extents are
    /// given (`output_shape`) gives them to the one stage that carries them all.
    pub(crate) fn writes(&self, stages: &[StageShape]) -> bool {
        self.attributes.output_shape.is_none()
            || stages.iter().any(|s| s.axes.iter().all(|carried| *carried))
    }

    /// True where padding is resolved by the runtime (`SAME_UPPER`, `SAME_LOWER`).
    pub fn pads_itself(&self) -> bool {
        matches!(
            self.attributes.auto_pad,
            AutoPad::SameUpper | AutoPad::SameLower
        )
    }
}

fn spatial_of(dims: &[u64], axes: usize) -> Option<Vec<usize>> {
    (dims.len() == axes + 2).then(|| dims[2..].iter().map(|d| *d as usize).collect())
}
