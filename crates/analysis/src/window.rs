//! Arithmetic of a sliding window along one axis, shared by convolutions and pools.

use serde::Serialize;

/// Rule of the padding: the ONNX attribute `auto_pad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum AutoPad {
    /// `NOTSET`: the attribute `pads` says.
    #[default]
    NotSet,
    /// `SAME_UPPER`: output = ceil(input / stride), an odd element of padding at the end.
    SameUpper,
    /// `SAME_LOWER`: as `SAME_UPPER`, the odd element at the beginning.
    SameLower,
    /// `VALID`: no padding.
    Valid,
}

impl AutoPad {
    /// From the attribute's text; `None` for a text that ONNX does not define.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "NOTSET" | "" => Self::NotSet,
            "SAME_UPPER" => Self::SameUpper,
            "SAME_LOWER" => Self::SameLower,
            "VALID" => Self::Valid,
            _ => return None,
        })
    }

    /// Shares `total` elements of padding out between the beginning and the end.
    pub(crate) fn share(self, total: u64) -> (u64, u64) {
        let half = total / 2;
        match self {
            Self::SameLower => (total - half, half),
            _ => (half, total - half),
        }
    }
}

/// A window along one axis, in elements. Kernel, stride and dilation are positive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) kernel: u64,
    pub(crate) stride: u64,
    pub(crate) dilation: u64,
    /// Padding at the beginning and the end, where `auto_pad` is `NOTSET`.
    pub(crate) pads: (u64, u64),
}

impl Window {
    /// Elements between the first and the last one read, both included.
    pub(crate) fn reach(&self) -> Option<u64> {
        self.kernel
            .checked_sub(1)?
            .checked_mul(self.dilation)?
            .checked_add(1)
    }

    /// Padding at the beginning and the end for an input extent.
    pub(crate) fn pads(&self, auto: AutoPad, input: u64) -> Option<(u64, u64)> {
        match auto {
            AutoPad::NotSet => Some(self.pads),
            AutoPad::Valid => Some((0, 0)),
            AutoPad::SameUpper | AutoPad::SameLower => {
                let last = input.div_ceil(self.stride).checked_sub(1)?;
                let needed = last.checked_mul(self.stride)?.checked_add(self.reach()?)?;
                Some(auto.share(needed.saturating_sub(input)))
            }
        }
    }

    /// Output extent for an input extent; `None` where no window fits or a sum overflows.
    ///
    /// With `ceil` (ONNX `ceil_mode`, MaxPool-10 and AveragePool-19) a last, partial window
    /// counts, unless it would start in the padding at the end.
    pub(crate) fn output(&self, auto: AutoPad, input: u64, ceil: bool) -> Option<u64> {
        let (begin, end) = self.pads(auto, input)?;
        let padded = input.checked_add(begin)?.checked_add(end)?;
        let room = padded.checked_sub(self.reach()?)?;
        if !ceil {
            return (room / self.stride).checked_add(1);
        }
        let steps = room.div_ceil(self.stride);
        let starts_inside = steps.checked_mul(self.stride)? < input.checked_add(begin)?;
        if starts_inside {
            steps.checked_add(1)
        } else {
            Some(steps)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: u64, stride: u64, dilation: u64, pads: (u64, u64)) -> Window {
        Window {
            kernel,
            stride,
            dilation,
            pads,
        }
    }

    #[test]
    fn explicit_padding() {
        let out = |w: Window, n| w.output(AutoPad::NotSet, n, false);
        assert_eq!(out(window(3, 1, 1, (1, 1)), 8), Some(8));
        assert_eq!(out(window(3, 2, 1, (1, 1)), 8), Some(4));
        assert_eq!(out(window(3, 1, 2, (0, 0)), 8), Some(4));
        assert_eq!(out(window(3, 1, 1, (0, 0)), 2), None);
        assert_eq!(out(window(u64::MAX, 1, u64::MAX, (0, 0)), 2), None);
        assert_eq!(out(window(1, 1, 1, (u64::MAX, 1)), 2), None);
    }

    #[test]
    fn same_padding_halves_and_favours_a_side() {
        let w = window(3, 2, 1, (9, 9));
        assert_eq!(w.output(AutoPad::SameUpper, 8, false), Some(4));
        assert_eq!(w.pads(AutoPad::SameUpper, 8), Some((0, 1)));
        assert_eq!(w.pads(AutoPad::SameLower, 8), Some((1, 0)));
        assert_eq!(w.output(AutoPad::Valid, 8, false), Some(3));
        // A kernel narrower than the stride needs no padding.
        let w = window(1, 3, 1, (0, 0));
        assert_eq!(w.pads(AutoPad::SameUpper, 7), Some((0, 0)));
        assert_eq!(w.output(AutoPad::SameUpper, 7, false), Some(3));
    }

    #[test]
    fn ceil_mode_counts_partial_windows_that_start_inside() {
        assert_eq!(
            window(3, 2, 1, (0, 0)).output(AutoPad::NotSet, 8, true),
            Some(4)
        );
        // The fourth window would start in the padding at the end.
        assert_eq!(
            window(2, 2, 1, (0, 1)).output(AutoPad::NotSet, 6, true),
            Some(3)
        );
        assert_eq!(
            window(1, 2, 1, (0, 1)).output(AutoPad::NotSet, 4, true),
            Some(2)
        );
    }
}
