//! Extents for the free dimensions of the graph inputs.

use std::collections::{BTreeMap, HashMap};

use sepconv_ir::{Dim, Graph, ValueId};
use serde::Serialize;

use crate::fact::{Extent, Fact};
use crate::pins::{PinError, Pins};

/// Extents tried for free dimensions that the user does not pin.
///
/// Free are dimensions declared with a symbol, with nothing, or as 0 (old exporters write 0
/// for a free batch).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assumptions {
    /// Extent of a free first dimension of inputs of rank 2 and above; `None` leaves it
    /// unknown.
    pub batch: Option<u64>,
    /// Extents tried in order for all other free dimensions. The first with which inference
    /// over the whole graph finds no contradiction is taken; where one extent for all of them
    /// never fits, single dimensions are tried at 3 and 1 (channels). Where nothing fits, the
    /// one with the fewest contradictions is taken.
    pub candidates: Vec<u64>,
    /// Extents of free dimensions that are known from elsewhere, such as the samples of a data
    /// set: by name of the input, one entry per axis, `None` where nothing is known. They go
    /// before all other assumptions.
    pub known: BTreeMap<String, Vec<Option<u64>>>,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            batch: Some(1),
            candidates: vec![64, 224, 32, 256, 128, 28, 299, 300, 512],
        }
    }
}

impl Assumptions {
    /// Assumes nothing: dimensions that are not pinned stay unknown.
    pub fn none() -> Self {
        Self {
            batch: None,
            candidates: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// The extent of an axis that is known from elsewhere.
    fn known(&self, input: &str, axis: usize) -> Extent {
        self.known.get(input)?.get(axis).copied().flatten()
    }
}

/// A dimension of a graph input whose extent was assumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AssumedDim {
    /// Name of the input.
    pub input: String,
    /// The axis, from 0.
    pub axis: usize,
    /// The dimension's name in the file, where it has one.
    pub symbol: Option<String>,
    /// The extent assumed.
    pub extent: u64,
    /// The extent is one of [`Assumptions::known`](field@Assumptions::known).
    pub known: bool,
}

/// Such as `x[0] (N) = 1`.
impl std::fmt::Display for AssumedDim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.input, self.axis)?;
        if let Some(symbol) = &self.symbol {
            write!(f, " ({symbol})")?;
        }
        write!(f, " = {}", self.extent)
    }
}

/// Dimensions that must have one extent: all of one symbol, or a single one without a name.
#[derive(Debug, Default)]
struct Group {
    symbol: Option<String>,
    batch: bool,
    members: Vec<(usize, usize)>,
}

/// The graph inputs with their free dimensions in groups.
#[derive(Debug)]
pub(crate) struct FreeInputs {
    inputs: Vec<(ValueId, String, Fact)>,
    groups: Vec<Group>,
    /// Extents that pins give to symbols.
    bound: HashMap<String, u64>,
}

/// At most so many groups are tried at extents of their own.
const MAX_SINGLE: usize = 4;

impl FreeInputs {
    /// Reads the inputs of a graph.
    ///
    /// # Errors
    /// Pins that name no input or contradict a declared shape.
    pub(crate) fn new(graph: &Graph, pins: &Pins) -> Result<Self, PinError> {
        let mut free = Self {
            inputs: Vec::new(),
            groups: Vec::new(),
            bound: HashMap::new(),
        };
        free.refuse_strangers(graph, pins)?;
        for value in graph.inputs() {
            let name = graph.name(value).to_owned();
            if let Some(extents) = pins.get(&name) {
                free.bind(&name, declared(graph, value), extents)?;
            }
        }
        for value in graph.inputs() {
            free.add(graph, value, pins);
        }
        Ok(free)
    }

    fn refuse_strangers(&self, graph: &Graph, pins: &Pins) -> Result<(), PinError> {
        let names: Vec<&str> = graph.inputs().map(|v| graph.name(v)).collect();
        match pins.iter().find(|(name, _)| !names.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(PinError::NoSuchInput {
                name: name.to_owned(),
                inputs: names.join(", "),
            }),
        }
    }

    /// Checks a pin against the declared dimensions and notes the extents of symbols.
    fn bind(&mut self, name: &str, dims: Option<&[Dim]>, extents: &[u64]) -> Result<(), PinError> {
        let Some(dims) = dims else {
            return Ok(());
        };
        let show = || {
            let texts: Vec<String> = dims.iter().map(Dim::to_string).collect();
            texts.join(",")
        };
        if dims.len() != extents.len() {
            return Err(PinError::Rank {
                name: name.to_owned(),
                declared: show(),
                found: extents.len(),
            });
        }
        for (axis, (dim, extent)) in dims.iter().zip(extents).enumerate() {
            match dim {
                Dim::Known(n) if *n != 0 && n != extent => {
                    return Err(PinError::Fixed {
                        name: name.to_owned(),
                        declared: show(),
                        axis,
                        extent: *extent,
                    });
                }
                Dim::Symbol(symbol) => {
                    let first = *self.bound.entry(symbol.clone()).or_insert(*extent);
                    if first != *extent {
                        return Err(PinError::Symbol {
                            name: name.to_owned(),
                            axis,
                            symbol: symbol.clone(),
                            first,
                            second: *extent,
                        });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, graph: &Graph, value: ValueId, pins: &Pins) {
        let name = graph.name(value).to_owned();
        let ty = graph.value(value).and_then(|v| v.ty.as_ref());
        let dims: Option<Vec<Extent>> = match (pins.get(&name), declared(graph, value)) {
            (Some(extents), _) => Some(extents.iter().map(|n| Some(*n)).collect()),
            (None, Some(dims)) => Some(
                dims.iter()
                    .enumerate()
                    .map(|(axis, dim)| self.extent(dim, axis, dims.len()))
                    .collect(),
            ),
            (None, None) => None,
        };
        let fact = Fact {
            dtype: ty.map(|t| t.dtype),
            dims,
            data: None,
        };
        self.inputs.push((value, name, fact));
    }

    /// The extent of a dimension of the next input, or membership in a group.
    fn extent(&mut self, dim: &Dim, axis: usize, rank: usize) -> Extent {
        let symbol = match dim {
            Dim::Known(n) if *n != 0 => return Some(*n),
            Dim::Symbol(symbol) => Some(symbol.clone()),
            _ => None,
        };
        if let Some(extent) = symbol.as_ref().and_then(|s| self.bound.get(s)) {
            return Some(*extent);
        }
        let known = self
            .groups
            .iter()
            .position(|g| g.symbol.is_some() && g.symbol == symbol);
        let index = known.unwrap_or(self.groups.len());
        if known.is_none() {
            self.groups.push(Group {
                symbol,
                ..Group::default()
            });
        }
        let group = &mut self.groups[index];
        group.batch |= axis == 0 && rank >= 2;
        group.members.push((self.inputs.len(), axis));
        None
    }

    /// Assignments of an extent to every group, in the order in which they are tried; at
    /// least one.
    pub(crate) fn trials(&self, assumptions: &Assumptions) -> Vec<Vec<Extent>> {
        let known: Vec<Extent> = self
            .groups
            .iter()
            .map(|g| self.known(g, assumptions))
            .collect();
        let assign = |extent: Extent, single: Option<(usize, u64)>| -> Vec<Extent> {
            let group = |(i, g): (usize, &Group)| match single {
                _ if known[i].is_some() => known[i],
                Some((special, extent)) if special == i => Some(extent),
                _ if g.batch => assumptions.batch,
                _ => extent,
            };
            self.groups.iter().enumerate().map(group).collect()
        };
        let open: Vec<usize> = (0..self.groups.len())
            .filter(|i| !self.groups[*i].batch && known[*i].is_none())
            .collect();
        let Some(first) = assumptions.candidates.first() else {
            return vec![assign(None, None)];
        };
        if open.is_empty() {
            return vec![assign(Some(*first), None)];
        }
        let candidates = || assumptions.candidates.iter().copied().map(Some);
        let mut trials: Vec<_> = candidates().map(|c| assign(c, None)).collect();
        if (2..=MAX_SINGLE).contains(&open.len()) {
            for channels in [3, 1] {
                for group in &open {
                    trials.extend(candidates().map(|c| assign(c, Some((*group, channels)))));
                }
            }
        }
        trials
    }

    /// The first extent of a group's members that is known from elsewhere.
    fn known(&self, group: &Group, assumptions: &Assumptions) -> Extent {
        let mut members = group.members.iter();
        members.find_map(|(input, axis)| assumptions.known(&self.inputs.get(*input)?.1, *axis))
    }

    /// The inputs' facts under an assignment.
    pub(crate) fn facts(&self, extents: &[Extent]) -> Vec<(ValueId, Fact)> {
        let mut facts: Vec<_> = self
            .inputs
            .iter()
            .map(|(v, _, f)| (*v, f.clone()))
            .collect();
        for (group, extent) in self.groups.iter().zip(extents) {
            for (input, axis) in &group.members {
                if let Some(dims) = facts.get_mut(*input).and_then(|f| f.1.dims.as_mut())
                    && let Some(dim) = dims.get_mut(*axis)
                {
                    *dim = *extent;
                }
            }
        }
        facts
    }

    /// The extents of symbols under an assignment.
    pub(crate) fn symbols(&self, extents: &[Extent]) -> HashMap<String, u64> {
        let mut symbols = self.bound.clone();
        for (group, extent) in self.groups.iter().zip(extents) {
            if let (Some(symbol), Some(extent)) = (&group.symbol, extent) {
                symbols.insert(symbol.clone(), *extent);
            }
        }
        symbols
    }

    /// Dimensions that an assignment assumes, by input and axis.
    pub(crate) fn assumed(&self, extents: &[Extent], assumptions: &Assumptions) -> Vec<AssumedDim> {
        let mut found = Vec::new();
        for (group, extent) in self.groups.iter().zip(extents) {
            let Some(extent) = extent else { continue };
            let known = self.known(group, assumptions).is_some();
            for (input, axis) in &group.members {
                found.push((*input, *axis, group.symbol.clone(), *extent, known));
            }
        }
        found.sort();
        found
            .into_iter()
            .filter_map(|(input, axis, symbol, extent, known)| {
                Some(AssumedDim {
                    input: self.inputs.get(input)?.1.clone(),
                    axis,
                    symbol,
                    extent,
                    known,
                })
            })
            .collect()
    }
}

fn declared(graph: &Graph, value: ValueId) -> Option<&[Dim]> {
    graph.value(value)?.ty.as_ref()?.dims.as_deref()
}
