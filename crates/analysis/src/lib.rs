//! Shape inference and cost over the IR of sepconv.
//!
//! - [`Shapes`]: forward shape inference with concrete extents. Free dimensions of the graph
//!   inputs are pinned by the user ([`Pins`]) or assumed ([`Assumptions`]), and the result
//!   says which were.
//! - [`ModelCost`]: multiply-accumulates (MACs, not FLOPs) and parameters, per node and in
//!   total; [`cost`] documents the formula of every operator.
//! - [`ConvAttributes`]: the geometry of a convolution, read and validated.
//!
//! A new shape rule is one row of the table in `rules/mod.rs` (and, if its arithmetic is
//! new, one function in that folder). A new cost formula is one row of the table in
//! `cost.rs`.
//!
//! ```
//! use sepconv_analysis::{Assumptions, ModelCost, Pins, Shapes};
//! use sepconv_ir::{Builder, DType, Dim, Model, Operator, Tensor, ValueType};
//!
//! let mut b = Builder::new();
//! let dims = vec![Dim::Symbol("N".into()), Dim::Known(3), Dim::Known(8), Dim::Known(8)];
//! let x = b.input("x", Some(ValueType { dtype: DType::F32, dims: Some(dims) })).unwrap();
//! let w = b.initializer("w", Tensor::from_f32(vec![4, 3, 3, 3], vec![0.0; 108])).unwrap();
//! let y = b.operator(Operator::new("Conv", "c"), &[Some(x), Some(w)], &["y"]).unwrap();
//! b.output(y[0]).unwrap();
//! let model = Model { graph: b.finish().unwrap(), opsets: vec![], ir_version: 8 };
//!
//! let shapes = Shapes::infer(&model.graph, &Pins::default(), &Assumptions::default()).unwrap();
//! assert_eq!(shapes.get(y[0]).unwrap().to_string(), "f32[1,4,6,6]");
//! assert_eq!(shapes.assumed()[0].to_string(), "x[0] (N) = 1");
//! let cost = ModelCost::of(&model, &shapes);
//! assert_eq!(cost.macs, 4 * 6 * 6 * 3 * 9);
//! assert_eq!(cost.params, 108);
//! ```

pub mod constants;
pub mod conv;
pub mod cost;

mod assume;
mod contradiction;
mod data;
mod engine;
mod evaluate;
mod fact;
mod known;
mod order;
mod pins;
mod rules;
mod shapes;
#[cfg(test)]
mod testing;
mod window;

pub use assume::{AssumedDim, Assumptions};
pub use contradiction::Contradiction;
pub use conv::{ConvAttributes, ConvError};
pub use cost::{ModelCost, NodeCost, NodeRow};
pub use pins::{PinError, Pins};
pub use shapes::{InputShape, Shape, Shapes};
pub use window::AutoPad;
