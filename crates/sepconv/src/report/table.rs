//! HTML tables.

use super::escape::escape;

/// A cell.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    html: String,
    title: Option<String>,
    columns: usize,
    class: &'static str,
}

impl Cell {
    /// Text, to the left.
    pub fn text(text: &str) -> Self {
        Self {
            html: escape(text),
            title: None,
            columns: 1,
            class: "",
        }
    }

    /// A name of something in a model, a file or a command: fixed pitch, broken anywhere.
    pub fn code(text: &str) -> Self {
        Self {
            html: format!("<code>{}</code>", escape(text)),
            class: "code",
            ..Self::text("")
        }
    }

    /// A number, to the right.
    pub fn number(shown: &str) -> Self {
        Self {
            class: "number",
            ..Self::text(shown)
        }
    }

    /// A number that may be missing.
    pub fn maybe(shown: Option<String>) -> Self {
        Self::number(shown.as_deref().unwrap_or("–"))
    }

    /// With the exact value on hovering.
    pub fn titled(mut self, title: impl std::fmt::Display) -> Self {
        self.title = Some(title.to_string());
        self
    }

    /// Over several columns.
    pub fn over(mut self, columns: usize) -> Self {
        self.columns = columns;
        self
    }

    fn render(&self, tag: &str, scope: &str) -> String {
        let attribute = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!(r#" {name}="{value}""#),
        };
        let title = self.title.as_deref().map_or(String::new(), escape);
        let columns = if self.columns > 1 {
            self.columns.to_string()
        } else {
            String::new()
        };
        format!(
            "<{tag}{}{}{}{}>{}</{tag}>",
            attribute("scope", scope),
            attribute("class", self.class),
            attribute("colspan", &columns),
            attribute("title", &title),
            self.html
        )
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
    pub fn render(&self) -> String {
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
            html.extend(self.head.iter().map(|c| c.render("th", "col")));
            html.push_str("</tr></thead>");
        }
        html.push_str("<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let (tag, scope) = if i == 0 { ("th", "row") } else { ("td", "") };
                html.push_str(&cell.render(tag, scope));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_escaped_and_rows_have_headers() {
        let mut table = Table::new("t", "A & B", vec![Cell::text("Name"), Cell::number("MACs")]);
        table.row(vec![
            Cell::code("<x>"),
            Cell::number("1").titled("1 \"one\""),
        ]);
        table.row(vec![Cell::text("y").over(2)]);
        let html = table.render();
        assert!(html.contains(r#"<caption><span id="t-caption">A &amp; B</span></caption>"#));
        assert!(html.contains(r#"<th scope="row" class="code"><code>&lt;x&gt;</code></th>"#));
        assert!(html.contains(r#"<td class="number" title="1 &quot;one&quot;">1</td>"#));
        assert!(html.contains(r#"<th scope="col" class="number">MACs</th>"#));
        assert!(html.contains(r#"<th scope="row" colspan="2">y</th>"#));
    }
}
