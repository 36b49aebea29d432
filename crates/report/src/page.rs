//! Contents of a page in all formats: a heading, and sections of text, tables and drawings.

use super::rich::Rich;
use super::table::Table;

/// A page.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub title: String,
    /// Text before the first section.
    pub lead: Rich,
    /// The first section needs no heading.
    pub sections: Vec<Section>,
}

/// A part of a page.
#[derive(Debug, Clone, Default)]
pub(super) struct Section {
    pub heading: Option<&'static str>,
    pub blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Text(Rich),
    /// A command line.
    Command(String),
    Table(Table),
    /// HTML for pages alone.
    Drawing(String),
    /// A file beside the page and its subject, where pages have drawings of their own.
    Picture(&'static str, String),
}

impl Page {
    /// Appends a section.
    pub fn section(&mut self, heading: &'static str, blocks: Vec<Block>) {
        self.sections.push(Section {
            heading: Some(heading),
            blocks,
        });
    }
}
