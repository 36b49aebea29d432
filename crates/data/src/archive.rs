//! `.npz` and `.npy` files matched to the model's inputs.

use std::path::Path;

use sepconv_ir::DType;

use crate::annotated::Annotated;
use crate::error::DataError;
use crate::feed::{Feed, samples_of};
use crate::labels;
use crate::npz::{self, Npz};
use crate::request::{InputSpec, Labels, Request};
use crate::table::Table;

/// The array that holds class labels.
const LABELS: &str = "labels";
/// The array that holds the wanted output of image-to-image models.
const TARGET: &str = "target";
/// The array that holds pictures, whatever the input's name.
const IMAGES: &str = "images";

/// The arrays of one file.
pub(crate) struct Found {
    pub feeds: Vec<Feed>,
    pub labels: Option<Vec<i64>>,
    pub masks: Option<Annotated>,
    pub target: Option<Table>,
}

/// Opens a `.npy` file: the array of the one input.
pub(crate) fn open_npy(path: &Path, request: &Request) -> Result<Found, DataError> {
    let [spec] = &request.inputs[..] else {
        return Err(DataError::mismatch(
            path,
            "a single npy array",
            "a model of one input (an npz archive serves more)",
            format!("{} inputs", request.inputs.len()),
        ));
    };
    let table = npz::open_npy(path)?;
    Ok(Found {
        feeds: vec![Feed::of_array(path, spec, &request.preprocess, table)?],
        labels: None,
        masks: None,
        target: None,
    })
}

/// Opens a `.npz` file.
pub(crate) fn open_npz(path: &Path, request: &Request) -> Result<Found, DataError> {
    let mut archive = Npz::open(path)?;
    let names = archive.names();
    let mut feeds: Vec<Feed> = Vec::new();
    for spec in &request.inputs {
        let name = choose(&names, spec, request.inputs.len() == 1).ok_or_else(|| {
            let also = if request.inputs.len() == 1 {
                format!(" or '{IMAGES}'")
            } else {
                String::new()
            };
            DataError::malformed(
                path,
                format!("an array '{}'{also}", spec.name),
                listing(&names),
            )
        })?;
        feeds.push(Feed::of_array(
            path,
            spec,
            &request.preprocess,
            archive.table(name)?,
        )?);
    }
    let rows = samples_of(&feeds).map_err(|(odd, [rows, own])| {
        let what = feeds[odd].what();
        let expected = format!("{rows} samples, as for the first input");
        DataError::mismatch(path, what, expected, own)
    })?;
    let has = |name: &str| {
        request.labels != Labels::Ignore
            && names.iter().any(|n| n == name)
            && request.inputs.iter().all(|spec| spec.name != name)
    };
    let (mut labels, mut masks) = (None, None);
    if has(LABELS) && request.annotations.is_none() {
        let table = archive.table(LABELS)?;
        match table.shape.len() {
            0..=2 => labels = Some(labels::from_table(path, &table, rows)?),
            _ => masks = Some(Annotated::of_table(path, table, &feeds)?),
        }
    }
    let target = if has(TARGET) {
        Some(checked_target(path, archive.table(TARGET)?, rows)?)
    } else {
        None
    };
    Ok(Found {
        feeds,
        labels,
        masks,
        target,
    })
}

/// The array for an input: its own name, else (for the only input) `images` or the only candidate.
fn choose<'a>(names: &'a [String], spec: &InputSpec, only: bool) -> Option<&'a str> {
    let named = |wanted: &str| names.iter().find(|n| *n == wanted);
    let found = named(&spec.name).or_else(|| named(IMAGES).filter(|_| only));
    let mut others = names.iter().filter(|n| *n != LABELS && *n != TARGET);
    let lone = match (only, others.next(), others.next()) {
        (true, one, None) => one,
        _ => None,
    };
    found.or(lone).map(String::as_str)
}

fn listing(names: &[String]) -> String {
    match names {
        [] => "no arrays".to_string(),
        _ => format!("'{}'", names.join("', '")),
    }
}

fn checked_target(path: &Path, table: Table, rows: usize) -> Result<Table, DataError> {
    let fits = table.dtype.is_float() || table.dtype == DType::U8;
    if !fits || table.rows() != rows {
        return Err(DataError::mismatch(
            path,
            &table.what,
            format!("floats or u8 with a first axis of {rows}"),
            format!("{} {:?}", table.dtype, table.shape),
        ));
    }
    Ok(table)
}
