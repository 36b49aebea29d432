//! The header of NumPy's `.npy` format, versions 1 to 3.

use std::io::Read;
use std::path::Path;

use sepconv_ir::DType;

use crate::dense::{count, width};
use crate::error::DataError;

/// The first bytes of every `.npy` file.
pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is read, bytes.
const MAX_HEADER: usize = 1 << 16;

/// The most axes of an array (NumPy's own limit is 64).
const MAX_RANK: usize = 32;

/// The little-endian descriptors of NumPy; it has none for bfloat16.
const DESCRIPTORS: [(DType, &str); 12] = [
    (DType::F32, "<f4"),
    (DType::F64, "<f8"),
    (DType::F16, "<f2"),
    (DType::U8, "|u1"),
    (DType::I8, "|i1"),
    (DType::U16, "<u2"),
    (DType::I16, "<i2"),
    (DType::U32, "<u4"),
    (DType::I32, "<i4"),
    (DType::U64, "<u8"),
    (DType::I64, "<i8"),
    (DType::Bool, "|b1"),
];

/// The little-endian descriptor of a dtype, such as `<f4`; none where NumPy has no such type.
pub(crate) fn descr_of(dtype: DType) -> Option<&'static str> {
    let known = DESCRIPTORS.iter().find(|(d, _)| *d == dtype);
    known.map(|(_, text)| *text)
}

/// Content of a `.npy` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub dtype: DType,
    pub big_endian: bool,
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Bytes before the data.
    pub offset: u64,
    /// Bytes of the data.
    pub data_bytes: u64,
}

/// Reads a header; `what` names the array in messages.
pub(crate) fn read_header(
    path: &Path,
    what: &str,
    from: &mut impl Read,
) -> Result<Header, DataError> {
    let bad = |found: String| DataError::malformed(path, format!("{what} in npy format"), found);
    let mut fill = |buffer: &mut [u8]| {
        from.read_exact(buffer)
            .map_err(|e| bad(format!("an unreadable header ({e})")))
    };
    let mut start = [0u8; 8];
    fill(&mut start)?;
    if &start[..6] != MAGIC {
        return Err(bad("other first bytes".to_string()));
    }
    let (length, prefix) = match start[6] {
        1 => {
            let mut n = [0u8; 2];
            fill(&mut n)?;
            (u64::from(u16::from_le_bytes(n)), 10)
        }
        2 | 3 => {
            let mut n = [0u8; 4];
            fill(&mut n)?;
            (u64::from(u32::from_le_bytes(n)), 12)
        }
        version => return Err(bad(format!("format version {version}"))),
    };
    if length > MAX_HEADER as u64 {
        return Err(bad(format!("a header of {length} bytes")));
    }
    let mut text = vec![0u8; length as usize];
    fill(&mut text)?;
    let text = String::from_utf8(text).map_err(|_| bad("a header that is not text".into()))?;
    let fields = Fields::parse(&text).ok_or_else(|| bad(format!("the header '{text}'")))?;
    let (dtype, big_endian) = descr(&fields.descr).ok_or_else(|| {
        DataError::malformed(
            path,
            format!("{what} of a real numeric or bool dtype"),
            format!("dtype '{}'", fields.descr),
        )
    })?;
    let elements = count(&fields.shape)
        .filter(|_| fields.shape.len() <= MAX_RANK)
        .ok_or_else(|| bad(format!("the shape {:?}", fields.shape)))?;
    Ok(Header {
        dtype,
        big_endian,
        fortran: fields.fortran && fields.shape.len() > 1,
        shape: fields.shape,
        offset: prefix + length,
        data_bytes: elements as u64 * width(dtype) as u64,
    })
}

/// The dtype and byte order of a descriptor such as `<f4`.
fn descr(text: &str) -> Option<(DType, bool)> {
    let order = text.chars().next()?;
    let kind = text.strip_prefix(['<', '>', '|', '='])?;
    let (dtype, _) = DESCRIPTORS.iter().find(|(_, n)| &n[1..] == kind)?;
    let big = match order {
        '>' => true,
        '=' => cfg!(target_endian = "big"),
        _ => false,
    };
    Some((*dtype, big && width(*dtype) > 1))
}

/// The three fields of the header's Python dictionary.
struct Fields {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Fields {
    fn parse(text: &str) -> Option<Self> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        let mut rest = text.trim().strip_prefix('{')?.trim_start();
        while !rest.starts_with('}') {
            let (key, after) = quoted(rest)?;
            rest = after.trim_start().strip_prefix(':')?.trim_start();
            match key {
                "descr" => {
                    let (value, after) = quoted(rest)?;
                    descr = Some(value.to_string());
                    rest = after;
                }
                "fortran_order" => {
                    let yes = rest.strip_prefix("True");
                    fortran = Some(yes.is_some());
                    rest = yes.or_else(|| rest.strip_prefix("False"))?;
                }
                "shape" => {
                    let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
                    shape = Some(tuple(inside)?);
                    rest = after;
                }
                _ => return None,
            }
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        Some(Self {
            descr: descr?,
            fortran: fortran?,
            shape: shape?,
        })
    }
}

/// A quoted string at the start of `text`, and the rest after it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// The integers of a tuple's inside: "2, 3", "2," or "". Python 2 wrote "2L".
fn tuple(inside: &str) -> Option<Vec<usize>> {
    let inside = inside.trim();
    if inside.is_empty() {
        return Some(Vec::new());
    }
    let inside = inside.strip_suffix(',').unwrap_or(inside);
    inside
        .split(',')
        .map(|n| n.trim().trim_end_matches('L').parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<Header, DataError> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        read_header(Path::new("a.npy"), "array 'a'", &mut bytes.as_slice())
    }

    #[test]
    fn reads_what_numpy_writes() {
        let got =
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n").unwrap();
        assert_eq!(
            (got.dtype, got.shape, got.data_bytes),
            (DType::F32, vec![2, 3], 24)
        );
        let got = header("{'descr': '>i2', 'fortran_order': True, 'shape': (5,)}").unwrap();
        assert_eq!(
            (got.dtype, got.big_endian, got.fortran),
            (DType::I16, true, false)
        );
        let got = header("{'shape': (), 'fortran_order': False, 'descr': '|b1'}").unwrap();
        assert_eq!((got.dtype, got.shape), (DType::Bool, vec![]));
    }

    #[test]
    fn refuses_the_rest_in_one_line() {
        for (text, part) in [
            (
                "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
                "dtype '|O'",
            ),
            (
                "{'descr': '<c8', 'fortran_order': False, 'shape': (2,)}",
                "'<c8'",
            ),
            (
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
                "header",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
                "header",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999, 99999999)}",
                "shape",
            ),
            ("{'descr': '<f4', 'fortran_order': False}", "header"),
            ("{'descr': '<f4'", "header"),
            ("{\n\n", "header"),
            ("", "header"),
        ] {
            let error = header(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.contains("a.npy") && !error.contains('\n'), "{error}");
        }
        let mut short = b"\x93NUMPY\x02\x00\xff\xff\xff\xff".as_slice();
        assert!(read_header(Path::new("a.npy"), "array", &mut short).is_err());
    }
}
