//! Text that is safe in HTML and in XML.

/// `text` for element content and quoted attributes, in HTML as in XML. Characters that XML
/// does not allow become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' | '\n' => safe.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// `text` for Markdown, on one line: characters that mean something there are escaped, in tables too.
pub(super) fn escape_markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' | '~' => {
                safe.push('\\');
                safe.push(c);
            }
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// `text` as Markdown code on one line, between more backticks than it holds. A bar ends a
/// table's cell even in code, and a name can't do without: it becomes the one of full width.
pub(super) fn code(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| match c {
            '|' => '\u{ff5c}',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    let runs = clean.split(|c| c != '`').map(str::len);
    let fence = "`".repeat(1 + runs.max().unwrap_or(0));
    match clean.as_str() {
        "" => String::new(),
        text if text.starts_with('`') || text.ends_with('`') => format!("{fence} {text} {fence}"),
        text => format!("{fence}{text}{fence}"),
    }
}

/// `text` as a field of a CSV file (RFC 4180).
pub(super) fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// `name` in at most `columns` columns of a fixed-pitch font, an ellipsis in place of its
/// middle where it is longer: the distinctive parts of layers' names stand at either end. Wide characters
/// (CJK, emoji) count two columns.
pub(super) fn shorten(name: &str, columns: usize) -> String {
    let clean: String = name
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if width(&clean) <= columns {
        return clean;
    }
    let room = columns.saturating_sub(1);
    let tail = room.div_ceil(2);
    let mut end: Vec<char> = fitting(clean.chars().rev(), tail);
    end.reverse();
    let start = fitting(clean.chars(), room - tail);
    start.into_iter().chain(['…']).chain(end).collect()
}

fn fitting(chars: impl Iterator<Item = char>, columns: usize) -> Vec<char> {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += columns_of(*c);
            used <= columns
        })
        .collect()
}

fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    if c >= '\u{1100}' && !('\u{2000}'..='\u{2e7f}').contains(&c) {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_forbidden_characters_are_escaped() {
        assert_eq!(
            escape(r#"<a b="c">&'"#),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39;"
        );
        assert_eq!(
            escape("é 層 \u{0}\u{1b}\u{85}\u{ffff}\t"),
            "é 層 \u{fffd}\u{fffd}\u{fffd}\u{fffd}\t"
        );
        assert_eq!(escape("&amp;"), "&amp;amp;");
    }

    #[test]
    fn markdown_and_csv_keep_text_apart_from_markup() {
        assert_eq!(escape_markdown("a_b|<c>\n"), r"a\_b\|\<c\> ");
        assert_eq!(code("a|b"), "`a\u{ff5c}b`");
        assert_eq!(code("``a"), "``` ``a ```");
        assert_eq!(code(""), "");
        assert_eq!(csv_field("plain text"), "plain text");
        assert_eq!(csv_field("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shorten("conv1", 5), "conv1");
        assert_eq!(shorten("abcdefghij", 7), "abc…hij");
        assert_eq!(shorten("abcdefghij", 6), "ab…hij");
        assert_eq!(shorten("層層層層層層", 7), "層…層");
        assert_eq!(shorten("a\nb", 9), "a b");
        for columns in 0..30 {
            let short = shorten("/layer3/层/weird\u{1F600}name.with_a_tail", columns);
            assert!(width(&short) <= columns.max(1), "{columns}: {short}");
        }
    }
}
