//! Reports of the work and its measurements: `report.json` for machines, `report.csv` for
//! spreadsheets, `report.md` and `report.html` for people, and `curve.svg`.
//!
//! A [`Report`] or a [`CommandReport`] is turned into a page of sections, which every format
//! renders in its own way.

mod axes;
mod base64;
mod command;
mod contents;
mod csv;
mod curve_chart;
mod curve_data;
mod data;
mod escape;
mod files;
#[cfg(test)]
mod fixtures;
mod format;
mod html;
mod layer_chart;
mod layer_table;
mod markdown;
mod marks;
mod measures;
mod page;
mod place;
mod render;
mod report;
mod rich;
mod samples;
mod scale;
mod settings;
mod spark;
mod summary;
mod table;
mod tables;
mod tries;

pub use command::CommandReport;
pub use data::{CalibrationReport, DataReport, Kind, LatencyReport, ReportSettings, Versions};
pub use files::FILES;
pub use report::{Report, SCHEMA};
