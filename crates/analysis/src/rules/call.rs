//! The arguments of a rule: a node and the facts of its inputs.

use sepconv_ir::{AttributeValue, DType, Operator};

use crate::conv::ConvFault;
use crate::fact::{Extent, Fact, MAX_RANK};

/// Reason for which a rule has no result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stop {
    /// Too little is known of the inputs.
    Unknown,
    /// Inputs and attributes do not fit together, for this reason.
    Contradiction(String),
}

/// Facts of a node's outputs by a rule, by slot; missing ones are unknown.
pub(crate) type Inferred = Result<Vec<Fact>, Stop>;

impl From<ConvFault> for Stop {
    fn from(fault: ConvFault) -> Self {
        Self::Contradiction(fault.to_string())
    }
}

/// A contradiction for a reason.
pub(crate) fn contradiction<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Contradiction(reason.into()))
}

/// A node and the facts of its inputs, by slot.
pub(crate) struct Call<'a> {
    pub(crate) op: &'a Operator,
    pub(crate) inputs: Vec<Option<&'a Fact>>,
}

impl<'a> Call<'a> {
    /// True for an optional input that is there.
    pub(crate) fn has(&self, slot: usize) -> bool {
        matches!(self.inputs.get(slot), Some(Some(_)))
    }

    /// The facts of an input.
    pub(crate) fn fact(&self, slot: usize) -> Result<&'a Fact, Stop> {
        self.inputs
            .get(slot)
            .copied()
            .flatten()
            .ok_or(Stop::Unknown)
    }

    /// Dimensions of an input of known rank.
    pub(crate) fn dims(&self, slot: usize) -> Result<&'a [Extent], Stop> {
        self.fact(slot)?.dims.as_deref().ok_or(Stop::Unknown)
    }

    /// Extents of an input of known shape.
    pub(crate) fn extents(&self, slot: usize) -> Result<Vec<u64>, Stop> {
        self.fact(slot)?.extents().ok_or(Stop::Unknown)
    }

    /// Element type of an input.
    pub(crate) fn dtype(&self, slot: usize) -> Option<DType> {
        self.fact(slot).ok()?.dtype
    }

    /// Contents of a small integer input.
    pub(crate) fn ints(&self, slot: usize) -> Result<Vec<i64>, Stop> {
        self.fact(slot)?.ints().ok_or(Stop::Unknown)
    }

    /// Contents of a small floating-point input.
    pub(crate) fn floats(&self, slot: usize) -> Result<Vec<f64>, Stop> {
        let data = self.fact(slot)?.data.as_ref().ok_or(Stop::Unknown)?;
        data.iter()
            .map(|s| s.map(|s| s.as_f64()).ok_or(Stop::Unknown))
            .collect()
    }

    /// A list of integers that older opsets have as an attribute and newer ones as an input.
    /// `None` where neither is there.
    pub(crate) fn list(&self, attribute: &str, slot: usize) -> Result<Option<Vec<i64>>, Stop> {
        if self.has(slot) {
            return self.ints(slot).map(Some);
        }
        self.list_attribute(attribute)
    }

    /// A list of integers that is an attribute. `None` where it is absent.
    pub(crate) fn list_attribute(&self, name: &str) -> Result<Option<Vec<i64>>, Stop> {
        match self.op.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Ints(v)) => Ok(Some(v.clone())),
            Some(_) => contradiction(format!("attribute '{name}' is of the wrong type")),
        }
    }

    /// An integer attribute.
    pub(crate) fn int(&self, name: &str, default: i64) -> Result<i64, Stop> {
        match self.op.attribute(name) {
            None => Ok(default),
            Some(AttributeValue::Int(v)) => Ok(*v),
            Some(_) => contradiction(format!("attribute '{name}' is of the wrong type")),
        }
    }

    /// An axis attribute, counted from the front.
    pub(crate) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, Stop> {
        axis(self.int(name, default)?, rank)
    }
}

/// An axis counted from the front, where negative ones count from the back.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Stop> {
    let from_front = if axis < 0 {
        i64::try_from(rank).ok().and_then(|r| axis.checked_add(r))
    } else {
        Some(axis)
    };
    match from_front.and_then(|a| usize::try_from(a).ok()) {
        Some(a) if a < rank => Ok(a),
        _ => contradiction(format!("axis {axis} of a tensor of rank {rank}")),
    }
}

/// Distinct axes, counted from the front; unknown where there are more than any shape has.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Stop> {
    if list.len() > MAX_RANK {
        return Err(Stop::Unknown);
    }
    let mut found = Vec::with_capacity(list.len());
    for a in list {
        let a = axis(*a, rank)?;
        if found.contains(&a) {
            return contradiction(format!("axis {a} is listed twice"));
        }
        found.push(a);
    }
    Ok(found)
}

/// Dimensions for messages, such as `[1,3,?]`.
pub(crate) fn show(dims: &[Extent]) -> String {
    let texts: Vec<String> = dims
        .iter()
        .map(|d| d.map_or_else(|| "?".to_owned(), |n| n.to_string()))
        .collect();
    format!("[{}]", texts.join(","))
}

/// The common extent of two axes that must agree.
pub(crate) fn agree(a: Extent, b: Extent, what: &str) -> Result<Extent, Stop> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => contradiction(format!("{what} {a} and {b} disagree")),
        (a, b) => Ok(a.or(b)),
    }
}
