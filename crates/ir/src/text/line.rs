//! One line, token by token.

use super::error::{ParseError, ParseErrorKind};
use super::lexer::{Spanned, Token, tokens};

/// A name and the column that it stands at.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub text: String,
    pub line: usize,
    pub column: usize,
}

impl Name {
    pub fn error(&self, kind: impl Into<ParseErrorKind>) -> ParseError {
        ParseError {
            line: self.line,
            column: self.column,
            kind: kind.into(),
        }
    }
}

/// A line and how far it is read.
pub(super) struct Line {
    tokens: Vec<Spanned>,
    at: usize,
    number: usize,
    /// The column after the last character.
    end: usize,
}

impl Line {
    pub fn new(text: &str, number: usize) -> Result<Self, ParseError> {
        Ok(Self {
            tokens: tokens(text, number)?,
            at: 0,
            number,
            end: text.chars().count() + 1,
        })
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.tokens.len()
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|t| &t.token)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |t| t.column)
    }

    /// An error at the next token.
    pub fn error(&self, kind: ParseErrorKind) -> ParseError {
        ParseError {
            line: self.number,
            column: self.column(),
            kind,
        }
    }

    pub fn unexpected(&self, expected: &'static str) -> ParseError {
        let found = match self.peek(0) {
            Some(Token::Word(word)) => format!("'{word}'"),
            Some(Token::Text(text)) => format!("\"{}\"", String::from_utf8_lossy(text)),
            Some(Token::Sign(sign)) => format!("'{sign}'"),
            None => "the end of the line".to_owned(),
        };
        self.error(ParseErrorKind::Unexpected { expected, found })
    }

    /// Reads a keyword, which is a word before a name. True where it stands next.
    pub fn takes_keyword(&mut self, keyword: &str) -> bool {
        let is_word = self.peek(0) == Some(&Token::Word(keyword.to_owned()));
        let found = is_word && matches!(self.peek(1), Some(Token::Word(_) | Token::Text(_)));
        self.at += usize::from(found);
        found
    }

    /// Reads a sign. True where it stands next.
    pub fn takes(&mut self, sign: char) -> bool {
        let found = self.peek(0) == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    /// Reads a word. True where it stands next.
    pub fn takes_word(&mut self, word: &str) -> bool {
        let found = self.peek(0) == Some(&Token::Word(word.to_owned()));
        self.at += usize::from(found);
        found
    }

    /// True where a tensor stands next: two words, or a word before a bracket.
    pub fn is_tensor(&self) -> bool {
        let after = matches!(self.peek(1), Some(Token::Word(_) | Token::Sign('[')));
        matches!(self.peek(0), Some(Token::Word(_))) && after
    }

    /// True where a word before an opening parenthesis stands next.
    pub fn is_call(&self) -> bool {
        let word = matches!(self.peek(0), Some(Token::Word(_)));
        word && self.peek(1) == Some(&Token::Sign('('))
    }

    /// Reads a word and the sign after it. True where both stand next.
    pub fn takes_call(&mut self, word: &str, sign: char) -> bool {
        let is_word = self.peek(0) == Some(&Token::Word(word.to_owned()));
        let found = is_word && self.peek(1) == Some(&Token::Sign(sign));
        self.at += if found { 2 } else { 0 };
        found
    }

    pub fn expect(&mut self, sign: char, expected: &'static str) -> Result<(), ParseError> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(self.unexpected(expected)),
        }
    }

    /// The next word.
    pub fn word(&mut self, expected: &'static str) -> Result<Name, ParseError> {
        match self.peek(0) {
            Some(Token::Word(word)) => Ok(self.named(word.clone())),
            _ => Err(self.unexpected(expected)),
        }
    }

    /// The next string in quotes, where there is one.
    pub fn string(&mut self) -> Option<Vec<u8>> {
        let Some(Token::Text(text)) = self.peek(0) else {
            return None;
        };
        let text = text.clone();
        self.at += 1;
        Some(text)
    }

    /// The next word or string in quotes.
    pub fn name(&mut self, expected: &'static str) -> Result<Name, ParseError> {
        let Some(Token::Text(text)) = self.peek(0) else {
            return self.word(expected);
        };
        let text = String::from_utf8(text.clone());
        match text {
            Ok(text) => Ok(self.named(text)),
            Err(_) => Err(self.error(ParseErrorKind::Escape)),
        }
    }

    fn named(&mut self, text: String) -> Name {
        let column = self.column();
        self.at += 1;
        Name {
            text,
            line: self.number,
            column,
        }
    }

    /// Items that commas separate, up to the closing sign.
    pub fn list<T>(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut found = Vec::new();
        if self.takes(close) {
            return Ok(found);
        }
        loop {
            found.push(item(self)?);
            if self.takes(close) {
                return Ok(found);
            }
            self.expect(',', "',' or the end of the list")?;
        }
    }
}
