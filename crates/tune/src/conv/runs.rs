//! The multiplications of a convolution's window, as runs along the last spatial axis.

use std::ops::Range;

/// A window over a map, one number per spatial axis: ONNX `Conv`'s attributes, `auto_pad`
/// resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    /// Zeros before the map.
    pub begins: Vec<usize>,
    /// Zeros behind the map.
    pub ends: Vec<usize>,
}

/// `count` output elements from `output` on, each of which reads, for tap `tap`, every
/// `stride`-th input element from `input` on. Elements of the padding are in no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub tap: usize,
    pub output: usize,
    pub input: usize,
    pub count: usize,
}

/// All runs of a window over a map of given extents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runs {
    /// In the order of taps, then of rows.
    pub runs: Vec<Run>,
    /// Input elements between the neighbours of a run.
    pub stride: usize,
    /// Taps of the window.
    pub taps: usize,
    /// Extents of the output.
    pub output: Vec<usize>,
    /// Elements of the input map.
    pub inputs: usize,
}

impl Runs {
    /// `None` where the window does not fit the map.
    pub fn new(window: &Window, input: &[usize]) -> Option<Self> {
        let axes = input.len();
        if axes == 0 || window.kernel.len() != axes {
            return None;
        }
        let output = (0..axes)
            .map(|a| window.extent(a, input[a]))
            .collect::<Option<Vec<_>>>()?;
        let last = axes - 1;
        let rows: usize = output[..last].iter().product();
        let taps: usize = window.kernel.iter().product();
        let mut runs = Vec::new();
        for tap in 0..taps {
            let at = unravel(tap, &window.kernel);
            let Some((first, count, start)) =
                window.span(last, at[last], input[last], output[last])
            else {
                continue;
            };
            for row in 0..rows {
                let place = unravel(row, &output[..last]);
                let source = (0..last).try_fold(0, |index, a| {
                    let i = (place[a] * window.strides[a] + at[a] * window.dilations[a])
                        .checked_sub(window.begins[a])?;
                    (i < input[a]).then_some(index * input[a] + i)
                });
                if let Some(source) = source {
                    runs.push(Run {
                        tap,
                        output: row * output[last] + first,
                        input: source * input[last] + start,
                        count,
                    });
                }
            }
        }
        Some(Self {
            runs,
            stride: window.strides[last],
            taps,
            output,
            inputs: input.iter().product(),
        })
    }

    /// Elements of the output map.
    pub fn outputs(&self) -> usize {
        self.output.iter().product()
    }

    /// The output elements in blocks of `length` at most.
    pub fn blocks(&self, length: usize) -> impl Iterator<Item = Block> {
        let (outputs, length) = (self.outputs(), length.max(1));
        (0..outputs).step_by(length).map(move |begin| {
            let outputs = begin..outputs.min(begin + length);
            let runs = self.runs.iter();
            let runs = runs.filter_map(|run| run.within(&outputs, self.stride));
            Block {
                runs: runs.collect(),
                outputs,
            }
        })
    }
}

/// Output elements that lie beside one another, and their runs, whose outputs count from the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub outputs: Range<usize>,
    pub runs: Vec<Run>,
}

impl Run {
    /// The part of it that lies in some output elements, counted from the first of these; `None` where there is none.
    fn within(&self, block: &Range<usize>, stride: usize) -> Option<Self> {
        let first = self.output.max(block.start);
        let end = block.end.min(self.output + self.count);
        (first < end).then(|| Self {
            output: first - block.start,
            input: self.input + (first - self.output) * stride,
            count: end - first,
            ..*self
        })
    }
}

impl Window {
    /// True where output element `i` reads input element `i` and no other.
    pub fn is_pointwise(&self) -> bool {
        let ones = self.kernel.iter().chain(&self.strides).all(|n| *n == 1);
        ones && self.begins.iter().chain(&self.ends).all(|n| *n == 0)
    }

    fn extent(&self, axis: usize, input: usize) -> Option<usize> {
        let reach = (self.kernel[axis].checked_sub(1)?).checked_mul(self.dilations[axis])?;
        let padded = input
            .checked_add(self.begins[axis])?
            .checked_add(self.ends[axis])?;
        Some(padded.checked_sub(reach + 1)? / self.strides[axis] + 1)
    }

    /// The first output coordinate of a tap that lies in the map, how many there are, and the
    /// input coordinate of the first.
    fn span(
        &self,
        axis: usize,
        tap: usize,
        input: usize,
        output: usize,
    ) -> Option<(usize, usize, usize)> {
        let (stride, begin) = (self.strides[axis], self.begins[axis]);
        let offset = tap * self.dilations[axis];
        let first = begin.saturating_sub(offset).div_ceil(stride);
        let start = (first * stride + offset).checked_sub(begin)?;
        let inside = input.checked_sub(start)?.div_ceil(stride);
        let count = inside.min(output.checked_sub(first)?);
        (count > 0).then_some((first, count, start))
    }
}

/// Coordinates of a row-major index.
fn unravel(mut index: usize, extents: &[usize]) -> Vec<usize> {
    let mut at = vec![0; extents.len()];
    for (axis, extent) in extents.iter().enumerate().rev() {
        at[axis] = index % extent;
        index /= extent;
    }
    at
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn blocks_hold_the_runs_of_their_outputs() {
        let window = Window {
            kernel: vec![3, 2],
            strides: vec![2, 3],
            dilations: vec![2, 1],
            begins: vec![0, 1],
            ends: vec![3, 0],
        };
        let runs = Runs::new(&window, &[9, 11]).unwrap();
        let read = |run: &Run, from: usize| -> Vec<[usize; 3]> {
            let each = 0..run.count;
            each.map(|i| [run.tap, from + run.output + i, run.input + i * runs.stride])
                .collect()
        };
        let mut all: Vec<[usize; 3]> = runs.runs.iter().flat_map(|run| read(run, 0)).collect();
        all.sort_unstable();
        for length in [1, 5, runs.outputs()] {
            let mut found = Vec::new();
            for block in runs.blocks(length) {
                let count = block.outputs.len();
                assert!(block.runs.iter().all(|run| run.output + run.count <= count));
                let own = block.runs.iter();
                found.extend(own.flat_map(|run| read(run, block.outputs.start)));
            }
            found.sort_unstable();
            assert_eq!(found, all, "{length}");
        }
    }

    #[test]
    fn runs_skip_the_padding() {
        let window = Window {
            kernel: vec![3],
            strides: vec![2],
            dilations: vec![2],
            begins: vec![1],
            ends: vec![2],
        };
        // Outputs at -1, 1, 3, .. of 5 elements; 8 padded elements hold (8 - 5) / 2 + 1 windows.
        let runs = Runs::new(&window, &[5]).unwrap();
        let run = |tap, output, input, count| Run {
            tap,
            output,
            input,
            count,
        };
        assert_eq!(runs.output, [2]);
        assert_eq!(
            runs.runs,
            [run(0, 1, 1, 1), run(1, 0, 1, 2), run(2, 0, 3, 1)]
        );
        assert_eq!(Runs::new(&window, &[1]), None);
    }
}
