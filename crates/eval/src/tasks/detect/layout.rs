//! Where detectors have their boxes and scores.

use super::boxes::{Detection, ranked, sort, suppressed};
use super::precision::{LEAST, MOST};
use crate::evaluate::rows::Rows;
use crate::sparse::SCORE;
use crate::tasks::seen::Seen;

/// Anchors of a detector without suppression in its graph, at least.
const ANCHORS: usize = 32;
/// Anchors for each channel of one tensor, at least.
const SLIM: usize = 2;
/// Strides of the grids of one tensor that is not decoded.
const STRIDES: [usize; 3] = [8, 16, 32];
/// Rounding that scores and classes may have.
const NEAR: f64 = 1e-3;
/// Boxes are in pixels where one is larger.
const PIXELS: f64 = 2.0;

/// The layout of a detector's outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Layout {
    /// One tensor of boxes by centre and extents, then scores: YOLOv8 and v11, and with an
    /// objectness before the scores of classes YOLOv5 and v7.
    One(One),
    /// Boxes `[anchors, 4]`, and scores in another output: SSD.
    Apart(Apart),
    /// Rows of left, top, right, bottom, score and class, suppressed, and of values that follow: YOLOv10.
    Rows { output: usize, width: usize },
    /// Rows of sample, left, top, right, bottom, class and score of all samples, suppressed: YOLOv7.
    Batched { output: usize },
    /// Boxes, scores and classes behind a suppression, in outputs of their own.
    Lists(Lists),
}

/// One tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct One {
    output: usize,
    /// Channels lie before anchors.
    channels_first: bool,
    /// Number of channels and anchors.
    channels: usize,
    anchors: usize,
    /// Channels of classes: the first and the number.
    first: usize,
    classes: usize,
    /// Height and width of the pictures, where boxes are offsets on grids: YOLOX.
    grids: Option<[usize; 2]>,
}

/// Boxes and scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Apart {
    boxes: usize,
    scores: usize,
    /// Classes lie before anchors.
    channels_first: bool,
    /// Boxes are corners, not centres and extents.
    corners: bool,
    /// Class 0 is none.
    background: bool,
    /// Number of classes, with the one that is none.
    classes: usize,
    /// Another output of rows for anchors, and the numbers in a row.
    beside: Option<(usize, usize)>,
}

/// The values of a detection that are neither box nor score nor class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rest {
    pub output: usize,
    /// The first one and the number, of all values of an anchor or row.
    first: usize,
    pub count: usize,
    width: usize,
    /// Values lie before anchors.
    channels_first: bool,
}

impl Rest {
    /// Those of an anchor or row of a sample.
    pub fn values(&self, sample: &[f64], place: usize) -> Option<Vec<f64>> {
        // Rows may be as many as there are detections.
        let places = sample.len() / self.width;
        let fits = sample.len() == places * self.width && place < places;
        let at = |v: usize| match self.channels_first {
            true => v * places + place,
            false => place * self.width + v,
        };
        let all = self.first..self.first + self.count;
        fits.then(|| all.map(|v| sample[at(v)]).collect())
    }
}

/// Lists of detections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lists {
    boxes: usize,
    scores: usize,
    classes: usize,
    /// The output that says how many there are.
    count: Option<usize>,
    /// Boxes are top, left, bottom, right: `detection_boxes` of the TensorFlow Object Detection API.
    rows_first: bool,
}

/// The kind of an output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// Those of a detector, and why.
    Detector(Layout, &'static str),
    /// Those of a detector that can't be decoded, and why.
    Undecoded(&'static str),
    /// Others.
    Other,
}

pub fn is_score(value: f64) -> bool {
    (-NEAR..=1.0 + NEAR).contains(&value)
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < NEAR
}

impl Layout {
    /// True for rows behind a suppression, ordered by their scores.
    pub fn is_of_ordered_rows(self) -> bool {
        matches!(
            self,
            Self::Rows { .. } | Self::Batched { .. } | Self::Lists(_)
        )
    }

    /// The layout of outputs that were seen.
    pub fn of(seen: Seen<'_>) -> Found {
        if let Some(lists) = lists(seen) {
            return Found::Detector(Self::Lists(lists), "boxes, scores and classes in lists");
        }
        let rows = (0..seen.outputs()).find_map(|o| rows_of(seen, o).map(|width| (o, width)));
        if let Some((output, width)) = rows {
            let why = "rows of a box, a score and a class";
            return Found::Detector(Self::Rows { output, width }, why);
        }
        if let Some(output) = (0..seen.outputs()).find(|o| are_batched(seen, *o)) {
            let why = "rows of a sample, a box, a class and a score";
            return Found::Detector(Self::Batched { output }, why);
        }
        if let Some(apart) = apart(seen) {
            let why = "boxes [anchors, 4] and scores of as many anchors";
            return Found::Detector(Self::Apart(apart), why);
        }
        let all = (0..seen.outputs()).map(|output| one(seen, output));
        let mut all = all.filter(|found| *found != Found::Other);
        all.next().unwrap_or(Found::Other)
    }

    /// The outputs that it is about.
    pub fn outputs(&self) -> Vec<usize> {
        match self {
            Self::One(one) => vec![one.output],
            Self::Rows { output, .. } | Self::Batched { output } => vec![*output],
            Self::Apart(apart) => vec![apart.boxes, apart.scores],
            Self::Lists(lists) => vec![lists.boxes, lists.scores, lists.classes],
        }
    }

    /// The values of detections that are neither box nor score nor class.
    pub fn rest(&self) -> Option<Rest> {
        let rest = match *self {
            Self::One(one) => Rest {
                output: one.output,
                first: one.first + one.classes,
                count: one.channels - (one.first + one.classes),
                width: one.channels,
                channels_first: one.channels_first,
            },
            Self::Rows { output, width } => Rest {
                output,
                first: 6,
                count: width - 6,
                width,
                channels_first: false,
            },
            Self::Apart(apart) => {
                let (output, width) = apart.beside?;
                Rest {
                    output,
                    first: 0,
                    count: width,
                    width,
                    channels_first: false,
                }
            }
            Self::Batched { .. } | Self::Lists(_) => return None,
        };
        (rest.count > 0).then_some(rest)
    }

    /// The detections in sample `i` of a batch, by falling score; none where the outputs have
    /// another shape.
    pub fn detections(&self, outputs: &[Option<Rows>], i: usize) -> Vec<Detection> {
        let mut found = self.candidates(outputs, i, SCORE);
        if !self.is_suppressed() {
            return suppressed(found);
        }
        sort(&mut found);
        found
    }

    /// The detections in sample `i` of a batch that average precision looks at, by falling score.
    pub fn ranked(&self, outputs: &[Option<Rows>], i: usize) -> Vec<Detection> {
        let found = self.candidates(outputs, i, LEAST);
        ranked(found, !self.is_suppressed(), MOST)
    }

    /// True where the graph suppresses boxes that overlap.
    pub fn is_suppressed(&self) -> bool {
        !matches!(self, Self::One(_) | Self::Apart(_))
    }

    /// The first class and the number of those that the outputs have scores of; `None` where they name
    /// the class of a detection.
    pub fn classes(&self) -> Option<(usize, usize)> {
        match self {
            Self::One(one) => Some((0, one.classes)),
            Self::Apart(apart) => {
                let none = usize::from(apart.background);
                Some((none, apart.classes - none))
            }
            Self::Rows { .. } | Self::Batched { .. } | Self::Lists(_) => None,
        }
    }

    /// True where boxes are in fractions of the picture's extents, by runs that were seen.
    pub fn is_relative(&self, seen: Seen<'_>) -> bool {
        let corners = self.all(seen).flat_map(|detection| detection.corners);
        let largest = corners.fold(0.0, f64::max);
        largest > 0.0 && largest <= PIXELS
    }

    /// True where an output names the class of every box and numbers classes from 1: TensorFlow's `detection_classes`, and
    /// lists in which class 0 does not come in the runs that were seen.
    pub fn numbers_from_one(&self, seen: Seen<'_>) -> bool {
        let Self::Lists(lists) = self else {
            return false;
        };
        let mut classes = self.all(seen).map(|detection| detection.class).peekable();
        seen.is_named(lists.classes, &["detection_classes"])
            || classes.peek().is_some() && classes.all(|class| class > 0)
    }

    /// The boxes of all runs that were seen.
    fn all(&self, seen: Seen<'_>) -> impl Iterator<Item = Detection> {
        seen.runs.iter().flat_map(|run| {
            let samples = run.iter().flatten().map(Rows::count).max().unwrap_or(0);
            (0..samples).flat_map(|i| self.candidates(run, i, 0.0))
        })
    }

    /// Boxes in sample `i` of a batch of a score above `least`, in the order of the outputs and
    /// before any suppression that the graph leaves to others.
    pub fn candidates(&self, outputs: &[Option<Rows>], i: usize, least: f64) -> Vec<Detection> {
        let found = match self {
            Self::One(one) => one.candidates(outputs, i, least),
            Self::Apart(apart) => apart.candidates(outputs, i, least),
            Self::Rows { output, width } => rows(outputs, *output).map(|rows| {
                let all = rows.row(i).chunks_exact(*width).enumerate();
                all.map(|(place, r)| corners(&r[..4], r[4], r[5]).at(place))
                    .collect()
            }),
            Self::Batched { output } => rows(outputs, *output).map(|rows| {
                let all = rows.all().1.chunks_exact(7);
                let own = all.filter(|r| r[0].round() == i as f64);
                own.map(|r| corners(&r[1..5], r[6], r[5])).collect()
            }),
            Self::Lists(lists) => lists.detections(outputs, i),
        };
        let mut found = found.unwrap_or_default();
        found.retain(|d| d.score > least);
        found
    }
}

fn rows(outputs: &[Option<Rows>], output: usize) -> Option<&Rows> {
    outputs.get(output)?.as_ref()
}

fn corners(bounds: &[f64], score: f64, class: f64) -> Detection {
    let corners = [bounds[0], bounds[1], bounds[2], bounds[3]];
    Detection::cornered(corners, score, class.round().max(0.0) as usize)
}

/// The greatest of some scores, with its position.
fn best(scores: impl Iterator<Item = f64>) -> (usize, f64) {
    let first = (0, f64::NEG_INFINITY);
    let greater =
        |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
    scores.enumerate().fold(first, greater)
}

impl One {
    fn at(&self, row: &[f64], channel: usize, anchor: usize) -> f64 {
        row[match self.channels_first {
            true => channel * self.anchors + anchor,
            false => anchor * self.channels + channel,
        }]
    }

    fn candidates(&self, outputs: &[Option<Rows>], i: usize, least: f64) -> Option<Vec<Detection>> {
        let row = rows(outputs, self.output)?.row(i);
        if row.len() != self.channels * self.anchors {
            return None;
        }
        let mut found = Vec::new();
        for anchor in 0..self.anchors {
            let classes = self.first..self.first + self.classes;
            let (class, mut score) = best(classes.map(|c| self.at(row, c, anchor)));
            if self.first == 5 {
                score *= self.at(row, 4, anchor);
            }
            if score > least {
                let bounds = [0, 1, 2, 3].map(|c| self.at(row, c, anchor));
                let bounds = match self.grids {
                    Some(extents) => on_grid(bounds, anchor, extents),
                    None => bounds,
                };
                found.push(Detection::centred(bounds, score, class).at(anchor));
            }
        }
        Some(found)
    }
}

/// Cells of the grids of pictures.
fn cells(extents: [usize; 2]) -> usize {
    STRIDES
        .iter()
        .map(|s| (extents[0] / s) * (extents[1] / s))
        .sum()
}

/// A box of YOLOX: offsets and logarithms of extents, in strides.
fn on_grid([x, y, w, h]: [f64; 4], mut anchor: usize, extents: [usize; 2]) -> [f64; 4] {
    for stride in STRIDES {
        let (rows, columns) = (extents[0] / stride, extents[1] / stride);
        if anchor < rows * columns {
            let (row, column) = ((anchor / columns) as f64, (anchor % columns) as f64);
            let stride = stride as f64;
            let [w, h] = [w, h].map(|v| v.exp() * stride);
            return [(x + column) * stride, (y + row) * stride, w, h];
        }
        anchor -= rows * columns;
    }
    [x, y, w, h]
}

impl Apart {
    fn candidates(&self, outputs: &[Option<Rows>], i: usize, least: f64) -> Option<Vec<Detection>> {
        let (boxes, scores) = (rows(outputs, self.boxes)?, rows(outputs, self.scores)?);
        let (boxes, scores) = (boxes.row(i), scores.row(i));
        let anchors = boxes.len() / 4;
        let classes = scores.len().checked_div(anchors)?;
        let none = usize::from(self.background);
        let at = |class: usize, anchor: usize| match self.channels_first {
            true => scores[class * anchors + anchor],
            false => scores[anchor * classes + class],
        };
        let mut found = Vec::new();
        for (anchor, bounds) in boxes.chunks_exact(4).enumerate() {
            let (class, score) = best((none..classes).map(|class| at(class, anchor)));
            if score > least {
                let bounds = [bounds[0], bounds[1], bounds[2], bounds[3]];
                let one = match self.corners {
                    true => corners(&bounds, score, class as f64),
                    false => Detection::centred(bounds, score, class),
                };
                found.push(one.at(anchor));
            }
        }
        Some(found)
    }
}

impl Lists {
    fn detections(&self, outputs: &[Option<Rows>], i: usize) -> Option<Vec<Detection>> {
        let row = |output: usize| Some(rows(outputs, output)?.row(i));
        let (boxes, scores) = (row(self.boxes)?, row(self.scores)?);
        let classes = row(self.classes)?;
        let count = self.count.and_then(row).and_then(|count| count.first());
        let count = count.map_or(scores.len(), |count| count.max(0.0) as usize);
        let all = boxes.chunks_exact(4).zip(scores).zip(classes).take(count);
        let found = all.map(|((b, score), class)| match self.rows_first {
            true => corners(&[b[1], b[0], b[3], b[2]], *score, *class),
            false => corners(b, *score, *class),
        });
        Some(found.collect())
    }
}

/// Outputs `[n, 4]`, `[n]` of scores and `[n]` of classes, and perhaps one of a number.
fn lists(seen: Seen<'_>) -> Option<Lists> {
    let all = || 0..seen.outputs();
    let boxes = all().find(|o| matches!(seen.sample(*o), [_, 4]))?;
    let n = seen.sample(boxes)[0];
    let list = |o: &usize| seen.sample(*o) == [n];
    let lists: Vec<usize> = all().filter(list).collect();
    let whole = |o: usize| seen.values(o).all(is_whole);
    let scores = |o: usize| seen.of(o).all(|r| r.are_floats()) && seen.values(o).all(is_score);
    // Names tell where values don't: of pictures without detections all are 0.
    let mut named = lists.iter().copied();
    let classes = named
        .find(|o| seen.is_named(*o, &["class", "label"]))
        .or_else(|| lists.iter().copied().find(|o| whole(*o)))
        .filter(|o| whole(*o))?;
    let scores = lists
        .iter()
        .copied()
        .find(|o| *o != classes && scores(*o))?;
    let number = |o: &usize| matches!(seen.sample(*o), [] | [1]) && whole(*o);
    let count = all().find(|o| number(o) && *o != classes && *o != scores);
    Some(Lists {
        boxes,
        scores,
        classes,
        count: count.filter(|o| seen.is_named(*o, &["num", "count", "valid"])),
        rows_first: seen.is_named(boxes, &["detection_boxes"]),
    })
}

/// Numbers in a row of an output whose rows begin with a box, a score and a class. Rows of seven are
/// those of a batch.
fn rows_of(seen: Seen<'_>, output: usize) -> Option<usize> {
    let width = match *seen.sample(output) {
        [_, width] if width == 6 || width > 7 => width,
        _ => return None,
    };
    let rows = || {
        seen.of(output)
            .flat_map(|rows| rows.all().1.chunks_exact(width))
    };
    let is = |r: &[f64]| {
        // Rows of padding have no box.
        let has_box = r[2] > r[0] && r[3] > r[1] || r[4] <= SCORE && r[2] >= r[0] && r[3] >= r[1];
        is_score(r[4]) && is_whole(r[5]) && has_box
    };
    let are_floats = seen.of(output).all(Rows::are_floats);
    (are_floats && rows().all(is) && rows().any(|r| r[4] > SCORE)).then_some(width)
}

fn are_batched(seen: Seen<'_>, output: usize) -> bool {
    let rows = || {
        seen.of(output)
            .flat_map(|rows| rows.all().1.chunks_exact(7))
    };
    let is = |r: &[f64]| {
        let has_box = r[3] >= r[1] && r[4] >= r[2];
        is_whole(r[0]) && r[0] >= 0.0 && is_whole(r[5]) && is_score(r[6]) && has_box
    };
    // A distribution over seven classes is none.
    let found = |r: &[f64]| r[6] > SCORE && r[3] > r[1] && r[4] > r[2];
    matches!(seen.sample(output), [_, 7] | [7]) && rows().all(is) && rows().any(found)
}

fn apart(seen: Seen<'_>) -> Option<Apart> {
    let all = || 0..seen.outputs();
    let boxes = all().find(|o| matches!(seen.sample(*o), [n, 4] if *n >= ANCHORS))?;
    let n = seen.sample(boxes)[0];
    let fits = |o: &usize| match *seen.sample(*o) {
        [a, b] => *o != boxes && (a == n || b == n) && seen.values(*o).all(is_score),
        _ => false,
    };
    let scores = all().find(fits)?;
    let channels_first = seen.sample(scores)[0] != n;
    let boxes_of = || seen.of(boxes).flat_map(|rows| rows.all().1.chunks_exact(4));
    let rows = || {
        seen.of(scores)
            .flat_map(|rows| rows.all().1.chunks_exact(seen.sample(scores)[1]))
    };
    let beside = all().find_map(|o| match *seen.sample(o) {
        [rows, width] if rows == n && width > 1 && o != boxes && o != scores => Some((o, width)),
        _ => None,
    });
    let sums_to_one = |r: &[f64]| r.len() > 1 && (r.iter().sum::<f64>() - 1.0).abs() < NEAR;
    Some(Apart {
        boxes,
        scores,
        channels_first,
        corners: boxes_of().all(|b| b[2] >= b[0] && b[3] >= b[1]),
        background: !channels_first && rows().all(sums_to_one),
        classes: seen.sample(scores)[usize::from(!channels_first)],
        beside,
    })
}

/// One tensor `[channels, anchors]`, or `[anchors, channels]` with an objectness.
fn one(seen: Seen<'_>, output: usize) -> Found {
    let [a, b] = *seen.sample(output) else {
        return Found::Other;
    };
    let (channels, anchors) = (a.min(b), a.max(b));
    if channels < 5 || anchors < ANCHORS || anchors < SLIM * channels {
        return Found::Other;
    }
    let layout = One {
        output,
        channels_first: a < b,
        channels,
        anchors,
        first: 4,
        classes: channels - 4,
        grids: None,
    };
    let samples = || {
        let all = seen
            .of(output)
            .flat_map(|rows| (0..rows.count()).map(|i| rows.row(i)));
        all.filter(|row| row.len() == channels * anchors)
    };
    let all = |channel: usize, holds: fn(f64) -> bool| {
        samples().all(|row| (0..anchors).all(|anchor| holds(layout.at(row, channel, anchor))))
    };
    // Masks and key points may follow the scores.
    let classes = (4..channels).take_while(|c| all(*c, is_score)).count();
    let objectness = usize::from(!layout.channels_first && classes > 1);
    let layout = One {
        first: 4 + objectness,
        classes: classes.saturating_sub(objectness),
        ..layout
    };
    if samples().next().is_none() || classes == 0 {
        return Found::Other;
    }
    // Extents on grids are logarithms.
    if !(2..4).all(|c| all(c, |v| v >= 0.0)) {
        let fits = |extents: &[usize; 2]| cells(*extents) == anchors;
        return match seen.extents().filter(fits) {
            _ if layout.channels_first => Found::Other,
            Some(extents) => Found::Detector(
                Layout::One(One {
                    grids: Some(extents),
                    ..layout
                }),
                "offsets on grids of strides 8, 16 and 32, an objectness and scores of classes",
            ),
            None => Found::Undecoded(
                "boxes are offsets on grids, and their number is not that of strides 8, 16 and 32",
            ),
        };
    }
    // Small numbers are other things, such as probabilities over time.
    if (0..4).all(|c| all(c, |v| v <= PIXELS)) {
        return Found::Other;
    }
    let why = match layout.channels_first {
        true => "channels of boxes by centre and extents, then of scores",
        false => "rows of boxes by centre and extents, an objectness, then scores",
    };
    Found::Detector(Layout::One(layout), why)
}

#[cfg(test)]
mod tests;
