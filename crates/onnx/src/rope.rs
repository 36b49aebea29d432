//! An encoded message as a list of shared segments.

use std::io::{self, Write};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};

/// Bytes in segments that share the buffers they came from: a model file whose weights are
/// still slices of the mapped original.
#[derive(Debug, Clone, Default)]
pub struct Rope {
    segments: Vec<Bytes>,
    len: usize,
}

impl Rope {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The segments in order.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// Writes all segments.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_to(&self, w: &mut dyn Write) -> io::Result<()> {
        self.segments.iter().try_for_each(|s| w.write_all(s))
    }

    /// One contiguous buffer; copies unless there is only one segment.
    pub fn to_bytes(&self) -> Bytes {
        if let [only] = self.segments.as_slice() {
            return only.clone();
        }
        let mut out = BytesMut::with_capacity(self.len);
        for s in &self.segments {
            out.extend_from_slice(s);
        }
        out.freeze()
    }

    pub(crate) fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.len += segment.len();
            self.segments.push(segment);
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.len += other.len;
        self.segments.extend(other.segments);
    }

    /// Appends the field `number` of a variable length.
    pub(crate) fn push_varint(&mut self, number: u32, value: u64) {
        let key = u64::from(number) << 3;
        let mut field = BytesMut::new();
        encode_varint(key, &mut field);
        encode_varint(value, &mut field);
        self.push(field.freeze());
    }

    /// Appends `inner` as the length-delimited field `number`.
    pub(crate) fn push_field(&mut self, number: u32, inner: Self) {
        let key = u64::from(number) << 3 | 2;
        let len = inner.len as u64;
        let mut head = BytesMut::with_capacity(encoded_len_varint(key) + encoded_len_varint(len));
        encode_varint(key, &mut head);
        encode_varint(len, &mut head);
        self.push(head.freeze());
        self.append(inner);
    }

    /// Appends the length-delimited field `number` with a short payload.
    pub(crate) fn push_bytes(&mut self, number: u32, payload: &[u8]) {
        let mut inner = BytesMut::with_capacity(payload.len());
        inner.put_slice(payload);
        self.push_field(number, inner.freeze().into());
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push(bytes);
        rope
    }
}
