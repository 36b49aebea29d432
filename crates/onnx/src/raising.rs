//! The operators of opset 7 to 12 by those of opset 13.
//!
//! Before: operators of the standard domain as opset 7 to 12 defines them.
//! After: the same values by the operators of opset 13. Attributes become inputs: `axes` of `Squeeze`, `Unsqueeze` and
//! `ReduceSum`, `split` of `Split`, below opset 10 those of `Slice` and `TopK`, below 11 those of `Clip` and `Pad`.
//! `Softmax`, `LogSoftmax` and `Hardmax` over several axes are written between `Flatten` and `Reshape`. `Upsample`
//! and the `Resize` of opset 10 become a `Resize`, `Scatter` a `ScatterElements`. The `ratio` of `Dropout`, which inference
//! does not read, and the `spatial` of `BatchNormalization` go.
//! Conditions: no subgraphs and no local functions; no `Resize` with `tf_half_pixel_for_nn`, which
//! opset 13 has not; no `BatchNormalization` with `spatial` 0.
//! Source: the operators' change logs, <https://github.com/onnx/onnx/blob/main/docs/Changelog.md>.

use std::collections::HashSet;

use half::f16;
use sepconv_ir::DType;

use crate::proto::attribute_proto::AttributeType;
use crate::proto::tensor_proto::DataType;
use crate::proto::{AttributeProto, NodeProto, TensorProto};
use crate::raise::Fault;

/// The kind of a value, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct ValueKind {
    /// Number of axes.
    pub rank: Option<usize>,
    /// Type of the elements.
    pub dtype: Option<DType>,
}

/// The operators of a graph that are raised.
pub(crate) struct Raising<'a> {
    opset: i64,
    taken: HashSet<String>,
    /// Constants of the operator that is raised.
    constants: Vec<NodeProto>,
    kind: &'a dyn Fn(&str) -> ValueKind,
}

impl<'a> Raising<'a> {
    /// For a graph of `opset` in which these names are `taken`.
    pub fn new(opset: i64, taken: HashSet<String>, kind: &'a dyn Fn(&str) -> ValueKind) -> Self {
        Self {
            opset,
            taken,
            constants: Vec::new(),
            kind,
        }
    }

    /// The operators in the place of `node`; `None`: it is the same in opset 13.
    pub fn raised(&mut self, node: &NodeProto) -> Result<Option<Vec<NodeProto>>, Fault> {
        let written = self.written(node)?;
        let mut all = std::mem::take(&mut self.constants);
        Ok(written.map(|written| {
            all.extend(written);
            all
        }))
    }

    fn written(&mut self, node: &NodeProto) -> Result<Option<Vec<NodeProto>>, Fault> {
        if !matches!(node.domain(), "" | "ai.onnx") {
            return Ok(None);
        }
        let refused = |reason: &str| {
            let (name, op_type) = (node.name(), node.op_type());
            Err(Fault::Refused(format!(
                "node '{name}' ({op_type}): {reason}"
            )))
        };
        Ok(match node.op_type() {
            "Squeeze" | "Unsqueeze" | "ReduceSum" => self.with_inputs(node, &["axes"]),
            "Split" => self.with_inputs(node, &["split"]),
            "Softmax" | "LogSoftmax" | "Hardmax" => Some(self.of_classes(node)),
            "Dropout" => without(node, "ratio").map(|node| vec![node]),
            "Slice" if self.opset < 10 => self.with_inputs(node, &["starts", "ends", "axes"]),
            "TopK" if self.opset < 10 => self.with_inputs(node, &["k"]),
            "Clip" if self.opset < 11 => self.with_inputs(node, &["min", "max"]),
            "Pad" if self.opset < 11 => self.with_inputs(node, &["pads", "value"]),
            "Scatter" => Some(vec![NodeProto {
                op_type: Some("ScatterElements".into()),
                ..node.clone()
            }]),
            "BatchNormalization" => match attribute(node, "spatial").map(AttributeProto::i) {
                Some(0) => return refused("opset 13 has no statistics of every position"),
                _ => without(node, "spatial").map(|node| vec![node]),
            },
            "Upsample" => Some(self.resized(node)),
            "Resize" if self.opset == 10 => Some(self.resized(node)),
            "Resize" if mode(node) == Some("tf_half_pixel_for_nn") => {
                return refused("opset 13 has no mode tf_half_pixel_for_nn");
            }
            _ => None,
        })
    }

    /// The attributes of these names as further inputs, in their order; of those that are missing the last leave none
    /// and others an empty one. Numbers are of the type of the first input.
    fn with_inputs(&mut self, node: &NodeProto, names: &[&str]) -> Option<Vec<NodeProto>> {
        let mut raised = node.clone();
        for name in names {
            let input = match attribute(node, name) {
                None => String::new(),
                Some(own) => {
                    raised = without(&raised, name)?;
                    match own.r#type() {
                        AttributeType::Float => self.scalar(own.f(), node, name),
                        AttributeType::Int => self.integers(&[own.i()], node, name),
                        _ => self.integers(&own.ints, node, name),
                    }
                }
            };
            raised.input.push(input);
        }
        while raised.input.last().is_some_and(String::is_empty) {
            raised.input.pop();
        }
        (raised != *node).then(|| vec![raised])
    }

    /// `Resize` of opset 13 for one of opset 10 or an `Upsample`: both map positions by the scale alone and take the
    /// position below.
    fn resized(&mut self, node: &NodeProto) -> Vec<NodeProto> {
        let mut raised = without(node, "scales").unwrap_or_else(|| node.clone());
        let scales = match (attribute(node, "scales"), node.input.get(1)) {
            (Some(own), _) => self.floats(&own.floats, node, "scales"),
            (None, input) => input.cloned().unwrap_or_default(),
        };
        raised.op_type = Some("Resize".into());
        raised.input.truncate(1);
        raised.input.extend([String::new(), scales]);
        let texts = [
            ("coordinate_transformation_mode", "asymmetric"),
            ("nearest_mode", "floor"),
        ];
        raised
            .attribute
            .extend(texts.map(|(name, value)| text(name, value)));
        vec![raised]
    }

    /// A softmax of opset 12, which is over all axes from `axis` on, by that of opset 13, which is over one.
    fn of_classes(&mut self, node: &NodeProto) -> Vec<NodeProto> {
        let axis = attribute(node, "axis").map_or(1, AttributeProto::i);
        let mut bare = without(node, "axis").unwrap_or_else(|| node.clone());
        let input = node.input.first().cloned().unwrap_or_default();
        let rank = (self.kind)(&input).rank;
        let is_last = axis == -1 || rank.is_some_and(|rank| axis + 1 == rank as i64);
        if is_last {
            bare.attribute.push(integer("axis", -1));
            return vec![bare];
        }
        let named = |kind: &str| format!("{}/{kind}", node.output.first().map_or("", |o| o));
        let [shape, flat, soft] = ["shape", "flat", "classes"].map(|kind| self.fresh(named(kind)));
        let operator = |op_type: &str, input: Vec<String>, output: String| NodeProto {
            op_type: Some(op_type.to_owned()),
            name: Some(format!("{}/{op_type}", node.name())),
            input,
            output: vec![output],
            ..NodeProto::default()
        };
        let mut flatten = operator("Flatten", vec![input.clone()], flat.clone());
        flatten.attribute.push(integer("axis", axis));
        let output = std::mem::replace(&mut bare.output, vec![soft.clone()]);
        bare.input = vec![flat];
        bare.attribute.push(integer("axis", -1));
        let output = output.into_iter().next().unwrap_or_default();
        vec![
            operator("Shape", vec![input], shape.clone()),
            flatten,
            bare,
            operator("Reshape", vec![soft, shape], output),
        ]
    }

    /// A new constant of integers.
    fn integers(&mut self, values: &[i64], node: &NodeProto, name: &str) -> String {
        let tensor = TensorProto {
            data_type: Some(DataType::Int64 as i32),
            dims: vec![values.len() as i64],
            int64_data: values.to_vec(),
            ..TensorProto::default()
        };
        self.constant(tensor, node, name)
    }

    /// A new constant of single precision.
    fn floats(&mut self, values: &[f32], node: &NodeProto, name: &str) -> String {
        let tensor = TensorProto {
            data_type: Some(DataType::Float as i32),
            dims: vec![values.len() as i64],
            float_data: values.to_vec(),
            ..TensorProto::default()
        };
        self.constant(tensor, node, name)
    }

    /// A new constant of one number and no axis, of the type of the node's first input.
    fn scalar(&mut self, value: f32, node: &NodeProto, name: &str) -> String {
        let input = node.input.first().map_or("", |i| i);
        let mut tensor = TensorProto::default();
        let of = match (self.kind)(input).dtype {
            Some(DType::F16) => {
                tensor.int32_data = vec![i32::from(f16::from_f32(value).to_bits())];
                DataType::Float16
            }
            Some(DType::F64) => {
                tensor.double_data = vec![f64::from(value)];
                DataType::Double
            }
            _ => {
                tensor.float_data = vec![value];
                DataType::Float
            }
        };
        tensor.data_type = Some(of as i32);
        self.constant(tensor, node, name)
    }

    /// A new constant: initializers would have to be listed among the inputs where the others are.
    fn constant(&mut self, tensor: TensorProto, node: &NodeProto, name: &str) -> String {
        let output = node.output.first().map_or("", |o| o);
        let output = self.fresh(format!("{output}/{name}"));
        self.constants.push(NodeProto {
            op_type: Some("Constant".into()),
            name: Some(output.clone()),
            output: vec![output.clone()],
            attribute: vec![AttributeProto {
                name: Some("value".into()),
                r#type: Some(AttributeType::Tensor as i32),
                t: Some(tensor),
                ..AttributeProto::default()
            }],
            ..NodeProto::default()
        });
        output
    }

    /// A name that nothing has.
    fn fresh(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        let mut count = 1;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{wanted}_{count}");
        }
        name
    }
}

/// The node without an attribute; `None` where it has none of that name.
fn without(node: &NodeProto, name: &str) -> Option<NodeProto> {
    let mut bare = node.clone();
    bare.attribute.retain(|a| a.name() != name);
    (bare.attribute.len() < node.attribute.len()).then_some(bare)
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|a| a.name() == name)
}

fn mode(node: &NodeProto) -> Option<&str> {
    let mode = attribute(node, "coordinate_transformation_mode")?;
    std::str::from_utf8(mode.s()).ok()
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::String as i32),
        s: Some(value.as_bytes().to_vec().into()),
        ..AttributeProto::default()
    }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value),
        ..AttributeProto::default()
    }
}
