//! Messages of runtimes, fit for one line.

/// `text` on one line, cut where it is long.
pub(crate) fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match joined.char_indices().nth(400) {
        Some((cut, _)) => format!("{}…", &joined[..cut]),
        None => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_cut() {
        assert_eq!(one_line(" a\n  b\tc "), "a b c");
        assert_eq!(one_line(&"é".repeat(500)).chars().count(), 401);
    }
}
