//! What samples show: boxes of objects, or a class for every position.

use crate::geometry::Geometry;

/// The label of positions that do not count.
pub const IGNORED: i64 = 255;

/// A class of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its number in the annotations.
    pub id: i64,
    /// Its name there.
    pub name: String,
    /// The class of the model, where a file of classes says it.
    pub class: Option<usize>,
}

/// An object in a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Left, top, right and bottom, in pixels of the model's input.
    pub corners: [f64; 4],
    /// Position of its category among [`crate::Dataset::categories`].
    pub category: usize,
    /// The box is around a crowd, in which any number of detections is right.
    pub crowd: bool,
}

/// A class for every position of a model's input, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// The label of every position, as it is stored: [`IGNORED`] and what is below 0 is no class.
    pub labels: Vec<i64>,
}

impl Mask {
    /// Of the label of every position of a picture.
    pub(crate) fn of(labels: &[i64], geometry: &Geometry) -> Self {
        let [height, width] = geometry.to;
        Self {
            height,
            width,
            labels: geometry.nearest(labels),
        }
    }
}

/// What some samples show, one entry per sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Annotations {
    /// Objects in boxes.
    Objects(Vec<Vec<Object>>),
    /// Masks.
    Masks(Vec<Mask>),
}
