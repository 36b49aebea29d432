//! The annotations of a whole data set.

use std::path::Path;

use rayon::prelude::*;

use crate::annotations::{Annotations, Category, Mask, Object};
use crate::coco::Coco;
use crate::convert;
use crate::error::DataError;
use crate::feed::{Feed, samples_of};
use crate::folder::Folder;
use crate::geometry::Geometry;
use crate::mask_files::MaskFiles;
use crate::names::Names;
use crate::table::Table;

/// Boxes or masks of all samples.
#[derive(Debug)]
pub(crate) enum Annotated {
    Objects {
        categories: Vec<Category>,
        /// By row of the data set; `None` of those that are not selected.
        objects: Vec<Option<Vec<Object>>>,
    },
    /// An array of masks beside the arrays of pictures, and the way of their positions.
    Array(Table, Geometry),
    Files(MaskFiles),
}

impl Annotated {
    /// Objects in the samples of arrays: entry i of `images` is sample i.
    pub fn of_arrays(path: &Path, coco: Coco, feeds: &[Feed]) -> Result<Self, DataError> {
        let geometry = geometry(feeds)?.ok_or_else(|| {
            DataError::mismatch(path, "boxes", "a model that takes pictures", "another one")
        })?;
        let rows = samples_of(feeds).unwrap_or(0);
        if coco.images.len() != rows {
            return Err(DataError::mismatch(
                path,
                "images",
                format!("{rows}, one per sample of the arrays, in their order"),
                coco.images.len(),
            ));
        }
        let objects = (0..rows).map(|image| {
            coco.check_extents(path, image, geometry.from)?;
            Ok(Some(coco.objects(image, &geometry)))
        });
        Ok(Self::Objects {
            objects: objects.collect::<Result<_, DataError>>()?,
            categories: coco.categories,
        })
    }

    /// Objects in the pictures `rows` of a folder, by the names of their files.
    pub fn of_pictures(
        path: &Path,
        coco: Coco,
        folder: &Folder,
        rows: &[usize],
    ) -> Result<Self, DataError> {
        let names = Names::of(coco.images.iter().map(|image| image.file_name.as_str()));
        let found = rows.par_iter().map(|&row| {
            let name = folder.relative(row);
            let image = names.find(&name).ok_or_else(|| {
                let expected = format!("one with the file_name '{name}'");
                DataError::mismatch(path, "images", expected, "none, or several")
            })?;
            let geometry = folder.geometry(row)?;
            coco.check_extents(path, image, geometry.from)?;
            Ok((row, coco.objects(image, &geometry)))
        });
        let mut objects = vec![None; folder.rows()];
        for found in found.collect::<Vec<Result<_, DataError>>>() {
            let (row, found) = found?;
            objects[row] = Some(found);
        }
        Ok(Self::Objects {
            objects,
            categories: coco.categories,
        })
    }

    /// Masks of the samples of arrays, from integers `[n, h, w]`, `[n, 1, h, w]` or `[n, h, w, 1]`.
    pub fn of_table(path: &Path, table: Table, feeds: &[Feed]) -> Result<Self, DataError> {
        let wrong = |expected: String, found: String| {
            Err(DataError::mismatch(path, &table.what, expected, found))
        };
        let rows = samples_of(feeds).unwrap_or(0);
        let shape = format!("{:?}", table.shape);
        let Some(geometry) = geometry(feeds)? else {
            return wrong(format!("shape [{rows}], one label per sample"), shape);
        };
        if !table.dtype.is_int() {
            return wrong("integer labels".into(), table.dtype.to_string());
        }
        let [h, w] = geometry.from;
        let shapes = [&[rows, h, w][..], &[rows, 1, h, w], &[rows, h, w, 1]];
        if !shapes.contains(&table.shape.as_slice()) {
            let one = format!("[{rows}], one label per sample");
            return wrong(
                format!("shape {one}, or [{rows}, {h}, {w}], one per pixel"),
                shape,
            );
        }
        Ok(Self::Array(table, geometry))
    }

    /// The categories of objects by rising number.
    pub fn categories(&self) -> &[Category] {
        match self {
            Self::Objects { categories, .. } => categories,
            Self::Array(..) | Self::Files(_) => &[],
        }
    }

    /// What the samples `rows` show.
    pub fn read(&self, rows: &[usize]) -> Result<Annotations, DataError> {
        Ok(match self {
            Self::Objects { objects, .. } => {
                let all = rows.iter().map(|row| objects[*row].clone());
                Annotations::Objects(all.map(Option::unwrap_or_default).collect())
            }
            Self::Array(table, geometry) => {
                let labels = convert::to_i64(&table.read(rows)?);
                let odd = || DataError::array("labels within i64", "larger ones");
                let labels = table.named(labels.ok_or_else(odd))?;
                let masks = labels.chunks_exact(geometry.from.iter().product::<usize>().max(1));
                Annotations::Masks(masks.map(|mask| Mask::of(mask, geometry)).collect())
            }
            Self::Files(files) => Annotations::Masks(files.read(rows)?),
        })
    }
}

/// The way of the pixels of the first input that takes pictures; `None` where none does.
fn geometry(feeds: &[Feed]) -> Result<Option<Geometry>, DataError> {
    feeds
        .iter()
        .find_map(|feed| feed.geometry().transpose())
        .transpose()
}
