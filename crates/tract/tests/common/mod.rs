//! Models of one convolution, and checks of any model.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::HashSet;

use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
use tract_core::ops::nn::DataFormat;

/// A model `x -> conv -> y`.
#[derive(Debug, Clone)]
pub struct Build {
    pub dtype: DatumType,
    pub data_format: DataFormat,
    pub kernel_fmt: KernelFormat,
    pub inputs: usize,
    pub outputs: usize,
    pub group: usize,
    pub kernel: TVec<usize>,
    pub strides: TVec<usize>,
    pub dilations: TVec<usize>,
    pub padding: PaddingSpec,
    pub extent: TVec<usize>,
    pub scalar_bias: bool,
    pub free_batch: bool,
    pub computed_kernel: bool,
    pub first_weight: Option<f32>,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            dtype: DatumType::F32,
            data_format: DataFormat::NCHW,
            kernel_fmt: KernelFormat::OIHW,
            inputs: 16,
            outputs: 24,
            group: 1,
            kernel: tvec!(3, 3),
            strides: tvec!(1, 1),
            dilations: tvec!(1, 1),
            padding: PaddingSpec::SameUpper,
            extent: tvec!(9, 11),
            scalar_bias: false,
            free_batch: false,
            computed_kernel: false,
            first_weight: None,
        }
    }
}

/// Deterministic numbers without structure, in -1..1.
fn noise(count: usize) -> Vec<f32> {
    let at = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
    (0..count).map(|i| at(i) * at(i / 7 + 3)).collect()
}

fn tensor(dims: &[usize], dtype: DatumType) -> Tensor {
    let values = noise(dims.iter().product());
    let tensor = Tensor::from_shape(dims, &values).unwrap();
    tensor.cast_to_dt(dtype).unwrap().into_owned()
}

impl Build {
    pub fn model(&self) -> TypedModel {
        let mut model = TypedModel::default();
        let n = match self.free_batch {
            true => model.symbols.sym("N").to_dim(),
            false => 1.to_dim(),
        };
        let extent: TVec<TDim> = self.extent.iter().map(|d| d.to_dim()).collect();
        let shape = self
            .data_format
            .from_n_c_hw(n, self.inputs.to_dim(), extent)
            .unwrap();
        let x = model.add_source("x", self.dtype.fact(shape.shape)).unwrap();
        let (o, i, hw) = (self.outputs, self.inputs, &self.kernel);
        let dims: Vec<usize> = match self.kernel_fmt {
            KernelFormat::OIHW => [&[o, i / self.group], &**hw].concat(),
            KernelFormat::HWIO => [&**hw, &[i, o / self.group]].concat(),
            KernelFormat::OHWI => [&[o / self.group], &**hw, &[i]].concat(),
        };
        let mut weight = tensor(&dims, self.dtype);
        if let Some(first) = self.first_weight {
            let mut weights = weight.try_as_plain_ram_mut().unwrap();
            weights.as_slice_mut::<f32>().unwrap()[0] = first;
        }
        let w = match self.computed_kernel {
            true => model.add_source("w", self.dtype.fact(&*dims)),
            false => model.add_const("w", weight),
        };
        let bias: &[usize] = if self.scalar_bias { &[] } else { &[o] };
        let b = model.add_const("b", tensor(bias, self.dtype)).unwrap();
        let conv = Conv {
            pool_spec: PoolSpec {
                data_format: self.data_format,
                kernel_shape: self.kernel.clone(),
                padding: self.padding.clone(),
                dilations: Some(self.dilations.clone()),
                strides: Some(self.strides.clone()),
                input_channels: i,
                output_channels: o,
            },
            kernel_fmt: self.kernel_fmt,
            group: self.group,
            q_params: None,
        };
        let y = model.wire_node("conv", conv, &[x, w.unwrap(), b]).unwrap();
        model.select_output_outlets(&y).unwrap();
        model
    }
}

/// Runs a model of one input, optimised, on noise.
pub fn run(model: &TypedModel, batch: usize) -> Tensor {
    let fact = model.input_fact(0).unwrap();
    let dims = fact
        .shape
        .iter()
        .map(|d| d.as_i64().map_or(batch, |d| d as usize));
    let dims: Vec<usize> = dims.collect();
    let x = tensor(&dims, fact.datum_type);
    let runnable = model
        .clone()
        .into_optimized()
        .unwrap()
        .into_runnable()
        .unwrap();
    let mut outputs = runnable.run(tvec!(x.into_tvalue())).unwrap();
    outputs.remove(0).into_tensor()
}

/// Multiply-adds of one run, as tract counts them.
pub fn fma(model: &TypedModel) -> i64 {
    let costs = model.nodes().iter().flat_map(|node| {
        let facts = model.node_input_facts(node.id).unwrap();
        node.op.cost(&facts).unwrap()
    });
    let counted = costs.filter(|(cost, _)| matches!(cost, Cost::FMA(_)));
    counted.map(|(_, dim)| dim.as_i64().unwrap()).sum()
}

/// The checks of tract's `check_consistency` where its feature `paranoid_assertions` is on.
pub fn verify(model: &TypedModel) {
    let mut names = HashSet::new();
    for id in model.eval_order().unwrap() {
        let node = model.node(id);
        assert_eq!(node.id, id);
        assert!(
            names.insert(&node.name),
            "two nodes are called {}",
            node.name
        );
        let facts = model.node_input_facts(id).unwrap();
        let outputs = node.op.output_facts(&facts).unwrap();
        assert_eq!(outputs.len(), node.outputs.len());
        for (found, expected) in node.outputs.iter().zip(&outputs) {
            assert_eq!(found.fact.datum_type, expected.datum_type, "{node}");
            assert_eq!(found.fact.shape, expected.shape, "{node}");
        }
        for (slot, input) in node.inputs.iter().enumerate() {
            let readers = &model.node(input.node).outputs[input.slot].successors;
            assert!(readers.contains(&InletId::new(id, slot)), "{node}");
        }
    }
    assert_eq!(names.len(), model.nodes().len(), "nodes that nothing needs");
    model.check_consistency().unwrap();
}

/// Largest difference over the largest value.
pub fn distance(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let values = |t: &Tensor| -> Vec<f32> {
        let t = t.cast_to::<f32>().unwrap();
        t.try_as_plain_ram()
            .unwrap()
            .as_slice::<f32>()
            .unwrap()
            .to_vec()
    };
    let (a, b) = (values(a), values(b));
    let peak = a.iter().fold(0f32, |p, v| p.max(v.abs()));
    assert!(peak > 0.0);
    let differences = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
    differences.fold(0f32, f32::max) / peak
}
