//! Splitting a protobuf message into its encoded records.

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// One record of a message: a field's key and value.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Field number.
    pub number: u32,
    /// Decoded value.
    pub value: Value,
    /// The record as encoded, key included.
    pub raw: Bytes,
}

/// Value of a record.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Varint(u64),
    Fixed64(Bytes),
    Fixed32(Bytes),
    Length(Bytes),
    Group,
}

impl Record {
    /// The payload of a length-delimited record.
    pub fn payload(&self) -> Result<&Bytes, String> {
        match &self.value {
            Value::Length(bytes) => Ok(bytes),
            _ => Err(format!("field {} has the wrong wire type", self.number)),
        }
    }

    /// The payload as text.
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(self.payload()?)
            .map_err(|_| format!("field {} is not UTF-8", self.number))
    }

    /// The value of a varint record.
    pub fn varint(&self) -> Result<u64, String> {
        match self.value {
            Value::Varint(v) => Ok(v),
            _ => Err(format!("field {} has the wrong wire type", self.number)),
        }
    }

    /// Appends the integers of a record of a repeated integer field, packed or not.
    pub fn varints(&self, out: &mut Vec<u64>) -> Result<(), String> {
        match &self.value {
            Value::Varint(v) => out.push(*v),
            Value::Length(bytes) => {
                let mut rest = bytes.clone();
                while rest.has_remaining() {
                    out.push(decode_varint(&mut rest).map_err(|e| e.to_string())?);
                }
            }
            _ => return Err(format!("field {} has the wrong wire type", self.number)),
        }
        Ok(())
    }
}

/// Splits `message` into its records. The slices share the buffer of `message`.
pub(crate) fn records(message: &Bytes) -> Result<Vec<Record>, String> {
    let mut rest = message.clone();
    let total = message.len();
    let mut found = Vec::new();
    while rest.has_remaining() {
        let start = total - rest.remaining();
        let at = |what: &str| format!("{what} at byte {start} of {total}");
        let (number, wire) = decode_key(&mut rest).map_err(|_| at("invalid field key"))?;
        let value = match wire {
            WireType::Varint => {
                Value::Varint(decode_varint(&mut rest).map_err(|_| at("invalid number"))?)
            }
            WireType::SixtyFourBit if rest.remaining() >= 8 => Value::Fixed64(rest.split_to(8)),
            WireType::ThirtyTwoBit if rest.remaining() >= 4 => Value::Fixed32(rest.split_to(4)),
            WireType::LengthDelimited => {
                let len = decode_varint(&mut rest).map_err(|_| at("invalid length"))?;
                let left = rest.remaining();
                let len = usize::try_from(len).ok().filter(|n| *n <= left);
                Value::Length(rest.split_to(
                    len.ok_or_else(|| at(&format!("truncated: field {number} ends past the end")))?,
                ))
            }
            WireType::StartGroup => {
                skip_field(wire, number, &mut rest, DecodeContext::default())
                    .map_err(|_| at("invalid group"))?;
                Value::Group
            }
            WireType::EndGroup => return Err(at("stray end of group")),
            _ => return Err(at(&format!("truncated: field {number}"))),
        };
        let raw = message.slice(start..total - rest.remaining());
        found.push(Record { number, value, raw });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn truncation_is_named() {
        let err = records(&Bytes::from_static(&[0x3a, 0x20, 1, 2])).unwrap_err();
        assert_eq!(err, "truncated: field 7 ends past the end at byte 0 of 4");
    }

    proptest! {
        #[test]
        fn records_cover_every_byte_or_fail(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let data = Bytes::from(data);
            if let Ok(found) = records(&data) {
                let joined: Vec<u8> = found.iter().flat_map(|r| r.raw.to_vec()).collect();
                prop_assert_eq!(joined, data.to_vec());
            }
        }
    }
}
