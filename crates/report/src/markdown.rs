//! `report.md`: the page as GitHub's Markdown.

use super::escape::escape_markdown;
use super::page::{Block, Page};

/// The page as text.
pub(super) fn render(page: &Page) -> String {
    let mut parts = vec![
        format!("# {}", escape_markdown(&page.title)),
        page.lead.markdown(),
    ];
    for section in &page.sections {
        parts.extend(section.heading.map(|h| format!("## {h}")));
        parts.extend(section.blocks.iter().filter_map(block));
    }
    let parts = parts.iter().map(|p| p.trim_end());
    let parts: Vec<&str> = parts.filter(|p| !p.is_empty()).collect();
    format!("{}\n", parts.join("\n\n"))
}

fn block(block: &Block) -> Option<String> {
    match block {
        Block::Text(text) => Some(text.markdown()),
        Block::Command(command) => Some(fenced(command)),
        Block::Table(table) => Some(table.markdown()),
        Block::Drawing(_) => None,
        Block::Picture(file, shows) => Some(format!("![{}]({file})", escape_markdown(shows))),
    }
}

/// Between more backticks than it has in a row.
fn fenced(command: &str) -> String {
    let runs = command.split(|c| c != '`').map(str::len);
    let fence = "`".repeat(3.max(1 + runs.max().unwrap_or(0)));
    format!("{fence}sh\n{command}\n{fence}")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::all;
    use super::*;

    #[test]
    fn every_report_has_its_tables() {
        for (name, report) in all() {
            let text = report.markdown();
            assert!(text.starts_with("# ") && text.ends_with('\n'), "{name}");
            assert!(text.contains("## How it was made"), "{name}");
            assert!(!text.contains("<svg"), "{name}");
            // Names are code, where nothing is markup.
            let markup = text.split('`').step_by(2).any(|t| t.contains("<b>"));
            assert!(!markup, "{name}");
            assert!(!text.contains("\n\n\n"), "{name}");
            // Rows of one table have the same number of cells.
            for block in text.split("\n\n").filter(|b| b.starts_with('|')) {
                let cells = |l: &str| l.replace("\\|", "").matches('|').count();
                let counts: Vec<usize> = block.lines().map(cells).collect();
                assert!(counts.iter().all(|c| *c == counts[0]), "{name}: {block}");
            }
        }
    }

    #[test]
    fn commands_can_hold_backticks() {
        assert_eq!(fenced("a"), "```sh\na\n```");
        assert_eq!(fenced("a```b"), "````sh\na```b\n````");
    }
}
