//! Samples as pictures, with what two models make of them.

mod raster;
mod values;

use sepconv_data::Layout;
use sepconv_data::Preprocess;
use sepconv_ir::Tensor;

use crate::evaluate::BatchRows;
use crate::evaluate::rows::Rows;
use crate::tasks::{Drawn, TaskMetric};

use raster::Colour;
use values::{Planes, Scale};

pub use raster::Raster;

/// Samples that are shown.
const SHOWN: usize = 3;
/// Detections that are drawn in a picture, the best ones.
const DRAWN: usize = 20;
/// Colours of classes, which repeat: those of Okabe and Ito 2008, which the colour-blind tell apart.
const COLOURS: [Colour; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [213, 94, 0],
    [204, 121, 167],
    [0, 114, 178],
];

/// A sample, with what the original and a rewritten model make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSample {
    /// Number of the sample among those that the models were compared on, from 0.
    pub sample: usize,
    /// Side by side.
    pub panels: Vec<Panel>,
}

/// One picture of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panel {
    /// Such as `original: 12 detections`.
    pub caption: String,
    /// The picture.
    pub picture: Raster,
}

/// How the inputs of a model are pictures.
#[derive(Debug, Clone)]
pub(crate) struct PictureInput {
    /// The input.
    pub input: usize,
    /// Where its channels are.
    pub layout: Layout,
    /// What was done to the pictures.
    pub recipe: Preprocess,
}

/// A batch: inputs, and the outputs of both models.
#[derive(Clone, Copy)]
pub(crate) struct ShownBatch<'b> {
    pub inputs: &'b [Tensor],
    pub outputs: [&'b [Tensor]; 2],
    pub rows: BatchRows,
}

impl PictureInput {
    /// The first samples of batches of which there is something to show: those that the original detects
    /// something in before others. None where inputs are no pictures of one or three channels, or
    /// outputs are neither detections nor masks nor pictures.
    pub fn shown<'b>(
        &self,
        task: Option<&TaskMetric>,
        batches: impl Iterator<Item = ShownBatch<'b>>,
    ) -> Vec<ShownSample> {
        let (mut full, mut empty) = (Vec::new(), Vec::new());
        let mut first = 0;
        for batch in batches {
            if full.len() == SHOWN {
                break;
            }
            let input = batch.inputs.get(self.input).and_then(|input| {
                let rows = *input.dims().first()?;
                Rows::of(input, rows, rows)
            });
            let Some(input) = input else {
                return Vec::new();
            };
            let divided = (batch.outputs).map(|outputs| Rows::of_outputs(outputs, batch.rows, &[]));
            let pair = [divided[0].as_slice(), divided[1].as_slice()];
            for i in 0..batch.rows.valid {
                if full.len() == SHOWN {
                    break;
                }
                let Some((shown, says)) = self.sample(task, &input, pair, i) else {
                    return Vec::new();
                };
                let shown = ShownSample {
                    sample: first + i,
                    ..shown
                };
                match says {
                    true => full.push(shown),
                    false if empty.len() < SHOWN => empty.push(shown),
                    false => {}
                }
            }
            first += batch.rows.valid;
        }
        full.extend(empty);
        full.truncate(SHOWN);
        full.sort_by_key(|shown| shown.sample);
        full
    }

    /// Sample `i` of a batch of inputs and both models' outputs, and whether the original says something of it.
    fn sample(
        &self,
        task: Option<&TaskMetric>,
        input: &Rows,
        pair: [&[Option<Rows>]; 2],
        i: usize,
    ) -> Option<(ShownSample, bool)> {
        let planes = Planes::of(input.row(i), input.sample(), self.layout)?;
        let picture = planes.raster(&Scale::undone(&planes, &self.recipe));
        let drawn = TaskMetric::drawn(task, pair, i)?;
        let says = !drawn.is_empty();
        let panels = match drawn {
            Drawn::Detections { found, relative } => {
                let extents = match relative {
                    true => [planes.width(), planes.height()].map(|n| n as f64),
                    false => [1.0; 2],
                };
                detections(&picture, extents, found)
            }
            Drawn::Masks { masks, extents } => {
                let [original, model] = masks.map(|mask| masked(&picture, &mask, extents));
                side_by_side(picture, original, model)
            }
            Drawn::Pictures(pair) => {
                let pair = pair.map(|rows| Planes::of_output(rows.row(i), rows.sample()));
                let [Some(original), Some(model)] = pair else {
                    return None;
                };
                // One scale shows the difference.
                let scale = Scale::guessed(&original);
                side_by_side(picture, original.raster(&scale), model.raster(&scale))
            }
        };
        Some((ShownSample { sample: i, panels }, says))
    }
}

/// A picture with the detections of both models, whose corners are in so many pixels.
fn detections(picture: &Raster, unit: [f64; 2], found: [Vec<([f64; 4], usize)>; 2]) -> Vec<Panel> {
    let panels = [("original", &found[0]), ("rewritten", &found[1])].map(|(whose, found)| {
        let (mut drawn, factor) = picture.fitted();
        // The best ones last: nothing covers them.
        for (corners, class) in found.iter().take(DRAWN).rev() {
            let corners = [0, 1, 2, 3].map(|i| corners[i] * unit[i % 2] * factor);
            drawn.outline(corners, COLOURS[class % COLOURS.len()]);
        }
        let count = match found.len() {
            1 => "1 detection".to_owned(),
            n if n > DRAWN => format!("the best {DRAWN} of {n} detections"),
            n => format!("{n} detections"),
        };
        Panel {
            caption: format!("{whose}: {count}"),
            picture: drawn,
        }
    });
    panels.to_vec()
}

/// A picture under a mask of so many rows and columns. Class 0 has no colour: it is the background, more
/// often than not.
fn masked(picture: &Raster, mask: &[usize], [rows, columns]: [usize; 2]) -> Raster {
    let (mut drawn, _) = picture.fitted();
    let (height, width) = (drawn.height(), drawn.width());
    drawn.tint(|y, x| {
        let place = y * rows / height * columns + x * columns / width;
        let class = mask[place].checked_sub(1)?;
        Some(COLOURS[class % COLOURS.len()])
    });
    drawn
}

fn side_by_side(input: Raster, original: Raster, model: Raster) -> Vec<Panel> {
    let pictures = [
        ("input", input),
        ("original", original),
        ("rewritten", model),
    ];
    let panels = pictures.map(|(caption, picture)| Panel {
        caption: caption.to_owned(),
        picture: picture.fitted().0,
    });
    panels.to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn grey(n: usize, value: impl Fn(usize) -> f32) -> Tensor {
        let values = (0..n).flat_map(|i| vec![value(i); 6 * 4]);
        Tensor::from_f32(vec![n, 1, 6, 4], values.collect())
    }

    #[test]
    fn detections_are_counted_and_the_best_are_drawn() {
        let picture = Raster::of(160, 200, |_, _| [9; 3]);
        let one = |x: usize, class| ([x as f64, 10.0, x as f64 + 5.0, 20.0], class);
        let many = (0..30).map(|i| one(6 * i, 0)).collect();
        let seen = detections(&picture, [1.0; 2], [many, vec![one(50, 1)]]);
        assert_eq!(seen[0].caption, "original: the best 20 of 30 detections");
        assert_eq!(seen[1].caption, "rewritten: 1 detection");
        let coloured = |panel: &Panel, colour| panel.picture.pixels().contains(&colour);
        assert!(coloured(&seen[0], COLOURS[0]) && coloured(&seen[1], COLOURS[1]));
        let at = |x: usize| seen[0].picture.pixels()[10 * 200 + x];
        assert_eq!((at(6 * 19), at(6 * 20)), (COLOURS[0], [9; 3]));
        // In fractions of 200 by 160 pixels.
        let corners = ([0.25, 0.5, 0.5, 0.75], 0);
        let seen = detections(&picture, [200.0, 160.0], [vec![corners], vec![]]);
        let at = |y: usize, x: usize| seen[0].picture.pixels()[y * 200 + x];
        assert_eq!(
            (at(80, 50), at(79, 50), at(120, 100)),
            (COLOURS[0], [9; 3], COLOURS[0])
        );
    }

    #[test]
    fn masks_colour_all_classes_but_the_first() {
        let picture = Raster::of(4, 4, |_, _| [0; 3]);
        let seen = masked(&picture, &[0, 1, 2, 0], [2, 2]);
        let (height, width) = (seen.height(), seen.width());
        assert_eq!((height, width), (112, 112));
        let at = |y: usize, x: usize| seen.pixels()[y * width + x];
        let half = |colour: Colour| colour.map(|v| v / 2);
        assert_eq!((at(0, 0), at(55, 56)), ([0; 3], half(COLOURS[0])));
        assert_eq!((at(56, 55), at(111, 111)), (half(COLOURS[1]), [0; 3]));
    }

    /// Restored pictures stand beside the input, on one scale; batches are counted through.
    #[test]
    fn pictures_are_shown_beside_what_becomes_of_them() {
        let input = PictureInput {
            input: 0,
            layout: Layout::Nchw,
            recipe: Preprocess::default(),
        };
        let inputs = [grey(2, |_| 0.2)];
        let [original, model] = [0.4, 0.6].map(|value| [grey(2, |_| value)]);
        let batch = ShownBatch {
            inputs: &inputs,
            outputs: [&original, &model],
            rows: BatchRows { all: 2, valid: 2 },
        };
        let seen = input.shown(None, [batch, batch].into_iter());
        assert_eq!(seen.iter().map(|s| s.sample).collect::<Vec<_>>(), [0, 1, 2]);
        let shades = seen[0]
            .panels
            .iter()
            .map(|panel| panel.picture.pixels()[0][0]);
        assert_eq!(shades.collect::<Vec<_>>(), [51, 102, 153]);
        let captions: Vec<&str> = seen[0].panels.iter().map(|p| p.caption.as_str()).collect();
        assert_eq!(captions, ["input", "original", "rewritten"]);
        // Nothing can be drawn of vectors, nor of inputs of two channels.
        let vectors = [Tensor::from_f32(vec![2, 5], vec![0.0; 10])];
        let plain = ShownBatch {
            outputs: [&vectors, &vectors],
            ..batch
        };
        assert_eq!(input.shown(None, [plain].into_iter()), []);
        let odd = [Tensor::from_f32(vec![2, 2, 6, 2], vec![0.0; 48])];
        let odd = ShownBatch {
            inputs: &odd,
            ..batch
        };
        assert_eq!(input.shown(None, [odd].into_iter()), []);
    }
}
