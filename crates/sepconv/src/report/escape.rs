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

/// `name` in at most `columns` columns of a fixed-pitch font, an ellipsis in place of its
/// middle where it is longer: what tells layers apart stands at either end. Wide characters
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
