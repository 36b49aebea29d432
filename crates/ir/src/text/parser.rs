//! Text to graphs.

use std::str::FromStr;

use super::error::{ParseError, ParseErrorKind};
use super::line::{Line, Name};
use super::values;
use crate::builder::Builder;
use crate::graph::Graph;
use crate::ids::{NodeId, ValueId};
use crate::node::{Attribute, Operator};
use crate::types::ValueType;

/// Reads the text that `Display` writes; [`crate::text`] has the grammar.
impl FromStr for Graph {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::default();
        let mut last = 1;
        for (i, line) in text.lines().enumerate() {
            last = i + 1;
            let mut line = Line::new(line, last)?;
            if !line.is_at_end() {
                parser.line(&mut line)?;
            }
        }
        let whole = |kind: ParseErrorKind| ParseError {
            line: last,
            column: 1,
            kind,
        };
        parser.finish(whole)
    }
}

/// An operator whose inputs are yet to be connected.
struct Pending {
    node: NodeId,
    inputs: Vec<Option<Name>>,
    captures: Vec<Name>,
}

#[derive(Default)]
struct Parser {
    builder: Builder,
    pending: Vec<Pending>,
    outputs: Vec<Name>,
}

/// A value that an operator or input introduces.
struct Introduced {
    name: Name,
    ty: Option<ValueType>,
}

impl Parser {
    fn line(&mut self, line: &mut Line) -> Result<(), ParseError> {
        if line.takes_keyword("input") {
            let Introduced { name, ty } = introduced(line)?;
            let made = self.builder.input(&name.text, ty);
            made.map_err(|e| name.error(e))?;
        } else if line.takes_keyword("const") {
            self.constant(line, false)?;
        } else if line.takes_keyword("default") {
            self.constant(line, true)?;
        } else if line.takes_keyword("output") {
            self.outputs.push(line.name("the name of a value")?);
        } else {
            self.operator(line)?;
        }
        match line.is_at_end() {
            true => Ok(()),
            false => Err(line.unexpected("the end of the line")),
        }
    }

    fn constant(&mut self, line: &mut Line, overridable: bool) -> Result<(), ParseError> {
        let name = line.name("the name of a value")?;
        line.expect(':', "':' and a type")?;
        let tensor = values::tensor(line)?;
        let builder = &mut self.builder;
        let made = builder.initializer_from(&name.text, tensor, overridable, None);
        made.map(drop).map_err(|e| name.error(e))
    }

    fn operator(&mut self, line: &mut Line) -> Result<(), ParseError> {
        let outputs = line.list('=', |line| optional(line, introduced))?;
        let (mut op, at) = kind(line)?;
        if line.takes('@') {
            op.overload = line.name("an overload")?.text;
        }
        if line.takes('{') {
            op.attributes = line.list('}', attribute)?;
        }
        line.expect('(', "'(' and inputs")?;
        let value = |line: &mut Line| line.name("the name of a value");
        let inputs = line.list(')', |line| optional(line, value))?;
        let mut captures = Vec::new();
        if line.takes_keyword("captures") {
            captures.push(value(line)?);
            while line.takes(',') {
                captures.push(value(line)?);
            }
        }
        if line.takes('#') {
            op.name = line.name("the name of the operator")?.text;
        }
        let names = outputs.iter();
        let names: Vec<&str> = names
            .map(|o| o.as_ref().map_or("", |o| &o.name.text))
            .collect();
        let node = self.builder.declare(op, &names).map_err(|e| at.error(e))?;
        for Introduced { name, ty } in outputs.into_iter().flatten() {
            if let Some((value, ty)) = self.builder.find(&name.text).zip(ty) {
                self.builder.set_type(value, ty);
            }
        }
        self.pending.push(Pending {
            node,
            inputs,
            captures,
        });
        Ok(())
    }

    /// Connects all; `whole` is an error that no one line is at fault for.
    fn finish(mut self, whole: impl Fn(ParseErrorKind) -> ParseError) -> Result<Graph, ParseError> {
        for pending in std::mem::take(&mut self.pending) {
            let inputs = pending.inputs.iter();
            let inputs = inputs.map(|name| name.as_ref().map(|n| self.find(n)).transpose());
            let inputs = inputs.collect::<Result<_, _>>()?;
            let captures = pending.captures.iter().map(|name| self.find(name));
            let captures = captures.collect::<Result<_, _>>()?;
            let connected = self.builder.connect(pending.node, inputs, captures);
            connected.map_err(|e| whole(e.into()))?;
        }
        for name in &self.outputs {
            let value = self.find(name)?;
            self.builder.output(value).map_err(|e| name.error(e))?;
        }
        self.builder.finish().map_err(|e| whole(e.into()))
    }

    fn find(&self, name: &Name) -> Result<ValueId, ParseError> {
        let missing = || name.error(ParseErrorKind::Missing(name.text.clone()));
        self.builder.find(&name.text).ok_or_else(missing)
    }
}

/// An item, or `_` for one that is left out.
fn optional<T>(
    line: &mut Line,
    item: impl FnOnce(&mut Line) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    match line.takes_word("_") {
        true => Ok(None),
        false => item(line).map(Some),
    }
}

fn introduced(line: &mut Line) -> Result<Introduced, ParseError> {
    let name = line.name("the name of a value")?;
    let ty = line.takes(':').then(|| values::value_type(line));
    Ok(Introduced {
        name,
        ty: ty.transpose()?,
    })
}

/// The type of an operator with its domain, and where they stand.
fn kind(line: &mut Line) -> Result<(Operator, Name), ParseError> {
    let name = line.name("the type of an operator")?;
    let (domain, op_type) = name.text.split_once("::").unwrap_or(("", &name.text));
    let op = Operator {
        domain: domain.to_owned(),
        ..Operator::new(op_type, "")
    };
    Ok((op, name))
}

fn attribute(line: &mut Line) -> Result<Attribute, ParseError> {
    let name = line.name("the name of an attribute")?.text;
    line.expect('=', "'=' and a value")?;
    Ok(Attribute {
        name,
        value: values::attribute_value(line)?,
        source: None,
    })
}
