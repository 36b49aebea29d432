//! A model of opset 11 or 12 as one of opset 13.
//!
//! Before: operators of the standard domain as opset 11 or 12 defines them.
//! After: the same values by the operators of opset 13. `axes` of `Squeeze`, `Unsqueeze` and
//! `ReduceSum`, and `split` of `Split`, become inputs; `Softmax`, `LogSoftmax` and `Hardmax` over
//! several axes are written between `Flatten` and `Reshape`; the `ratio` of `Dropout`, which
//! inference does not read, goes.
//! Conditions: no subgraphs and no local functions; no `Resize` with `tf_half_pixel_for_nn`, which
//! opset 13 has not.
//! Source: the operators' change logs, <https://github.com/onnx/onnx/blob/main/docs/Changelog.md>.

use std::collections::HashSet;

use prost::Message;

use crate::document::{Document, named};
use crate::error::{Malformed, OnnxError};
use crate::inline::{nodes, taken};
use crate::proto::attribute_proto::AttributeType;
use crate::proto::tensor_proto::DataType;
use crate::proto::{AttributeProto, NodeProto, OperatorSetIdProto, TensorProto};
use crate::rope::Rope;
use crate::wire::{Record, records};

/// The opset that models are raised to.
pub const RAISED: i64 = 13;
/// The first opset that is raised.
const LEAST: i64 = 11;
/// The first version of the file format of models of opset 13.
const IR_VERSION: u64 = 7;

impl Document {
    /// The model as one of opset 13; names, inputs, outputs and metadata stay. `rank` is the number
    /// of axes of a value, where it is known.
    ///
    /// # Errors
    /// [`OnnxError::Opset`] where the opset is not 11 or 12, or an operator has no counterpart.
    pub fn raised(&self, rank: &dyn Fn(&str) -> Option<usize>) -> Result<Self, OnnxError> {
        let refused = |reason: String| OnnxError::Opset {
            file: named(self.path()),
            reason,
        };
        let opset = self.model.opset();
        if !(LEAST..RAISED).contains(&opset) {
            return Err(refused(format!(
                "the model has opset {opset}, not 11 or 12"
            )));
        }
        if !self.bodies().is_empty() {
            return Err(refused("the model has subgraphs or functions".into()));
        }
        let all = records(&self.encode().to_bytes());
        let all = all.map_err(|e| self.malformed(Malformed::NotOnnx(e)))?;
        let written = self.written_raised(&all, rank);
        self.reread(written.map_err(|fault| match fault {
            Fault::Malformed(reason) => self.malformed(reason),
            Fault::Refused(reason) => refused(reason),
        })?)
    }

    fn written_raised(
        &self,
        all: &[Record],
        rank: &dyn Fn(&str) -> Option<usize>,
    ) -> Result<bytes::Bytes, Fault> {
        let mut out = Rope::default();
        for record in all {
            match record.number {
                1 => {
                    let version = record.varint().map_err(Malformed::NotOnnx)?;
                    out.push_varint(1, version.max(IR_VERSION));
                }
                7 => out.push_field(7, raised_graph(record, rank)?),
                8 => out.push_bytes(8, &raised_opset(record)?),
                _ => out.push(record.raw.clone()),
            }
        }
        Ok(out.to_bytes())
    }
}

/// Reason for which a model is not raised.
enum Fault {
    Malformed(Malformed),
    Refused(String),
}

impl From<Malformed> for Fault {
    fn from(fault: Malformed) -> Self {
        Self::Malformed(fault)
    }
}

fn raised_opset(record: &Record) -> Result<Vec<u8>, Malformed> {
    let part = |e: String| Malformed::part("opset", e);
    let message = record.payload().map_err(part)?.clone();
    let mut opset = OperatorSetIdProto::decode(message).map_err(|e| part(e.to_string()))?;
    if matches!(opset.domain(), "" | "ai.onnx") {
        opset.version = Some(RAISED);
    }
    Ok(opset.encode_to_vec())
}

fn raised_graph(graph: &Record, rank: &dyn Fn(&str) -> Option<usize>) -> Result<Rope, Fault> {
    let graph = graph.payload().map_err(Malformed::NotOnnx)?;
    let graph = records(graph).map_err(Malformed::NotOnnx)?;
    let mut own = nodes(&graph)?.into_iter();
    let mut raising = Raising {
        taken: taken(&graph, own.as_slice()),
        tensors: Vec::new(),
        rank,
    };
    let mut out = Rope::default();
    for record in &graph {
        if record.number != 1 {
            out.push(record.raw.clone());
            continue;
        }
        let Some(node) = own.next() else { continue };
        match raising.raised(&node)? {
            None => out.push(record.raw.clone()),
            Some(written) => {
                let written = written.iter().map(NodeProto::encode_to_vec);
                written.for_each(|node| out.push_bytes(1, &node));
            }
        }
    }
    let tensors = raising.tensors.iter().map(TensorProto::encode_to_vec);
    tensors.for_each(|tensor| out.push_bytes(5, &tensor));
    Ok(out)
}

/// The operators of a graph that are raised.
struct Raising<'a> {
    taken: HashSet<String>,
    /// New initializers.
    tensors: Vec<TensorProto>,
    rank: &'a dyn Fn(&str) -> Option<usize>,
}

impl Raising<'_> {
    /// The operators in the place of `node`; `None`: it is the same in opset 13.
    fn raised(&mut self, node: &NodeProto) -> Result<Option<Vec<NodeProto>>, Fault> {
        if !matches!(node.domain(), "" | "ai.onnx") {
            return Ok(None);
        }
        Ok(match node.op_type() {
            "Squeeze" | "Unsqueeze" | "ReduceSum" => self.with_input(node, "axes"),
            "Split" => self.with_input(node, "split"),
            "Softmax" | "LogSoftmax" | "Hardmax" => Some(self.of_classes(node)),
            "Dropout" => without(node, "ratio").map(|node| vec![node]),
            "Resize" if mode(node) == Some("tf_half_pixel_for_nn") => {
                return Err(Fault::Refused(format!(
                    "node '{}' (Resize): opset 13 has no mode tf_half_pixel_for_nn",
                    node.name()
                )));
            }
            _ => None,
        })
    }

    /// The attribute of integers as the second input.
    fn with_input(&mut self, node: &NodeProto, name: &str) -> Option<Vec<NodeProto>> {
        let values = node.attribute.iter().find(|a| a.name() == name)?;
        let input = self.integers(&values.ints, node, name);
        let mut node = without(node, name)?;
        node.input.push(input);
        Some(vec![node])
    }

    /// A softmax of opset 12, which is over all axes from `axis` on, by that of opset 13, which is over one.
    fn of_classes(&mut self, node: &NodeProto) -> Vec<NodeProto> {
        let axis = node.attribute.iter().find(|a| a.name() == "axis");
        let axis = axis.map_or(1, AttributeProto::i);
        let mut bare = without(node, "axis").unwrap_or_else(|| node.clone());
        let input = node.input.first().cloned().unwrap_or_default();
        let is_last = axis == -1 || (self.rank)(&input).is_some_and(|rank| axis + 1 == rank as i64);
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

    /// A new initializer of integers.
    fn integers(&mut self, values: &[i64], node: &NodeProto, name: &str) -> String {
        let output = node.output.first().map_or("", |o| o);
        let name = self.fresh(format!("{output}/{name}"));
        self.tensors.push(TensorProto {
            name: Some(name.clone()),
            data_type: Some(DataType::Int64 as i32),
            dims: vec![values.len() as i64],
            int64_data: values.to_vec(),
            ..TensorProto::default()
        });
        name
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

fn mode(node: &NodeProto) -> Option<&str> {
    let named = |a: &&AttributeProto| a.name() == "coordinate_transformation_mode";
    let mode = node.attribute.iter().find(named)?;
    std::str::from_utf8(mode.s()).ok()
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value),
        ..AttributeProto::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::proto::{GraphProto, ModelProto, ValueInfoProto};

    fn node(
        op_type: &str,
        input: &[&str],
        output: &str,
        ints: Option<(&str, &[i64])>,
    ) -> NodeProto {
        let attribute = ints.map(|(name, ints)| AttributeProto {
            name: Some(name.into()),
            r#type: Some(AttributeType::Ints as i32),
            ints: ints.to_vec(),
            ..AttributeProto::default()
        });
        NodeProto {
            op_type: Some(op_type.into()),
            name: Some(format!("n_{output}")),
            input: input.iter().map(|i| (*i).to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute: attribute.into_iter().collect(),
            ..NodeProto::default()
        }
    }

    fn document(opset: i64, nodes: Vec<NodeProto>) -> Document {
        let value = |name: &str| ValueInfoProto {
            name: Some(name.into()),
            ..ValueInfoProto::default()
        };
        let last = nodes.last().unwrap().output[0].clone();
        let model = ModelProto {
            ir_version: Some(6),
            opset_import: vec![OperatorSetIdProto {
                domain: None,
                version: Some(opset),
            }],
            graph: Some(GraphProto {
                node: nodes,
                input: vec![value("x")],
                output: vec![value(&last)],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        Document::from_bytes(model.encode_to_vec().into()).unwrap()
    }

    fn raised(document: &Document, rank: Option<usize>) -> ModelProto {
        let raised = document.raised(&|_| rank).unwrap();
        ModelProto::decode(raised.encode().to_bytes()).unwrap()
    }

    #[test]
    fn attributes_become_inputs_under_names_of_their_own() {
        let nodes = vec![
            node("Squeeze", &["x"], "s/axes", Some(("axes", &[0, 2]))),
            node("Unsqueeze", &["s/axes"], "s", Some(("axes", &[1]))),
            node("Unsqueeze", &["s"], "y", Some(("axes", &[0]))),
        ];
        let model = raised(&document(11, nodes), None);
        assert_eq!(model.ir_version(), 7);
        assert_eq!(model.opset_import[0].version(), 13);
        let graph = model.graph.unwrap();
        let inputs: Vec<&str> = graph.node.iter().map(|n| n.input[1].as_str()).collect();
        assert_eq!(inputs, ["s/axes/axes", "s/axes_2", "y/axes"]);
        assert!(graph.node.iter().all(|n| n.attribute.is_empty()));
        let values: Vec<&[i64]> = graph.initializer.iter().map(|t| &*t.int64_data).collect();
        assert_eq!(values, [&[0, 2][..], &[1], &[0]]);
    }

    #[test]
    fn softmax_over_several_axes_is_over_one_of_a_flattened_value() {
        let softmax = || document(12, vec![node("Softmax", &["x"], "y", None)]);
        let types = |model: ModelProto| -> Vec<String> {
            let nodes = model.graph.unwrap().node.into_iter();
            nodes.map(|n| n.op_type().to_owned()).collect()
        };
        let several = ["Shape", "Flatten", "Softmax", "Reshape"];
        assert_eq!(types(raised(&softmax(), Some(4))), several);
        assert_eq!(types(raised(&softmax(), None)), several);
        assert_eq!(types(raised(&softmax(), Some(2))), ["Softmax"]);
    }

    #[test]
    fn what_has_no_counterpart_is_refused() {
        let relu = |opset| document(opset, vec![node("Relu", &["x"], "y", None)]);
        for (opset, reason) in [
            (10, "opset 10, not 11 or 12"),
            (13, "opset 13, not 11 or 12"),
        ] {
            let error = relu(opset).raised(&|_| None).err().unwrap().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let mut resize = node("Resize", &["x"], "y", None);
        resize.attribute.push(AttributeProto {
            name: Some("coordinate_transformation_mode".into()),
            r#type: Some(AttributeType::String as i32),
            s: Some(b"tf_half_pixel_for_nn".to_vec().into()),
            ..AttributeProto::default()
        });
        let error = document(11, vec![resize]).raised(&|_| None).err().unwrap();
        assert!(error.to_string().contains("n_y"), "{error}");
    }
}
