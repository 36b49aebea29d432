//! The readers of a value: an error counts by its size behind them.

use sepconv_ir::{Graph, ValueId};

/// The activation that is all that reads a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Behind {
    /// Something else, or several things.
    Nothing,
    /// `LeakyRelu` with its slope below zero.
    Leaky(f64),
    /// `Sigmoid`.
    Sigmoid,
    /// `x Sigmoid(x)`, as two operators.
    Silu,
}

impl Behind {
    /// The readers of `value`.
    pub fn of(graph: &Graph, value: ValueId) -> Self {
        let readers = graph.readers(value);
        let ops: Vec<_> = readers
            .iter()
            .filter_map(|(id, _)| graph.operator(*id))
            .collect();
        if ops.len() != readers.len() {
            return Self::Nothing;
        }
        match ops.as_slice() {
            [op] if op.is("LeakyRelu") => Self::Leaky(f64::from(op.float("alpha", 0.01))),
            [op] if op.is("Sigmoid") => Self::Sigmoid,
            [a, b] => {
                let (gate, product) = if a.is("Sigmoid") { (a, b) } else { (b, a) };
                let gated = gate.is("Sigmoid") && product.is("Mul");
                let reads = gate
                    .output(0)
                    .is_some_and(|v| product.inputs.contains(&Some(v)));
                if gated && reads {
                    Self::Silu
                } else {
                    Self::Nothing
                }
            }
            _ => Self::Nothing,
        }
    }

    /// The distance of `a` and `b` behind the readers.
    pub fn distance(self, a: f64, b: f64) -> f64 {
        self.value(a) - self.value(b)
    }

    /// The derivative at `x`.
    pub fn slope(self, x: f64) -> f64 {
        let gate = sigmoid(x);
        match self {
            Self::Nothing => 1.0,
            Self::Leaky(slope) => {
                if x < 0.0 {
                    slope
                } else {
                    1.0
                }
            }
            Self::Sigmoid => gate * (1.0 - gate),
            Self::Silu => gate * (1.0 + x * (1.0 - gate)),
        }
    }

    fn value(self, x: f64) -> f64 {
        match self {
            Self::Nothing => x,
            Self::Leaky(slope) => {
                if x < 0.0 {
                    slope * x
                } else {
                    x
                }
            }
            Self::Sigmoid => sigmoid(x),
            Self::Silu => x * sigmoid(x),
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_ir::{AttributeValue, Builder, Operator};

    use super::*;

    #[test]
    fn slopes_are_those_of_the_values() {
        for behind in [
            Behind::Nothing,
            Behind::Leaky(0.1),
            Behind::Sigmoid,
            Behind::Silu,
        ] {
            for x in [-9.0, -2.0, -0.3, 0.4, 3.0] {
                let h = 1e-5;
                let slope = behind.distance(x + h, x - h) / (2.0 * h);
                assert!((slope - behind.slope(x)).abs() < 1e-6, "{behind:?} at {x}");
            }
        }
    }

    #[test]
    fn readers_are_recognised() {
        let behind = |op_type: &str, product: bool, output: bool| {
            let mut b = Builder::new();
            let x = b.input("x", None).unwrap();
            let op = Operator::new(op_type, "a").with("alpha", AttributeValue::Float(0.25));
            let a = b.operator(op, &[Some(x)], &["a"]).unwrap()[0];
            let last = match product {
                true => b
                    .operator(Operator::new("Mul", "m"), &[Some(a), Some(x)], &["y"])
                    .unwrap()[0],
                false => a,
            };
            b.output(last).unwrap();
            if output {
                b.output(x).unwrap();
            }
            let graph = b.finish().unwrap();
            Behind::of(&graph, x)
        };
        assert_eq!(behind("LeakyRelu", false, false), Behind::Leaky(0.25));
        assert_eq!(behind("Sigmoid", false, false), Behind::Sigmoid);
        assert_eq!(behind("Sigmoid", true, false), Behind::Silu);
        assert_eq!(behind("Tanh", true, false), Behind::Nothing);
        assert_eq!(behind("Sigmoid", true, true), Behind::Nothing);
    }
}
