//! Metrics by task: a rewritten model's outputs as someone uses them, held against
//! the original's.

mod detect;
mod embed;
mod labels;
mod pairs;
mod recognise;
mod regress;
mod seen;
mod segment;
mod sequence;
mod tag;

use sepconv_data::{Dataset, Labels};
use sepconv_ir::Tensor;
use sepconv_model::classes::class_outputs;
use sepconv_model::{DataSource, Error, Loaded, Samples, Task, run};
use sepconv_targets::Target;
use serde::Serialize;

use crate::channels::Channels;
use crate::evaluate::restoration::{self, Picture, picture};
use crate::evaluate::rows::Rows;
use crate::evaluate::{Against, BatchRows, Measure};

use detect::Detector;
use embed::Vectors;
use pairs::Pairs;
use seen::Seen;
use segment::{Overlaps, Segmentation};
use sequence::Read;
use tag::Labels as Tags;

pub(crate) use labels::{Batch as LabelledBatch, LabelScores, Labelling};

/// Batches by whose outputs a task is recognised.
pub(crate) const RECOGNISED: usize = 4;

/// The task that a model was measured by, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenTask {
    /// The task; never [`Task::Auto`].
    pub task: Task,
    /// The reason: the signs that were recognised in the outputs.
    pub why: String,
}

/// The metric of a task for the outputs of one model.
#[derive(Debug, Clone)]
pub struct TaskMetric {
    taken: TakenTask,
    kind: Kind,
    /// Outputs of its kind, where there may be several.
    alike: Vec<usize>,
    /// Names of the graph outputs.
    names: Vec<String>,
}

/// What is drawn of a sample: of the original, and of another model.
pub(crate) enum Drawn<'r> {
    /// Left, top, right, bottom and class by falling score.
    Detections {
        found: [Vec<([f64; 4], usize)>; 2],
        /// They are in fractions of the picture's extents, not pixels.
        relative: bool,
    },
    /// The class of every position, and rows and columns.
    Masks {
        masks: [Vec<usize>; 2],
        extents: [usize; 2],
    },
    /// Outputs that are pictures.
    Pictures([&'r Rows; 2]),
}

impl Drawn<'_> {
    /// True where the original says nothing of the sample.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Detections { found, .. } => found[0].is_empty(),
            Self::Masks { .. } | Self::Pictures(_) => false,
        }
    }
}

/// How outputs are measured.
#[derive(Debug, Clone)]
enum Kind {
    /// As outputs of any shape are: agreement and divergence.
    Classify,
    Detect(Detector),
    Segment(Segmentation),
    /// The output, and the largest value of a picture.
    Restore(usize, f64),
    Sequence(usize),
    Tag(Tags),
    Embed(usize),
    Regress,
}

impl TaskMetric {
    /// The metric of the task that `source` says, or that is recognised of the original's outputs
    /// in the first few of some runs of batches of `rows`; `None` where it is none of those that are known.
    ///
    /// # Errors
    /// [`Error::Interface`] where the outputs are not those of the task that is named.
    pub fn of(
        model: &Loaded,
        source: &DataSource,
        runs: &[&[Tensor]],
        rows: BatchRows,
    ) -> Result<Option<Self>, Error> {
        let names = model.output_names();
        let classes = class_outputs(model.graph());
        let runs = runs.iter().take(RECOGNISED);
        let runs = runs.map(|run| Rows::of_outputs(run, rows, &classes));
        let runs: Vec<Vec<Option<Rows>>> = runs.collect();
        let seen = Seen {
            names: &names,
            runs: &runs,
            picture: taken_picture(model),
        };
        let named = |reason| Error::Interface {
            file: model.file(),
            reason,
        };
        let found = recognise::recognised(seen, source).map_err(named)?;
        let Some((task, kind, why)) = found else {
            return Ok(None);
        };
        let alike = match &kind {
            Kind::Segment(judged) => (0..seen.outputs())
                .filter(|output| judged.is_alike(seen, *output))
                .collect(),
            _ => Vec::new(),
        };
        Ok(Some(Self {
            taken: TakenTask { task, why },
            kind,
            alike,
            names,
        }))
    }

    /// The same on the first samples of the data themselves.
    ///
    /// # Errors
    /// As [`TaskMetric::of`]; [`Error::Data`] where the data can't be read or do not fit,
    /// [`Error::Target`] where the runtime can't run the model.
    pub fn on_data(
        model: &Loaded,
        source: &DataSource,
        target: &dyn Target,
    ) -> Result<Option<Self>, Error> {
        let samples = Samples::of(model, source.open(model, Labels::Ignore)?)?;
        let batches = 0..samples.batches().min(RECOGNISED);
        let inputs = batches.map(|batch| samples.inputs(batch));
        let inputs = inputs.collect::<Result<Vec<_>, Error>>()?;
        let outputs = run(model, target, &inputs, &())?;
        let runs: Vec<&[Tensor]> = outputs.iter().map(Vec::as_slice).collect();
        let rows = BatchRows {
            all: samples.rows(),
            valid: samples.valid(0),
        };
        Self::of(model, source, &runs, rows)
    }

    /// The task, and the reason for which it was taken.
    pub fn taken(&self) -> &TakenTask {
        &self.taken
    }

    /// True where outputs of classes tell all.
    pub fn is_of_classes(&self) -> bool {
        matches!(self.kind, Kind::Classify)
    }

    /// The measures over batches, each with the outputs of the original and of another model; the
    /// one that models are judged by is the first. None for classes.
    pub fn measures<'t>(
        &self,
        batches: impl Iterator<Item = ([&'t [Tensor]; 2], BatchRows)>,
    ) -> Vec<Measure> {
        let divided = |outputs, rows| Rows::of_outputs(outputs, rows, &[]);
        let scores = batches
            .map(|([a, b], rows)| self.scores([&divided(a, rows), &divided(b, rows)], rows.valid));
        let all = scores.reduce(|mut all, next| {
            all.append(next);
            all
        });
        all.map_or(Vec::new(), |all| self.measured(&all))
    }

    /// The outputs that it is about.
    pub fn outputs(&self) -> Vec<usize> {
        match &self.kind {
            Kind::Classify => Vec::new(),
            Kind::Regress => (0..self.names.len()).collect(),
            Kind::Detect(detector) => detector.outputs(),
            Kind::Segment(segmentation) => vec![segmentation.output],
            Kind::Tag(tags) => vec![tags.output],
            Kind::Restore(output, _) | Kind::Sequence(output) | Kind::Embed(output) => {
                vec![*output]
            }
        }
    }

    /// The outputs that it is about, and others of their kind: masks beside the one that is judged.
    pub fn covers(&self, output: usize) -> bool {
        self.alike.contains(&output) || self.outputs().contains(&output)
    }

    /// True for detections that the graph itself selects and orders: two models have rows of one object in different
    /// places.
    pub fn is_of_ordered_rows(&self) -> bool {
        matches!(&self.kind, Kind::Detect(detector) if detector.layout.is_of_ordered_rows())
    }

    /// The scores of one batch, of the original's outputs and another model's.
    pub(crate) fn scores(&self, pair: [&[Option<Rows>]; 2], valid: usize) -> TaskScores {
        let of = |output: usize| {
            let rows = pair.map(|outputs| outputs.get(output).and_then(Option::as_ref));
            let [Some(a), Some(b)] = rows else {
                return None;
            };
            (a.sample() == b.sample() && a.count() == b.count()).then_some((a, b))
        };
        match &self.kind {
            Kind::Classify => TaskScores::None,
            Kind::Detect(detector) => {
                let samples = 0..valid;
                TaskScores::Detect(samples.map(|i| detect::pairs(detector, pair, i)).collect())
            }
            Kind::Segment(how) => of(how.output).map_or(TaskScores::None, |(a, b)| {
                let samples = 0..a.count();
                TaskScores::Segment(samples.map(|i| Overlaps::of(how, a, b, i)).collect())
            }),
            Kind::Restore(output, peak) => of(*output).map_or(TaskScores::None, |(a, b)| {
                let shape = picture(a.sample());
                let pictures = (0..a.count())
                    .filter_map(|i| Some(Picture::of(a.row(i), b.row(i), shape?, *peak)));
                TaskScores::Restore(pictures.collect())
            }),
            Kind::Sequence(output) => of(*output).map_or(TaskScores::None, |(a, b)| {
                let samples = 0..a.count();
                TaskScores::Sequence(samples.filter_map(|i| Read::of(a, b, i)).collect())
            }),
            Kind::Tag(tags) => of(tags.output).map_or(TaskScores::None, |(a, b)| {
                let samples = 0..a.count();
                TaskScores::Tag(samples.map(|i| tags.pairs(a, b, i)).collect())
            }),
            Kind::Embed(output) => of(*output).map_or(TaskScores::None, |(a, b)| {
                TaskScores::Embed(Vectors::of(a, b))
            }),
            Kind::Regress => {
                let outputs = (0..self.names.len()).map(|output| {
                    of(output).map(|(a, b)| {
                        let (dims, values) = a.all();
                        (vec![Channels::of(&dims, values, b.all().1)], dims.len())
                    })
                });
                TaskScores::Regress(outputs.collect())
            }
        }
    }

    /// How the outputs are held against the boxes or masks of a data set.
    ///
    /// # Errors
    /// The reason for which they can't be.
    pub(crate) fn labelling(&self, dataset: &Dataset) -> Result<Labelling, String> {
        match &self.kind {
            Kind::Detect(detector) => Labelling::of_boxes(detector, dataset),
            Kind::Segment(how) => Ok(Labelling::Masks(*how)),
            _ => Err(format!(
                "its labels are boxes or masks, and the task of the model is {}",
                self.taken.task.name()
            )),
        }
    }

    /// The measures of scores against labels.
    pub(crate) fn labelled(&self, labelling: &Labelling, scores: &LabelScores) -> Vec<Measure> {
        labelling.measures(&self.name(), scores)
    }

    /// Names of the outputs that it is about.
    fn name(&self) -> String {
        let outputs = self.outputs();
        let names = outputs.iter().filter_map(|o| self.names.get(*o));
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// What is drawn of sample `i`. Without a task it is the first output of pictures.
    pub(crate) fn drawn<'r>(
        task: Option<&Self>,
        pair: [&'r [Option<Rows>]; 2],
        i: usize,
    ) -> Option<Drawn<'r>> {
        let of = |output: usize| {
            let [a, b] = pair.map(|outputs| outputs.get(output).and_then(Option::as_ref));
            Some([a?, b?])
        };
        match task.map(|task| &task.kind) {
            Some(Kind::Detect(detector)) => Some(Drawn::Detections {
                found: pair.map(|outputs| {
                    let found = detector.layout.detections(outputs, i).into_iter();
                    found.map(|one| (one.corners, one.class)).collect()
                }),
                relative: detector.relative,
            }),
            Some(Kind::Segment(how)) => {
                let pair = of(how.output)?;
                let extents = how.extents(pair[0].sample())?;
                let masks = pair.map(|rows| how.mask(rows.row(i)));
                let fit = masks.iter().all(|m| m.len() == extents[0] * extents[1]);
                fit.then_some(Drawn::Masks { masks, extents })
            }
            Some(Kind::Restore(output, _)) => of(*output).map(Drawn::Pictures),
            Some(
                Kind::Classify | Kind::Sequence(_) | Kind::Tag(_) | Kind::Embed(_) | Kind::Regress,
            ) => None,
            None => {
                let outputs = 0..pair[0].len();
                let mut pictures = outputs.filter_map(of);
                let found = pictures.find(|[a, _]| picture(a.sample()).is_some());
                found.map(Drawn::Pictures)
            }
        }
    }

    /// The measures of scores.
    pub(crate) fn measured(&self, scores: &TaskScores) -> Vec<Measure> {
        let name = self.name();
        match scores {
            TaskScores::None => Vec::new(),
            TaskScores::Detect(pictures) => detect::measures(&name, pictures),
            TaskScores::Segment(pictures) => segment::measures(&name, Against::Original, pictures),
            TaskScores::Restore(pictures) => {
                restoration::measures(&name, Against::Original, pictures)
            }
            TaskScores::Sequence(read) => sequence::measures(&name, read),
            TaskScores::Tag(samples) => tag::measures(&name, samples),
            TaskScores::Embed(vectors) => embed::measures(&name, vectors),
            TaskScores::Regress(outputs) => regress::measures(&self.names, outputs),
        }
    }
}

/// Contributions of a number of batches.
#[derive(Debug, Clone)]
pub(crate) enum TaskScores {
    None,
    Detect(Vec<Pairs>),
    Segment(Vec<Overlaps>),
    Restore(Vec<Picture>),
    Sequence(Vec<Read>),
    Tag(Vec<Pairs>),
    Embed(Vectors),
    /// By output: errors by channel of every batch, and the rank of the output.
    Regress(Vec<Option<(Vec<Channels>, usize)>>),
}

impl TaskScores {
    /// Adds those of the batch after those so far.
    pub fn append(&mut self, next: Self) {
        match (self, next) {
            (Self::Detect(all), Self::Detect(next)) => all.extend(next),
            (Self::Segment(all), Self::Segment(next)) => all.extend(next),
            (Self::Restore(all), Self::Restore(next)) => all.extend(next),
            (Self::Sequence(all), Self::Sequence(next)) => all.extend(next),
            (Self::Tag(all), Self::Tag(next)) => all.extend(next),
            (Self::Embed(all), Self::Embed(next)) => all.append(next),
            (Self::Regress(all), Self::Regress(next)) => {
                for (all, next) in all.iter_mut().zip(next) {
                    match (all.as_mut(), next) {
                        (Some((all, _)), Some((next, _))) => all.extend(next),
                        _ => *all = None,
                    }
                }
            }
            // Outputs that can't be compared in one batch can't be compared at all.
            (all, _) => *all = Self::None,
        }
    }
}

/// Channels, height and width of the pictures that a model takes, channels first or last.
fn taken_picture(model: &Loaded) -> Option<[usize; 3]> {
    let graph = model.graph();
    let mut shapes = graph.inputs().filter_map(|v| model.shapes.extents(v));
    let dims = shapes.find(|dims| dims.len() == 4)?;
    let [a, b, c] = [1, 2, 3].map(|i| dims[i] as usize);
    Some(match c <= 4 && a > 4 {
        true => [c, a, b],
        false => [a, b, c],
    })
}
