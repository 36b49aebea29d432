//! Storage of [`Statistics`]: little-endian, the upper half of each covariance only.
//!
//! `SCST`, u32 version, then u64: positions, `Co`, `Ci`, groups, number of axes, each extent;
//! then f64: `mean_y` `[Co]`, `variance_y` `[Co]`, and per group `mean_x` `[d]`, the upper
//! triangle of `C` row by row, `B` `[Co/g, d]`. Version 2 is that of statistics that keep patches:
//! in place of `C` there are those patches in f32, `[positions, d]`.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Covariance, GroupStatistics, Statistics};
use crate::error::FactorError;
use crate::linalg::{dense, gram};
use crate::shape::KernelShape;

const MAGIC: &[u8; 4] = b"SCST";
/// With a covariance, and with patches in its place.
const VERSIONS: [u32; 2] = [1, 2];
const FOREIGN: FactorError = FactorError::Statistics("not stored by this version of sepconv");

impl Statistics {
    /// The stored form: about 4 `d^2` bytes a group, or 4 `n d` where patches are kept. See the head of `statistics/codec.rs`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let shape = &self.shape;
        let mut bytes = MAGIC.to_vec();
        let version = VERSIONS[usize::from(self.keeps_patches())];
        bytes.extend(version.to_le_bytes());
        let axes = shape.spatial.len();
        let extents = [shape.out_channels, shape.in_channels, shape.groups, axes];
        let extents = extents.iter().chain(&shape.spatial);
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(extents.flat_map(|&e| (e as u64).to_le_bytes()));
        let put = |bytes: &mut Vec<u8>, values: &[f64]| {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        };
        put(&mut bytes, &self.mean_y);
        put(&mut bytes, &self.variance_y);
        for group in &self.groups {
            let d = group.mean_x.len();
            put(&mut bytes, &group.mean_x);
            match &group.covariance {
                Covariance::Dense(c) => {
                    (0..d).for_each(|i| put(&mut bytes, &c[i * d + i..(i + 1) * d]));
                }
                Covariance::Patches(parts) => {
                    let values = parts.iter().flat_map(|p| p.iter());
                    bytes.extend(values.flat_map(|v| v.to_le_bytes()));
                }
            }
            put(&mut bytes, &group.cross);
        }
        bytes
    }

    /// Reads the bytes of [`Statistics::to_bytes`].
    ///
    /// # Errors
    /// [`FactorError::Statistics`] for anything else, [`FactorError::Shape`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FactorError> {
        let mut reader = Reader(bytes);
        if reader.take::<4>()? != *MAGIC {
            return Err(FOREIGN);
        }
        let version = u32::from_le_bytes(reader.take()?);
        if !VERSIONS.contains(&version) {
            return Err(FOREIGN);
        }
        let keeps = version == VERSIONS[1];
        let count = u64::from_le_bytes(reader.take()?);
        let (co, ci, groups) = (reader.extent()?, reader.extent()?, reader.extent()?);
        let axes = reader.extent()?;
        if axes > reader.0.len() / 8 {
            return Err(FOREIGN);
        }
        let spatial = (0..axes)
            .map(|_| reader.extent())
            .collect::<Result<Vec<_>, _>>()?;
        let shape = KernelShape::new(co, ci, groups, spatial)?;
        let (m, d) = (shape.group_out(), shape.group_in() * shape.taps());
        // No more than is there may be allocated.
        let (long, outputs) = (d as u128, m as u128);
        let matrix = match keeps {
            false => (long * (long + 1) / 2).checked_mul(8),
            true => (u128::from(count)).checked_mul(4 * long),
        };
        let bytes = matrix
            .and_then(|matrix| matrix.checked_add((long + outputs * long) * 8))
            .and_then(|group| group.checked_mul(groups as u128));
        if bytes.map(|b| b + 16 * co as u128) != Some(reader.0.len() as u128) {
            return Err(FOREIGN);
        }
        let (mean_y, variance_y) = (reader.values(co)?, reader.values(co)?);
        let group = |reader: &mut Reader| -> Result<GroupStatistics, FactorError> {
            let mean_x = reader.values(d)?;
            let covariance = if keeps {
                let values =
                    (0..count as usize * d).map(|_| Ok(f32::from_le_bytes(reader.take()?)));
                Covariance::Patches(vec![Arc::new(values.collect::<Result<_, FactorError>>()?)])
            } else {
                let mut covariance = dense::zeros(d, d)?;
                for i in 0..d {
                    covariance[i * d + i..(i + 1) * d].copy_from_slice(&reader.values(d - i)?);
                }
                gram::mirror(&mut covariance, d);
                Covariance::Dense(Arc::new(covariance))
            };
            let cross = reader.values(m * d)?;
            Ok(GroupStatistics {
                mean_x,
                covariance,
                cross,
            })
        };
        let groups = (0..groups)
            .map(|_| group(&mut reader))
            .collect::<Result<_, _>>()?;
        let statistics = Self {
            shape,
            count,
            mean_y,
            variance_y,
            groups,
        };
        if statistics.is_finite() {
            Ok(statistics)
        } else {
            Err(FOREIGN)
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FactorError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(FOREIGN)?;
        self.0 = rest;
        Ok(*head)
    }

    fn extent(&mut self) -> Result<usize, FactorError> {
        usize::try_from(u64::from_le_bytes(self.take()?)).map_err(|_| FOREIGN)
    }

    fn values(&mut self, count: usize) -> Result<Vec<f64>, FactorError> {
        (0..count)
            .map(|_| Ok(f64::from_le_bytes(self.take()?)))
            .collect()
    }
}

impl Serialize for Statistics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Statistics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserializer.deserialize_byte_buf(BytesVisitor)?;
        Self::from_bytes(&bytes).map_err(de::Error::custom)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the bytes of convolution statistics")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}
