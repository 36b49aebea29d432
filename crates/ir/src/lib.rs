//! The graph IR of sepconv: operators on nodes, values on edges, edits as patches.
//!
//! A [`Graph`] is a [`petgraph`] stable directed graph. Its nodes are graph inputs,
//! initializers, operators and graph outputs ([`Node`]); its edges carry values from the
//! node that produces them to a numbered input slot of the node that reads them ([`Edge`]).
//! An operator that the compiler does not know is a node like any other: it keeps its
//! encoded bytes ([`Operator::source`]) and leaves the compiler as it came.
//!
//! There is no mutable view of a finished graph. Passes describe an edit as a [`Patch`]
//! (operators to remove, operators and initializers to add, values to take over), which
//! [`Graph::apply`] checks as a whole before it touches anything.
//!
//! ```
//! use sepconv_ir::{Builder, Operator, Tensor};
//!
//! let mut b = Builder::new();
//! let x = b.input("x", None).unwrap();
//! let w = b.initializer("w", Tensor::from_f32(vec![2, 2], vec![1.0; 4])).unwrap();
//! let y = b.operator(Operator::new("MatMul", "mm"), &[Some(x), Some(w)], &["y"]).unwrap();
//! b.output(y[0]).unwrap();
//! let graph = b.finish().unwrap();
//! assert_eq!(graph.operators().count(), 1);
//! ```

mod builder;
mod constants;
mod element;
mod error;
mod graph;
mod ids;
mod model;
mod names;
mod node;
mod patch;
mod subgraphs;
mod tensor;
pub mod text;
mod types;
mod verify;

pub use builder::Builder;
pub use element::Element;
pub use error::IrError;
pub use graph::{Edge, Graph, Slot};
pub use ids::{NodeId, ValueId};
pub use model::{Model, Opset};
pub use node::{Attribute, AttributeValue, Initializer, Node, Operator};
pub use patch::{Applied, Patch, PatchValue};
pub use tensor::Tensor;
pub use types::{DType, Dim, Value, ValueType};
