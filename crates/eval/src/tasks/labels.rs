//! Outputs held against what samples are known to show: boxes and masks.

use sepconv_data::{Annotations, Category, Dataset, Object};

use super::detect::{Detector, Layout, Matched, Truth, precision_measures};
use super::segment::{self, Overlaps, Segmentation};
use crate::evaluate::rows::Rows;
use crate::evaluate::{Against, Measure};

/// How outputs are held against boxes or masks.
#[derive(Debug, Clone)]
pub(crate) enum Labelling {
    Boxes(Boxes),
    Masks(Segmentation),
}

/// How detections are held against boxes.
#[derive(Debug, Clone)]
pub(crate) struct Boxes {
    layout: Layout,
    /// Boxes are in fractions of the picture's extents.
    is_relative: bool,
    /// The class of every category; `None` of one that no box is of.
    classes: Vec<Option<usize>>,
}

/// Contributions of a number of batches.
#[derive(Debug, Clone)]
pub(crate) enum LabelScores {
    Boxes(Vec<Matched>),
    Masks(Vec<Overlaps>),
}

/// The outputs of a batch, and rows and columns of the pictures that went in.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'b> {
    pub outputs: &'b [Option<Rows>],
    pub extents: [usize; 2],
}

impl Labelling {
    /// Of detections, against the boxes of a data set.
    ///
    /// # Errors
    /// The reason for which its categories are no classes of the model.
    pub fn of_boxes(detector: &Detector, dataset: &Dataset) -> Result<Self, String> {
        let (layout, all) = (detector.layout, dataset.categories());
        Ok(Self::Boxes(Boxes {
            classes: classes(all, layout.classes(), detector.from_one)?,
            layout,
            is_relative: detector.relative,
        }))
    }

    /// The scores of a batch.
    ///
    /// # Errors
    /// The reason for which the annotations are not those of the outputs.
    pub fn scores(
        &self,
        batch: Batch<'_>,
        annotations: &Annotations,
    ) -> Result<LabelScores, String> {
        match (self, annotations) {
            (Self::Boxes(how), Annotations::Objects(samples)) => {
                let samples = samples.iter().enumerate();
                let matched = samples.map(|(i, objects)| how.matched(batch, i, objects));
                Ok(LabelScores::Boxes(matched.collect()))
            }
            (Self::Masks(how), Annotations::Masks(masks)) => {
                let rows = batch.outputs.get(how.output).and_then(Option::as_ref);
                let rows = rows.ok_or("the masks are no numbers")?;
                let overlaps = masks
                    .iter()
                    .enumerate()
                    .map(|(i, mask)| how.labelled(rows, i, mask));
                Ok(LabelScores::Masks(overlaps.collect::<Result<_, String>>()?))
            }
            (Self::Boxes(_), Annotations::Masks(_)) => {
                Err("its labels are masks, and the model is a detector".into())
            }
            (Self::Masks(_), Annotations::Objects(_)) => {
                Err("its labels are boxes, and the model is for segmentation".into())
            }
        }
    }

    /// The measures of scores, the one that models are judged by first.
    pub fn measures(&self, output: &str, scores: &LabelScores) -> Vec<Measure> {
        match scores {
            LabelScores::Boxes(pictures) => precision_measures(output, pictures),
            LabelScores::Masks(pictures) => segment::measures(output, Against::Labels, pictures),
        }
    }
}

impl LabelScores {
    /// Adds those of the batch after those so far.
    pub fn append(&mut self, next: Self) {
        match (self, next) {
            (Self::Boxes(all), Self::Boxes(next)) => all.extend(next),
            (Self::Masks(all), Self::Masks(next)) => all.extend(next),
            // One data set has one kind.
            (all, next) => *all = next,
        }
    }
}

impl Boxes {
    /// Detections and objects of sample `i`.
    fn matched(&self, batch: Batch<'_>, i: usize, objects: &[Object]) -> Matched {
        let mut found = self.layout.ranked(batch.outputs, i);
        if self.is_relative {
            let [height, width] = batch.extents.map(|n| n as f64);
            for one in &mut found {
                let [left, top, right, bottom] = one.corners;
                one.corners = [left * width, top * height, right * width, bottom * height];
            }
        }
        let truths = objects.iter().filter_map(|object| {
            Some(Truth {
                corners: object.corners,
                class: self.classes.get(object.category).copied().flatten()?,
                crowd: object.crowd,
            })
        });
        let truths: Vec<Truth> = truths.collect();
        // What is found of classes that the data does not label is not looked at.
        found.retain(|one| self.classes.contains(&Some(one.class)));
        Matched::of(&found, &truths)
    }
}

/// The class of every category, by the file of classes; else by its place among them, where the model
/// has as many classes or does not say; else its own number, where the model has a class that is none or numbers them
/// `from_one`.
fn classes(
    categories: &[Category],
    scored: Option<(usize, usize)>,
    from_one: bool,
) -> Result<Vec<Option<usize>>, String> {
    if categories.iter().any(|category| category.class.is_some()) {
        let classes = categories.iter().map(|category| category.class);
        return Ok(classes.collect());
    }
    let numbers = categories.iter().map(|c| usize::try_from(c.id).ok());
    let numbers: Vec<Option<usize>> = numbers.collect();
    if scored.is_none() && from_one {
        return Ok(numbers);
    }
    let (first, count) = scored.unwrap_or((0, categories.len()));
    if count == categories.len() {
        return Ok((first..first + count).map(Some).collect());
    }
    let fits = |number: &Option<usize>| number.is_some_and(|n| (first..first + count).contains(&n));
    if first > 0 && numbers.iter().all(fits) {
        return Ok(numbers);
    }
    Err(format!(
        "the model has scores of {count} classes and its labels have {} categories: a file of \
         classes says which is which",
        categories.len()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn categories(all: &[(i64, Option<usize>)]) -> Vec<Category> {
        let all = all.iter().map(|(id, class)| Category {
            id: *id,
            name: String::new(),
            class: *class,
        });
        all.collect()
    }

    #[test]
    fn categories_are_classes_by_file_by_place_or_by_number() {
        let plain = categories(&[(1, None), (3, None), (90, None)]);
        let by = |scored| classes(&plain, scored, false);
        assert_eq!(by(None), Ok(vec![Some(0), Some(1), Some(2)]));
        assert_eq!(by(Some((0, 3))), Ok(vec![Some(0), Some(1), Some(2)]));
        // A model that names classes may number them from 1.
        let numbers = Ok(vec![Some(1), Some(3), Some(90)]);
        assert_eq!(classes(&plain, None, true), numbers);
        // Behind a class that is none.
        assert_eq!(by(Some((1, 3))), Ok(vec![Some(1), Some(2), Some(3)]));
        assert_eq!(by(Some((1, 90))), Ok(vec![Some(1), Some(3), Some(90)]));
        assert!(by(Some((1, 89))).is_err());
        let error = by(Some((0, 91))).unwrap_err();
        assert!(
            error.contains("91 classes") && error.contains("3 categories"),
            "{error}"
        );
        let named = categories(&[(0, None), (1, Some(7)), (2, Some(0))]);
        assert_eq!(
            classes(&named, Some((0, 80)), false),
            Ok(vec![None, Some(7), Some(0)])
        );
    }
}
