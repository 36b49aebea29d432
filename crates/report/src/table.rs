//! Tables in every format.

use super::escape::{code, csv_field, escape, escape_markdown};

/// Look of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Text,
    Code,
    Number,
}

/// A cell.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    title: Option<String>,
    exact: Option<String>,
    drawing: Option<String>,
    columns: usize,
    look: Look,
}

impl Cell {
    /// Text, to the left.
    pub fn text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            title: None,
            exact: None,
            drawing: None,
            columns: 1,
            look: Look::Text,
        }
    }

    /// A name of something in a model, a file or a command: fixed pitch, broken anywhere.
    pub fn code(text: &str) -> Self {
        Self {
            look: Look::Code,
            ..Self::text(text)
        }
    }

    /// A number, to the right.
    pub fn number(shown: &str) -> Self {
        Self {
            look: Look::Number,
            ..Self::text(shown)
        }
    }

    /// A number that may be missing: an empty field in CSV.
    pub fn maybe(shown: Option<String>) -> Self {
        match shown {
            Some(shown) => Self::number(&shown),
            None => Self {
                exact: Some(String::new()),
                ..Self::number("–")
            },
        }
    }

    /// With something to say on hovering.
    pub fn titled(mut self, title: impl std::fmt::Display) -> Self {
        self.title = Some(title.to_string());
        self
    }

    /// With the exact value: on hovering, and in CSV.
    pub fn exactly(mut self, value: impl std::fmt::Display) -> Self {
        self.exact = Some(value.to_string());
        self
    }

    /// Drawn in HTML rather than written.
    pub fn drawn(mut self, svg: String) -> Self {
        self.drawing = Some(svg);
        self
    }

    /// Over several columns.
    pub fn over(mut self, columns: usize) -> Self {
        self.columns = columns;
        self
    }

    fn html(&self, tag: &str, scope: &str) -> String {
        let attribute = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!(r#" {name}="{value}""#),
        };
        let title = self.title.as_ref().or(self.exact.as_ref());
        let title = title.map_or(String::new(), |t| escape(t));
        let columns = if self.columns > 1 {
            self.columns.to_string()
        } else {
            String::new()
        };
        let class = match self.look {
            Look::Text => "",
            Look::Code => "code",
            Look::Number => "number",
        };
        let content = match (&self.drawing, self.look) {
            (Some(svg), _) => svg.clone(),
            (None, Look::Code) => format!("<code>{}</code>", escape(&self.text)),
            (None, _) => escape(&self.text),
        };
        format!(
            "<{tag}{}{}{}{}>{content}</{tag}>",
            attribute("scope", scope),
            attribute("class", class),
            attribute("colspan", &columns),
            attribute("title", &title)
        )
    }

    /// In Markdown a cell has one column: those that it covers follow, empty.
    fn markdown(&self) -> String {
        let text = match self.look {
            Look::Code => code(&self.text),
            _ => escape_markdown(&self.text),
        };
        format!("{text}{}", " |".repeat(self.columns - 1))
    }

    fn csv(&self) -> String {
        let text = csv_field(self.exact.as_ref().unwrap_or(&self.text));
        format!("{text}{}", ",".repeat(self.columns - 1))
    }
}

/// A table whose first column names its rows.
#[derive(Debug, Clone)]
pub(super) struct Table {
    id: &'static str,
    caption: String,
    head: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table. `id` is unique in the page; no head where the rows name themselves.
    pub fn new(id: &'static str, caption: &str, head: Vec<Cell>) -> Self {
        Self {
            id,
            caption: caption.to_owned(),
            head,
            rows: Vec::new(),
        }
    }

    /// Appends a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// In a region that scrolls sideways where the page is narrow.
    pub fn html(&self) -> String {
        let id = self.id;
        let mut html = format!(
            concat!(
                r#"<div class="scroll" role="region" aria-labelledby="{}-caption" tabindex="0">"#,
                r#"<table class="{}"><caption><span id="{}-caption">{}</span></caption>"#,
            ),
            id,
            id,
            id,
            escape(&self.caption)
        );
        if !self.head.is_empty() {
            html.push_str("<thead><tr>");
            html.extend(self.head.iter().map(|c| c.html("th", "col")));
            html.push_str("</tr></thead>");
        }
        html.push_str("<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let (tag, scope) = if i == 0 { ("th", "row") } else { ("td", "") };
                html.push_str(&cell.html(tag, scope));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }

    /// As a table of GitHub's Markdown, under its caption.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", escape_markdown(&self.caption));
        let columns = |row: &[Cell]| row.iter().map(|c| c.columns).sum::<usize>();
        let widest = self.rows.iter().map(|r| columns(r)).max().unwrap_or(0);
        let mut line = |cells: Vec<String>| {
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        };
        let rule = |c: &Cell| match c.look {
            Look::Number => "---:".to_owned(),
            _ => "---".to_owned(),
        };
        if self.head.is_empty() {
            line(vec![String::new(); widest]);
            line(vec!["---".to_owned(); widest]);
        } else {
            line(self.head.iter().map(Cell::markdown).collect());
            line(self.head.iter().map(rule).collect());
        }
        for row in &self.rows {
            line(row.iter().map(Cell::markdown).collect());
        }
        text
    }

    /// As CSV (RFC 4180) with a header line.
    pub fn csv(&self) -> String {
        let mut text = String::new();
        for row in std::iter::once(&self.head).chain(&self.rows) {
            let cells: Vec<String> = row.iter().map(Cell::csv).collect();
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t", "A & B", vec![Cell::text("Name"), Cell::number("MACs")]);
        table.row(vec![
            Cell::code("<x>|,"),
            Cell::number("1").exactly("1 \"one\""),
        ]);
        table.row(vec![Cell::text("y").over(2)]);
        table.row(vec![
            Cell::text("z"),
            Cell::maybe(None).drawn("<svg></svg>".into()),
        ]);
        table
    }

    #[test]
    fn cells_are_escaped_and_rows_have_headers() {
        let html = table().html();
        assert!(html.contains(r#"<caption><span id="t-caption">A &amp; B</span></caption>"#));
        assert!(html.contains(r#"<th scope="row" class="code"><code>&lt;x&gt;|,</code></th>"#));
        assert!(html.contains(r#"<td class="number" title="1 &quot;one&quot;">1</td>"#));
        assert!(html.contains(r#"<th scope="col" class="number">MACs</th>"#));
        assert!(html.contains(r#"<th scope="row" colspan="2">y</th>"#));
        assert!(html.contains("<svg></svg></td>"));
    }

    #[test]
    fn markdown_and_csv_have_the_same_columns() {
        let markdown = table().markdown();
        let bars = |line: &&str| line.starts_with('|');
        let counts: Vec<usize> = markdown
            .lines()
            .filter(bars)
            .map(|l| l.replace("\\|", "").matches('|').count())
            .collect();
        assert_eq!(counts, [3; 5], "{markdown}");
        assert_eq!(
            table().csv(),
            "Name,MACs\r\n\"<x>|,\",\"1 \"\"one\"\"\"\r\ny,\r\nz,\r\n"
        );
    }
}
