//! `QuantizeLinear` and `DequantizeLinear` as parts of a patch.

use sepconv_ir::{AttributeValue, IrError, Operator, Patch, PatchValue, Tensor, ValueId};

use crate::grid::Grid;

/// Name of the edits of this crate in errors.
pub(crate) const RULE: &str = "quantize";

/// A value stored in integers, with scale and zero point.
pub(crate) struct Stored {
    name: String,
    integers: PatchValue,
    scale: PatchValue,
    zero: PatchValue,
}

impl Stored {
    /// `QuantizeLinear` of `value`, called `name`, by a grid.
    pub fn activation(
        patch: &mut Patch,
        name: &str,
        value: PatchValue,
        grid: Grid,
    ) -> Result<Self, IrError> {
        let scale = Tensor::from_f32(Vec::new(), vec![grid.scale]);
        let zero = fitting(name, Tensor::from_slice(&[], &[grid.zero]))?;
        let scale = patch.initializer(format!("{name}/scale"), scale);
        let zero = patch.initializer(format!("{name}/zero"), zero);
        let op = Operator::new("QuantizeLinear", format!("{name}/quantize"));
        let inputs = vec![Some(value), Some(scale), Some(zero)];
        Ok(Self {
            name: name.to_owned(),
            integers: patch.operator(op, inputs, format!("{name}/eight")),
            scale,
            zero,
        })
    }

    /// Integers that are there, called `name`, with a scale and a zero point.
    pub fn of_integers(
        patch: &mut Patch,
        name: String,
        integers: PatchValue,
        scale: Tensor,
        zero: Tensor,
    ) -> Self {
        Self {
            integers,
            scale: patch.initializer(format!("{name}/scale"), scale),
            zero: patch.initializer(format!("{name}/zero"), zero),
            name,
        }
    }

    /// Integers, scales and zero points that are there, as `name` is to read them.
    pub fn of_values(name: String, [integers, scale, zero]: [ValueId; 3]) -> Self {
        Self {
            name,
            integers: integers.into(),
            scale: scale.into(),
            zero: zero.into(),
        }
    }

    /// Integers of a constant called `name`, `integers` where they fit their extents, with one scale per
    /// index of an axis.
    pub fn constant(
        patch: &mut Patch,
        name: String,
        integers: Option<Tensor>,
        scales: &[f32],
    ) -> Result<Self, IrError> {
        let integers = fitting(&name, integers)?;
        let zeros = vec![0_i64; scales.len()];
        let zeros = Tensor::from_i64s(integers.dtype(), vec![scales.len()], &zeros);
        let zeros = fitting(&name, zeros)?;
        let scale = Tensor::from_f32(vec![scales.len()], scales.to_vec());
        let integers = patch.initializer(format!("{name}/integers"), integers);
        Ok(Self::of_integers(patch, name, integers, scale, zeros))
    }

    /// The `DequantizeLinear` that reads it, and the inputs of that; `axis` is that of the scales.
    pub fn reader(&self, axis: Option<usize>) -> (Operator, Vec<Option<PatchValue>>) {
        let op = Operator::new("DequantizeLinear", format!("{}/dequantize", self.name));
        let op = match axis {
            Some(axis) => op.with("axis", AttributeValue::Int(axis as i64)),
            None => op,
        };
        (
            op,
            vec![Some(self.integers), Some(self.scale), Some(self.zero)],
        )
    }

    /// The floats that it stands for.
    pub fn read(&self, patch: &mut Patch, axis: Option<usize>) -> PatchValue {
        let (op, inputs) = self.reader(axis);
        patch.operator(op, inputs, format!("{}/floats", self.name))
    }
}

/// A tensor whose elements fit its extents.
fn fitting(name: &str, tensor: Option<Tensor>) -> Result<Tensor, IrError> {
    tensor.ok_or_else(|| IrError::Patch {
        rule: RULE.into(),
        node: name.to_owned(),
        reason: "its integers don't fit its extents".into(),
    })
}
