//! Tokens of a line.

use super::error::{ParseError, ParseErrorKind};
use super::quote::is_word;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, number or keyword.
    Word(String),
    /// A string in quotes, its escapes resolved.
    Text(Vec<u8>),
    /// One of `, = { } ( ) [ ] # @ ? : …`.
    Sign(char),
}

/// A token and the column that it begins at, from 1.
#[derive(Debug, Clone)]
pub(super) struct Spanned {
    pub token: Token,
    pub column: usize,
}

/// The tokens of a line, a comment left out.
pub(super) fn tokens(line: &str, number: usize) -> Result<Vec<Spanned>, ParseError> {
    let chars: Vec<char> = line.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        let column = at + 1;
        let token = match c {
            ';' => break,
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '"' => quoted(&chars, &mut at).map(Token::Text),
            c if is_word(c) && c != ':' => Ok(Token::Word(word(&chars, &mut at))),
            // Colons alone are signs: a word of them would end where it begins.
            ':' if after_colons(&chars[at..]).is_some_and(is_word) => {
                Ok(Token::Word(word(&chars, &mut at)))
            }
            ',' | '=' | '{' | '}' | '(' | ')' | '[' | ']' | '#' | '@' | '?' | ':' | '…' => {
                at += 1;
                Ok(Token::Sign(c))
            }
            c => Err(ParseErrorKind::Character(c)),
        };
        let token = token.map_err(|kind| ParseError {
            line: number,
            column,
            kind,
        })?;
        found.push(Spanned { token, column });
    }
    Ok(found)
}

/// The first character that is no colon.
fn after_colons(chars: &[char]) -> Option<char> {
    chars.iter().copied().find(|c| *c != ':')
}

/// The word at `at`: a colon belongs to it where a character of a word follows.
fn word(chars: &[char], at: &mut usize) -> String {
    let start = *at;
    let more = |i: usize| chars.get(i).copied().is_some_and(is_word);
    while more(*at) {
        *at += 1;
    }
    while *at > start && chars[*at - 1] == ':' {
        *at -= 1;
    }
    chars[start..*at].iter().collect()
}

/// The string whose opening quote is at `at`.
fn quoted(chars: &[char], at: &mut usize) -> Result<Vec<u8>, ParseErrorKind> {
    let mut out = Vec::new();
    let mut rest = chars[*at + 1..].iter().copied();
    let push = |out: &mut Vec<u8>, c: char| {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    };
    loop {
        match rest.next().ok_or(ParseErrorKind::Unterminated)? {
            '"' => break,
            '\\' => match rest.next().ok_or(ParseErrorKind::Unterminated)? {
                c @ ('"' | '\\') => push(&mut out, c),
                'n' => out.push(b'\n'),
                'x' => {
                    let mut digit = || rest.next()?.to_digit(16);
                    let byte = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                    out.push(byte.ok_or(ParseErrorKind::Escape)? as u8);
                }
                _ => return Err(ParseErrorKind::Escape),
            },
            c => push(&mut out, c),
        }
    }
    *at = chars.len() - rest.count();
    Ok(out)
}
