//! Models that take as long as quantised ones, without data.

use std::collections::BTreeSet;
use std::error::Error;

use sepconv_analysis::Pins;
use sepconv_factor::WeightBits;
use sepconv_ir::{Graph, ValueId};
use sepconv_latency::Precision;
use sepconv_model::Loaded;
use sepconv_onnx::Document;

use crate::admit::{admitted, prepared};
use crate::build::Parts;
use crate::error::QuantizeError;
use crate::grid::Grid;
use crate::layers::{Layer, is_of};
use crate::ranges::Ranges;
use crate::rewrite::RoundedLayer;
use crate::scheme::{Scheme, is_clamp};
use crate::weights::Rounded;

/// Eight bits, as [`crate::quantize`] writes them: the same operators in integers, with grids of no data.
#[derive(Debug, Clone, Copy)]
pub struct Int8;

impl Precision for Int8 {
    fn name(&self) -> &'static str {
        "int8"
    }

    fn outline(
        &self,
        model: &Document,
        floats: &[String],
    ) -> Result<Document, Box<dyn Error + Send + Sync>> {
        Ok(outline(model, floats, WeightBits::Eight)?)
    }
}

/// The model in eight bits with weights of these, but for the layers `floats`, with grids of no data.
pub(crate) fn outline(
    model: &Document,
    floats: &[String],
    bits: WeightBits,
) -> Result<Document, QuantizeError> {
    let model = Loaded::new(model.clone(), &Pins::default())?;
    let raised = admitted(&model, true)?;
    let folded = prepared(raised.as_ref().unwrap_or(&model))?;
    let graph = folded.graph();
    let layers = Layer::all(graph);
    let whole = Scheme::of(graph, &folded.shapes, &layers, &BTreeSet::new());
    let rounded = layers.iter().map(|layer| Rounded::plainly(layer, bits));
    let rounded: Vec<Rounded> = rounded.collect();
    let read = layers.iter().map(|layer| (layer, grid(graph, layer.input)));
    let by_node = RoundedLayer::by_node(read, &rounded);
    let values = whole.values().into_iter();
    let ranges = Ranges::fixed(values.map(|value| (value, grid(graph, value))));
    let parts = Parts {
        folded: &folded,
        layers: &layers,
        ranges: &ranges,
    };
    let left = layers
        .iter()
        .filter(|layer| floats.iter().any(|own| is_of(&layer.name, own)));
    let left = left.map(|layer| layer.node).collect();
    Ok(parts.model(&by_node, &left)?.document)
}

/// A grid as wide as activations are, about. That of a clamp begins at zero, by which runtimes leave the
/// clamp out.
fn grid(graph: &Graph, value: ValueId) -> Grid {
    let clamped = graph
        .producer(value)
        .is_some_and(|(_, op)| is_clamp(graph, op));
    let low = if clamped { 0.0 } else { -4.0 };
    Grid::over(low, 4.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_factor::KernelShape;
    use sepconv_ir::DType;
    use sepconv_latency::{Activation, Block, Geometry, build};

    use super::*;

    fn block() -> Geometry {
        Geometry {
            dtype: DType::F32,
            batch: 1,
            input: vec![8, 8],
            kernel: KernelShape::new(16, 16, 1, [3, 3]).unwrap(),
            strides: vec![1, 1],
            dilations: vec![1, 1],
            pads: vec![1; 4],
            product: None,
            transposed: None,
            bias: true,
            activation: Some(Activation::Relu),
        }
    }

    fn count(document: &Document, name: &str) -> usize {
        let operators = document.model.graph.operators();
        operators.filter(|(_, op)| op.is(name)).count()
    }

    #[test]
    fn blocks_are_in_eight_bits_and_a_multiplier_above_one_is_not() {
        let original = build(&Block::original(block())).unwrap();
        let outline = Int8.outline(&original, &[]).unwrap();
        // Head, convolution and tail; weights of three, biases of one.
        assert_eq!(count(&outline, "Conv"), 3);
        let pairs = count(&outline, "QuantizeLinear");
        assert!(pairs >= 3, "{pairs}");
        assert_eq!(count(&outline, "DequantizeLinear"), pairs + 4);
        let chain = build(&Block::chain(block(), "dw-pw", 2, "fused"));
        let chain = chain.unwrap();
        let pairs = |floats: &[String]| {
            let outline = Int8.outline(&chain, floats).unwrap();
            count(&outline, "DequantizeLinear")
        };
        assert!(pairs(&[]) > count(&outline, "Conv"));
        // All of what stands for the layer is in floats, and head and tail are not.
        let floats = pairs(&["conv".to_owned()]);
        assert!(floats < pairs(&[]) && floats >= 4, "{floats}");
    }
}
