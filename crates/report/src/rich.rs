//! Sentences that every format can show.

use super::escape::{escape, escape_markdown};

/// A run of characters.
#[derive(Debug, Clone, PartialEq)]
enum Span {
    Plain(String),
    Strong(String),
    Code(String),
    /// Shown, and the exact value on hovering.
    Titled(String, String),
}

/// Text with emphasis.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rich(Vec<Span>);

impl Rich {
    /// Text as it is.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::default().text(text)
    }

    /// Appends text as it is.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Plain(text.into()));
        self
    }

    /// Appends bold text.
    pub fn strong(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Strong(text.into()));
        self
    }

    /// Appends a name.
    pub fn code(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Code(text.into()));
        self
    }

    /// Appends a rounded figure.
    pub fn titled(mut self, text: impl Into<String>, exact: impl Into<String>) -> Self {
        self.0.push(Span::Titled(text.into(), exact.into()));
        self
    }

    /// Appends all of another.
    pub fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// As HTML.
    pub fn html(&self) -> String {
        let spans = self.0.iter().map(|span| match span {
            Span::Plain(text) => escape(text),
            Span::Strong(text) => format!("<b>{}</b>", escape(text)),
            Span::Code(text) => format!("<code>{}</code>", escape(text)),
            Span::Titled(text, exact) => {
                format!("<span title=\"{}\">{}</span>", escape(exact), escape(text))
            }
        });
        spans.collect()
    }

    /// As Markdown on one line.
    pub fn markdown(&self) -> String {
        let spans = self.0.iter().map(|span| match span {
            Span::Plain(text) | Span::Titled(text, _) => escape_markdown(text),
            Span::Strong(text) => format!("**{}**", escape_markdown(text)),
            Span::Code(text) => super::escape::code(text),
        });
        spans.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_escape() {
        let rich = Rich::plain("a <b> *c* ")
            .strong("1 | 2")
            .text(" ")
            .code("x`y")
            .then(Rich::default().titled("40.6 M", "40,551,040"));
        assert_eq!(
            rich.html(),
            "a &lt;b&gt; *c* <b>1 | 2</b> <code>x`y</code>\
             <span title=\"40,551,040\">40.6 M</span>"
        );
        assert_eq!(rich.markdown(), r"a \<b\> \*c\* **1 \| 2** ``x`y``40.6 M");
    }
}
