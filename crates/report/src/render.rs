//! A report in every format.

use std::path::Path;

use sepconv_model::Error;

use crate::files::{json, write};
use crate::report::Report;
use crate::{contents, csv, html, markdown};

impl Report {
    /// The report as JSON.
    pub fn json(&self) -> String {
        json(self)
    }

    /// The curve as CSV (RFC 4180), one row per point.
    pub fn csv(&self) -> String {
        csv::curve(&self.curve)
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        markdown::render(&contents::page(self))
    }

    /// The report as one self-contained page.
    pub fn html(&self) -> String {
        html::render(&contents::page(self))
    }

    /// Accuracy against MACs as an SVG drawing that stands alone, light or dark as its viewer
    /// prefers; `None` where fewer than two points have a figure.
    pub fn curve_svg(&self) -> Option<String> {
        contents::curve_svg(self)
    }

    /// Writes [`crate::FILES`] into `folder`, which is made if it is missing; `curve.svg` only where
    /// the curve has points.
    ///
    /// # Errors
    /// [`Error::Onnx`] where a file exists and `force` is not set, or can't be written.
    pub fn write(&self, folder: &Path, force: bool) -> Result<(), Error> {
        let texts = [
            Some(self.json()),
            Some(self.csv()),
            Some(self.markdown()),
            Some(self.html()),
            self.curve_svg(),
        ];
        write(folder, force, texts)
    }
}
