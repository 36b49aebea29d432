//! Words and quoted strings.

use std::fmt::Write as _;

/// True for characters of words.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "_./+-:".contains(c)
}

/// A name as it stands in the text: a word, or in quotes.
pub(super) fn name(text: &str) -> String {
    let word = !text.is_empty() && text.chars().all(is_word) && !text.ends_with(':');
    if word && text != "_" {
        return text.to_owned();
    }
    string(text.as_bytes())
}

/// A string in quotes.
pub(super) fn string(bytes: &[u8]) -> String {
    let mut out = String::from('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                c if c.is_control() => {
                    let mut buffer = [0; 4];
                    c.encode_utf8(&mut buffer)
                        .bytes()
                        .for_each(|b| escape(&mut out, b));
                }
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| escape(&mut out, *b));
    }
    out.push('"');
    out
}

fn escape(out: &mut String, byte: u8) {
    // Writing to a string does not fail.
    let _ = write!(out, "\\x{byte:02x}");
}
