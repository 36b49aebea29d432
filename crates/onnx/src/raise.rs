//! A model of opset 7 to 12 as one of opset 13; the operators are those of [`crate::raising`].

use prost::Message;

use crate::document::{Document, named};
use crate::error::{Malformed, OnnxError};
use crate::inline::{nodes, taken};
use crate::proto::{NodeProto, OperatorSetIdProto, ValueInfoProto};
use crate::raising::{Raising, ValueKind};
use crate::rope::Rope;
use crate::wire::{Record, records};

/// The opset that models are raised to.
pub const RAISED: i64 = 13;
/// The first opset that models are raised from.
const LEAST: i64 = 7;
/// The first version of the file format of models of opset 13.
const IR_VERSION: u64 = 7;

impl Document {
    /// The model as one of opset 13; names, inputs, outputs and metadata stay. `kind` tells the kind of a value by
    /// its name.
    ///
    /// # Errors
    /// [`OnnxError::Opset`] where the opset is not from 7 to 12, or an operator has no counterpart.
    pub fn raised(&self, kind: &dyn Fn(&str) -> ValueKind) -> Result<Self, OnnxError> {
        let refused = |reason: String| OnnxError::Opset {
            file: named(self.path()),
            reason,
        };
        let opset = self.model.opset();
        if !(LEAST..RAISED).contains(&opset) {
            return Err(refused(format!(
                "the model has opset {opset}, not one from {LEAST} to {}",
                RAISED - 1
            )));
        }
        if !self.bodies().is_empty() {
            return Err(refused("the model has subgraphs or functions".into()));
        }
        let all = records(&self.encode().to_bytes());
        let all = all.map_err(|e| self.malformed(Malformed::NotOnnx(e)))?;
        let written = self.written_raised(&all, kind);
        self.reread(written.map_err(|fault| match fault {
            Fault::Malformed(reason) => self.malformed(reason),
            Fault::Refused(reason) => refused(reason),
        })?)
    }

    fn written_raised(
        &self,
        all: &[Record],
        kind: &dyn Fn(&str) -> ValueKind,
    ) -> Result<bytes::Bytes, Fault> {
        let mut out = Rope::default();
        for record in all {
            match record.number {
                1 => {
                    let version = record.varint().map_err(Malformed::NotOnnx)?;
                    out.push_varint(1, version.max(IR_VERSION));
                }
                7 => out.push_field(7, self.raised_graph(record, kind)?),
                8 => out.push_bytes(8, &raised_opset(record)?),
                _ => out.push(record.raw.clone()),
            }
        }
        Ok(out.to_bytes())
    }

    fn raised_graph(
        &self,
        graph: &Record,
        kind: &dyn Fn(&str) -> ValueKind,
    ) -> Result<Rope, Fault> {
        let graph = graph.payload().map_err(Malformed::NotOnnx)?;
        let graph = records(graph).map_err(Malformed::NotOnnx)?;
        let mut own = nodes(&graph)?.into_iter();
        let taken = taken(&graph, own.as_slice());
        let mut raising = Raising::new(self.model.opset(), taken, kind);
        let mut out = Rope::default();
        for record in &graph {
            match record.number {
                1 => {
                    let Some(node) = own.next() else { continue };
                    match raising.raised(&node)? {
                        None => out.push(record.raw.clone()),
                        Some(written) => {
                            let written = written.iter().map(NodeProto::encode_to_vec);
                            written.for_each(|node| out.push_bytes(1, &node));
                        }
                    }
                }
                11 if self.lists_a_constant(record)? => {}
                _ => out.push(record.raw.clone()),
            }
        }
        Ok(out)
    }

    /// True for an input that only lists a constant: in this version of the format callers could override it.
    fn lists_a_constant(&self, input: &Record) -> Result<bool, Malformed> {
        let part = |e: String| Malformed::part("input", e);
        let message = input.payload().map_err(part)?.clone();
        let input = ValueInfoProto::decode(message).map_err(|e| part(e.to_string()))?;
        let graph = &self.model.graph;
        let value = graph.find(input.name());
        Ok(value.is_some_and(|value| graph.constant(value).is_some()))
    }
}

/// Reason for which a model is not raised.
pub(crate) enum Fault {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::proto::attribute_proto::AttributeType;
    use crate::proto::{AttributeProto, GraphProto, ModelProto, TensorProto};

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
        let kind = |_: &str| ValueKind { rank, dtype: None };
        let raised = document.raised(&kind).unwrap();
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
        let (constants, others): (Vec<_>, Vec<_>) =
            graph.node.iter().partition(|n| n.op_type() == "Constant");
        let inputs: Vec<&str> = others.iter().map(|n| n.input[1].as_str()).collect();
        assert_eq!(inputs, ["s/axes/axes", "s/axes_2", "y/axes"]);
        assert!(others.iter().all(|n| n.attribute.is_empty()));
        let values = constants.iter().map(|n| n.attribute[0].t.as_ref().unwrap());
        let values: Vec<&[i64]> = values.map(|t| &*t.int64_data).collect();
        assert_eq!(values, [&[0, 2][..], &[1], &[0]]);
    }

    #[test]
    fn initializers_are_no_inputs_any_more() {
        let model = document(9, vec![node("Identity", &["x"], "y", None)]);
        let mut proto = ModelProto::decode(model.encode().to_bytes()).unwrap();
        proto.ir_version = Some(3);
        let graph = proto.graph.as_mut().unwrap();
        graph.node[0] = node("Add", &["x", "w"], "y", None);
        graph.input.push(ValueInfoProto {
            name: Some("w".into()),
            ..ValueInfoProto::default()
        });
        graph.initializer.push(TensorProto {
            name: Some("w".into()),
            data_type: Some(1),
            float_data: vec![1.0],
            ..TensorProto::default()
        });
        let model = Document::from_bytes(proto.encode_to_vec().into()).unwrap();
        let graph = raised(&model, None).graph.unwrap();
        let names: Vec<&str> = graph.input.iter().map(|i| i.name()).collect();
        assert_eq!(names, ["x"]);
        assert_eq!(graph.initializer.len(), 1);
    }

    #[test]
    fn operators_of_opsets_below_11_become_those_of_13() {
        let number = |name: &str, value: f32| AttributeProto {
            name: Some(name.into()),
            r#type: Some(AttributeType::Float as i32),
            f: Some(value),
            ..AttributeProto::default()
        };
        let with = |mut node: NodeProto, own: AttributeProto| {
            node.attribute.push(own);
            node
        };
        let of = |opset, node: NodeProto| -> (String, Vec<String>, usize) {
            let graph = raised(&document(opset, vec![node]), Some(4)).graph.unwrap();
            let node = graph.node.last().unwrap();
            let inputs = node.input.clone();
            (node.op_type().to_owned(), inputs, graph.node.len() - 1)
        };
        let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        // Of a missing bound the place stays empty, and none is left behind the last.
        let clip = with(node("Clip", &["x"], "y", None), number("max", 6.0));
        let wanted = ("Clip".to_owned(), names(&["x", "", "y/max"]), 1);
        assert_eq!(of(10, clip), wanted);
        let clip = node("Clip", &["x"], "y", None);
        assert_eq!(of(10, clip), ("Clip".to_owned(), names(&["x"]), 0));
        let pads = node("Pad", &["x"], "y", Some(("pads", &[0, 1, 0, 1])));
        let wanted = ("Pad".to_owned(), names(&["x", "y/pads"]), 1);
        assert_eq!(of(9, pads), wanted);
        let slice = node("Slice", &["x"], "y", Some(("starts", &[1])));
        let wanted = ("Slice".to_owned(), names(&["x", "y/starts"]), 1);
        assert_eq!(of(9, slice), wanted);
        // Scales are an attribute up to opset 8, and an input behind it.
        let wanted = |scales| ("Resize".to_owned(), names(&["x", "", scales]));
        let mut scaled = node("Upsample", &["x"], "y", None);
        scaled.attribute.push(AttributeProto {
            name: Some("scales".into()),
            r#type: Some(AttributeType::Floats as i32),
            floats: vec![1.0, 1.0, 2.0, 2.0],
            ..AttributeProto::default()
        });
        let (op_type, inputs, _) = of(7, scaled);
        assert_eq!((op_type, inputs), wanted("y/scales"));
        for (opset, op_type) in [(9, "Upsample"), (10, "Resize")] {
            let (op_type, inputs, _) = of(opset, node(op_type, &["x", "x"], "y", None));
            assert_eq!((op_type, inputs), wanted("x"));
        }
        let spatial = |value| {
            let own = AttributeProto {
                name: Some("spatial".into()),
                r#type: Some(AttributeType::Int as i32),
                i: Some(value),
                ..AttributeProto::default()
            };
            document(
                8,
                vec![with(node("BatchNormalization", &["x"], "y", None), own)],
            )
        };
        let graph = raised(&spatial(1), None).graph.unwrap();
        assert!(graph.node[0].attribute.is_empty());
        assert!(spatial(0).raised(&|_| ValueKind::default()).is_err());
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
            (6, "opset 6, not one from 7 to 12"),
            (13, "opset 13, not one from 7 to 12"),
        ] {
            let error = relu(opset)
                .raised(&|_| ValueKind::default())
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(reason), "{error}");
        }
        let mut resize = node("Resize", &["x"], "y", None);
        resize.attribute.push(AttributeProto {
            name: Some("coordinate_transformation_mode".into()),
            r#type: Some(AttributeType::String as i32),
            s: Some(b"tf_half_pixel_for_nn".to_vec().into()),
            ..AttributeProto::default()
        });
        let error = document(11, vec![resize])
            .raised(&|_| ValueKind::default())
            .err()
            .unwrap();
        assert!(error.to_string().contains("n_y"), "{error}");
    }
}
