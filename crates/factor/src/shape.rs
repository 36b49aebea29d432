//! The geometry of a convolution kernel, generic in the spatial axes and in the groups.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::FactorError;

/// Geometry of the weight of a (grouped) convolution: ONNX `Conv`, input `W`, of shape
/// `[out_channels, in_channels / groups, spatial...]`.
///
/// Displays as that shape, with the groups where there are several: `64x3x7x7`, `32x1x3x3/g32`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KernelShape {
    /// Output channels `Co`, over all groups.
    pub out_channels: usize,
    /// Input channels `Ci`, over all groups (ONNX's `W` holds `Ci / groups` of them).
    pub in_channels: usize,
    /// ONNX attribute `group`; divides both channel counts.
    pub groups: usize,
    /// Extent of the kernel along each spatial axis, in ONNX order: `[k]`, `[kh, kw]`, ...
    pub spatial: Vec<usize>,
}

impl KernelShape {
    /// A checked shape.
    ///
    /// # Errors
    /// [`FactorError::Shape`], see [`KernelShape::validate`].
    pub fn new(
        out_channels: usize,
        in_channels: usize,
        groups: usize,
        spatial: impl Into<Vec<usize>>,
    ) -> Result<Self, FactorError> {
        let shape = Self {
            out_channels,
            in_channels,
            groups,
            spatial: spatial.into(),
        };
        shape.validate()?;
        Ok(shape)
    }

    /// Checks the fields, which are public and may come from a file.
    ///
    /// # Errors
    /// [`FactorError::Shape`] where an extent is zero, there is no spatial axis, `groups` does
    /// not divide the channels, or the number of weights overflows.
    pub fn validate(&self) -> Result<(), FactorError> {
        if self.spatial.is_empty() {
            return Err(FactorError::Shape("no spatial axis"));
        }
        if self.spatial.contains(&0)
            || [self.out_channels, self.in_channels, self.groups].contains(&0)
        {
            return Err(FactorError::Shape("an extent is zero"));
        }
        if !self.in_channels.is_multiple_of(self.groups)
            || !self.out_channels.is_multiple_of(self.groups)
        {
            return Err(FactorError::Shape("groups do not divide the channels"));
        }
        let channels = self.out_channels.checked_mul(self.in_channels);
        self.spatial
            .iter()
            .try_fold(channels, |product, &extent| {
                product.map(|p| p.checked_mul(extent))
            })
            .flatten()
            .map(|_| ())
            .ok_or(FactorError::Shape("too many weights"))
    }

    /// Kernel positions: the product of the spatial extents (`kh * kw` in 2-D).
    pub fn taps(&self) -> usize {
        self.spatial.iter().fold(1, |p, &k| p.saturating_mul(k))
    }

    /// Input channels of one group, `Ci / groups`.
    pub fn group_in(&self) -> usize {
        self.in_channels.checked_div(self.groups).unwrap_or(0)
    }

    /// Output channels of one group, `Co / groups`.
    pub fn group_out(&self) -> usize {
        self.out_channels.checked_div(self.groups).unwrap_or(0)
    }

    /// Number of weights, `Co * Ci / groups * taps`.
    pub fn len(&self) -> usize {
        self.out_channels
            .saturating_mul(self.group_in())
            .saturating_mul(self.taps())
    }

    /// True where there is no weight at all; false for every valid shape.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True where each of several groups reads one input channel, whatever the depthwise
    /// multiplier `Co / groups` is. A convolution of a one-channel input is not called depthwise.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels
    }

    /// True where every spatial extent is 1 (a 1x1 convolution), whatever the groups.
    pub fn is_pointwise(&self) -> bool {
        self.taps() == 1
    }
}

impl fmt::Display for KernelShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.out_channels, self.group_in())?;
        for extent in &self.spatial {
            write!(f, "x{extent}")?;
        }
        if self.groups > 1 {
            write!(f, "/g{}", self.groups)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn derived_extents() {
        let shape = KernelShape::new(8, 6, 2, [3, 5]).unwrap();
        assert_eq!(
            (
                shape.taps(),
                shape.group_in(),
                shape.group_out(),
                shape.len()
            ),
            (15, 3, 4, 360)
        );
        assert_eq!(shape.to_string(), "8x3x3x5/g2");
        assert!(!shape.is_depthwise() && !shape.is_pointwise());
    }

    #[test]
    fn classifies_depthwise_and_pointwise() {
        assert!(KernelShape::new(8, 4, 4, [3]).unwrap().is_depthwise());
        assert!(!KernelShape::new(8, 1, 1, [3]).unwrap().is_depthwise());
        assert!(KernelShape::new(8, 4, 1, [1, 1, 1]).unwrap().is_pointwise());
    }

    #[test]
    fn refuses_impossible_geometry() {
        for (co, ci, groups, spatial) in [
            (0, 1, 1, vec![3]),
            (1, 1, 0, vec![3]),
            (1, 1, 1, vec![3, 0]),
            (1, 1, 1, vec![]),
            (4, 6, 4, vec![3]),
            (6, 4, 4, vec![3]),
            (usize::MAX, 2, 1, vec![3]),
            (2, 2, 1, vec![usize::MAX, 3]),
        ] {
            assert!(
                matches!(
                    KernelShape::new(co, ci, groups, spatial.clone()),
                    Err(FactorError::Shape(_))
                ),
                "{co} {ci} {groups} {spatial:?}"
            );
        }
    }
}
