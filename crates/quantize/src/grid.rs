//! Grids of unsigned eight-bit integers.

/// The numbers `scale * (q - zero)` for `q` from 0 to 255. Zero is one of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Distance between neighbours, positive.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero: u8,
}

/// The largest integer.
const LARGEST: f64 = 255.0;

impl Grid {
    /// The grid that is as wide as the range from `low` to `high` with zero in it; its ends are those of
    /// the range to half a step.
    pub fn over(low: f64, high: f64) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let width = high - low;
        if !(width.is_finite() && width / LARGEST > f64::from(f32::MIN_POSITIVE)) {
            return Self {
                scale: 1.0,
                zero: 0,
            };
        }
        let zero = (-low / width * LARGEST).round() as u8;
        // A runtime drops a Clip whose bounds hold all of the grid: no end is beyond by a rounding.
        let scale = (width / LARGEST) as f32;
        let beyond = f64::from(scale) * LARGEST > width;
        let scale = if beyond { scale.next_down() } else { scale };
        Self { scale, zero }
    }

    /// The smallest number of the grid.
    pub fn low(&self) -> f32 {
        -self.scale * f32::from(self.zero)
    }

    /// The largest number of the grid.
    pub fn high(&self) -> f32 {
        self.scale * f32::from(u8::MAX - self.zero)
    }

    /// The number of the grid that stands for `value`, as ONNX `QuantizeLinear` and `DequantizeLinear`
    /// make it.
    pub fn snap(&self, value: f32) -> f32 {
        self.scale * (self.integer(value) - f32::from(self.zero))
    }

    /// The integer that stands for `value`, from 0 to 255.
    pub fn integer(&self, value: f32) -> f32 {
        let steps = (value / self.scale).round_ties_even() + f32::from(self.zero);
        steps.clamp(0.0, LARGEST as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_on_every_grid_and_ends_are_covered() {
        for (low, high) in [
            (0.0, 6.0),
            (-1.0, 1.0),
            (-0.3, 7.7),
            (-5.0, -1.0),
            (2.0, 3.0),
            (0.0, 1e-3),
        ] {
            let grid = Grid::over(low, high);
            assert_eq!(grid.snap(0.0), 0.0);
            let slack = f64::from(grid.scale) * 0.51;
            assert!(
                f64::from(grid.low()) <= low.min(0.0) + slack,
                "{low} {high} {grid:?}"
            );
            assert!(
                f64::from(grid.high()) >= high.max(0.0) - slack,
                "{low} {high} {grid:?}"
            );
            assert_eq!(grid.snap(grid.high() * 2.0), grid.high().max(0.0));
        }
        assert!(Grid::over(0.0, 6.0).high() <= 6.0);
        assert_eq!(
            Grid::over(0.0, 0.0),
            Grid {
                scale: 1.0,
                zero: 0
            }
        );
        assert_eq!(Grid::over(0.0, f64::INFINITY).scale, 1.0);
    }

    #[test]
    fn snapping_twice_is_snapping_once() {
        let grid = Grid::over(-0.7, 3.1);
        for i in -100..500 {
            let once = grid.snap(i as f32 * 0.01);
            assert_eq!(grid.snap(once), once);
        }
    }
}
