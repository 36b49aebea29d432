//! Types, tensors and values of attributes.

use super::contents;
use super::error::{ParseError, ParseErrorKind};
use super::line::{Line, Name};
use crate::node::AttributeValue;
use crate::tensor::Tensor;
use crate::types::{DType, Dim, ValueType};

/// A type of a value.
pub(super) fn value_type(line: &mut Line) -> Result<ValueType, ParseError> {
    let dtype = dtype(line)?;
    let dims = line.takes('[').then(|| line.list(']', extent));
    Ok(ValueType {
        dtype,
        dims: dims.transpose()?,
    })
}

fn extent(line: &mut Line) -> Result<Dim, ParseError> {
    if line.takes('?') {
        return Ok(Dim::Unknown);
    }
    if let Some(symbol) = line.string() {
        let symbol = String::from_utf8(symbol);
        return symbol
            .map(Dim::Symbol)
            .map_err(|_| line.error(ParseErrorKind::Escape));
    }
    let word = line.word("an extent")?.text;
    Ok(word.parse().map_or(Dim::Symbol(word), Dim::Known))
}

fn dtype(line: &mut Line) -> Result<DType, ParseError> {
    let word = line.word("an element type")?;
    let named = DType::from_name(&word.text);
    let code = || word.text.strip_prefix("dtype")?.parse().ok();
    let found = named.or_else(|| code().map(DType::from_code));
    found.ok_or_else(|| {
        word.error(ParseErrorKind::Unexpected {
            expected: "an element type",
            found: format!("'{}'", word.text),
        })
    })
}

/// A tensor, with or without its contents.
pub(super) fn tensor(line: &mut Line) -> Result<Tensor, ParseError> {
    let sparse = line.takes_keyword("sparse");
    let dtype = dtype(line)?;
    line.expect('[', "'[' and extents")?;
    let dims = line.list(']', integer::<usize>)?;
    if sparse {
        return Ok(Tensor::sparse(dtype, dims));
    }
    if line.takes('[') {
        let elements = line.list(']', |line| line.word("a number"))?;
        return listed(dtype, dims, &elements, line);
    }
    if line.is_call() && contents::count(&dims).is_none() {
        let tensor = format!("{dtype}{dims:?}");
        return Err(line.error(ParseErrorKind::TooLarge(tensor)));
    }
    if line.takes_call("fill", '(') {
        let element = line.word("a number")?;
        line.expect(')', "')'")?;
        let tensor = contents::fill(dtype, &dims, &element.text);
        return tensor.ok_or_else(|| no_number(&element, dtype));
    }
    if line.takes_call("noise", '(') {
        let seed = line.word("a seed")?;
        line.expect(')', "')'")?;
        let tensor = seed.text.parse().ok();
        let tensor = tensor.and_then(|seed| contents::noise(dtype, &dims, seed));
        return tensor.ok_or_else(|| no_number(&seed, dtype));
    }
    Ok(Tensor::opaque(dtype, dims))
}

fn listed(
    dtype: DType,
    dims: Vec<usize>,
    elements: &[Name],
    line: &Line,
) -> Result<Tensor, ParseError> {
    for element in elements {
        if contents::listed(dtype, vec![1], &[&element.text]).is_none() {
            return Err(no_number(element, dtype));
        }
    }
    let texts: Vec<&str> = elements.iter().map(|e| e.text.as_str()).collect();
    let misfit = ParseErrorKind::Contents {
        found: elements.len(),
        tensor: format!("{dtype}{dims:?}"),
    };
    contents::listed(dtype, dims, &texts).ok_or_else(|| line.error(misfit))
}

fn no_number(number: &Name, dtype: DType) -> ParseError {
    number.error(ParseErrorKind::Number {
        number: number.text.clone(),
        kind: dtype.to_string(),
    })
}

fn integer<T: std::str::FromStr>(line: &mut Line) -> Result<T, ParseError> {
    let word = line.word("an integer")?;
    word.text.parse().map_err(|_| {
        word.error(ParseErrorKind::Number {
            number: word.text.clone(),
            kind: "extent".into(),
        })
    })
}

/// A value of an attribute.
pub(super) fn attribute_value(line: &mut Line) -> Result<AttributeValue, ParseError> {
    if line.takes('…') {
        return Ok(AttributeValue::Opaque);
    }
    if let Some(text) = line.string() {
        return Ok(AttributeValue::String(text.into()));
    }
    if line.takes('[') {
        return list(line);
    }
    if line.takes_call("floats", '[') {
        line.expect(']', "']'")?;
        return Ok(AttributeValue::Floats(Vec::new()));
    }
    if line.takes_call("strings", '[') {
        line.expect(']', "']'")?;
        return Ok(AttributeValue::Strings(Vec::new()));
    }
    if line.is_tensor() {
        return tensor(line).map(AttributeValue::Tensor);
    }
    let word = line.word("a value")?;
    scalar(&word)
}

fn scalar(word: &Name) -> Result<AttributeValue, ParseError> {
    let int = word.text.parse().ok().map(AttributeValue::Int);
    let float = || word.text.parse().ok().map(AttributeValue::Float);
    int.or_else(float).ok_or_else(|| {
        word.error(ParseErrorKind::Number {
            number: word.text.clone(),
            kind: "number".into(),
        })
    })
}

/// The rest of a list of values of one kind.
fn list(line: &mut Line) -> Result<AttributeValue, ParseError> {
    let first = line.string();
    if let Some(first) = first {
        let mut all = vec![first.into()];
        while line.takes(',') {
            let next = line.string();
            all.push(next.ok_or_else(|| line.unexpected("a string"))?.into());
        }
        line.expect(']', "',' or ']'")?;
        return Ok(AttributeValue::Strings(all));
    }
    let words = line.list(']', |line| line.word("a number"))?;
    let ints: Option<Vec<i64>> = words.iter().map(|w| w.text.parse().ok()).collect();
    if let Some(ints) = ints {
        return Ok(AttributeValue::Ints(ints));
    }
    let floats = words.iter().map(|w| {
        let odd = || ParseErrorKind::Number {
            number: w.text.clone(),
            kind: "f32".into(),
        };
        w.text.parse().map_err(|_| w.error(odd()))
    });
    Ok(AttributeValue::Floats(floats.collect::<Result<_, _>>()?))
}
