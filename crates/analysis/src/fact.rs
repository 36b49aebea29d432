//! Known facts of a value: type, extents and elements.

use sepconv_ir::{DType, Dim, Tensor, ValueType};

/// Tensors of at most this many elements are propagated.
pub(crate) const MAX_DATA: u64 = 64;

/// Shapes of a higher rank are given up: a chain of `Gather(x, x)` doubles the rank.
pub(crate) const MAX_RANK: usize = 64;

/// An extent, `None` where it is unknown.
pub(crate) type Extent = Option<u64>;

/// A propagated element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar {
    Int(i64),
    Float(f64),
}

impl Scalar {
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Int(v) => v as f64,
            Self::Float(v) => v,
        }
    }
}

/// Propagated elements, row-major, `None` where one is unknown.
pub(crate) type Data = Vec<Option<Scalar>>;

/// Known facts of a value. `data` implies fixed `dims` of as many elements.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fact {
    pub(crate) dtype: Option<DType>,
    pub(crate) dims: Option<Vec<Extent>>,
    pub(crate) data: Option<Data>,
}

impl Fact {
    pub(crate) fn new(dtype: Option<DType>, dims: Vec<Extent>) -> Self {
        Self {
            dtype,
            dims: Some(dims),
            data: None,
        }
    }

    pub(crate) fn fixed(dtype: DType, dims: &[u64]) -> Self {
        Self::new(Some(dtype), dims.iter().map(|n| Some(*n)).collect())
    }

    /// Attaches elements where their number fits the shape.
    pub(crate) fn with_data(mut self, data: Option<Data>) -> Self {
        let count = self.dims.as_deref().and_then(count);
        self.data = data.filter(|d| count == Some(d.len() as u64) && d.len() as u64 <= MAX_DATA);
        self
    }

    /// All extents, where all are known.
    pub(crate) fn extents(&self) -> Option<Vec<u64>> {
        self.dims.as_ref()?.iter().copied().collect()
    }

    /// A small one-dimensional or scalar tensor of known integers.
    pub(crate) fn ints(&self) -> Option<Vec<i64>> {
        let element = |s: &Option<Scalar>| match s {
            Some(Scalar::Int(v)) => Some(*v),
            _ => None,
        };
        self.data.as_ref()?.iter().map(element).collect()
    }

    /// The shape and, where it is small, the contents of a constant.
    pub(crate) fn constant(tensor: &Tensor) -> Self {
        let dims: Vec<u64> = tensor.dims().iter().map(|n| *n as u64).collect();
        let fact = Self::fixed(tensor.dtype(), &dims);
        let small = fact.dims.as_deref().and_then(count);
        if small.is_none_or(|n| n > MAX_DATA) {
            return fact;
        }
        let ints = || Some(tensor.to_i64()?.into_iter().map(Scalar::Int).collect());
        let floats = || {
            let values = tensor.to_f64()?;
            Some(values.into_iter().map(Scalar::Float).collect())
        };
        let elements: Option<Vec<Scalar>> = ints().or_else(floats);
        fact.with_data(elements.map(|e| e.into_iter().map(Some).collect()))
    }

    /// Fills unknown parts from a declared type; `bind` gives extents to symbols.
    pub(crate) fn complete(&mut self, declared: &ValueType, bind: impl Fn(&str) -> Extent) {
        self.dtype = self.dtype.or(Some(declared.dtype));
        let Some(declared) = &declared.dims else {
            return;
        };
        let extent = |dim: &Dim| match dim {
            Dim::Known(n) => Some(*n),
            Dim::Symbol(s) => bind(s),
            Dim::Unknown => None,
        };
        match &mut self.dims {
            None => self.dims = Some(declared.iter().map(extent).collect()),
            Some(dims) if dims.len() == declared.len() => {
                for (dim, declared) in dims.iter_mut().zip(declared) {
                    *dim = dim.or_else(|| extent(declared));
                }
            }
            Some(_) => {}
        }
    }
}

/// Number of elements; `None` where an extent is unknown or the product overflows.
pub(crate) fn count(dims: &[Extent]) -> Extent {
    if dims.contains(&Some(0)) {
        return Some(0);
    }
    dims.iter()
        .try_fold(1u64, |n, d| d.and_then(|d| n.checked_mul(d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_checked() {
        assert_eq!(count(&[]), Some(1));
        assert_eq!(count(&[Some(2), Some(3)]), Some(6));
        assert_eq!(count(&[Some(u64::MAX), Some(2)]), None);
        assert_eq!(count(&[Some(u64::MAX), Some(2), Some(0)]), Some(0));
        assert_eq!(count(&[None, Some(2)]), None);
    }

    #[test]
    fn constants_carry_small_contents() {
        let small = Fact::constant(&Tensor::from_i64(vec![2], &[3, -1]));
        assert_eq!(small.ints(), Some(vec![3, -1]));
        let large = Fact::constant(&Tensor::from_i64(vec![65], &[0; 65]));
        assert_eq!(large.data, None);
        let huge = Fact::constant(&Tensor::opaque(DType::String, vec![usize::MAX, 2]));
        assert_eq!(huge.data, None);
    }

    #[test]
    fn declared_types_fill_gaps_only() {
        let declared = ValueType {
            dtype: DType::F16,
            dims: Some(vec![Dim::Known(9), Dim::Known(3), Dim::Symbol("N".into())]),
        };
        let bind = |s: &str| (s == "N").then_some(5);
        let mut fact = Fact::new(Some(DType::F32), vec![Some(1), None, None]);
        fact.complete(&declared, bind);
        assert_eq!(fact, Fact::fixed(DType::F32, &[1, 3, 5]));
        let mut fact = Fact::default();
        fact.complete(&declared, bind);
        assert_eq!(fact, Fact::fixed(DType::F16, &[9, 3, 5]));
        let mut other_rank = Fact::fixed(DType::F32, &[2]);
        other_rank.complete(&declared, bind);
        assert_eq!(other_rank, Fact::fixed(DType::F32, &[2]));
    }
}
