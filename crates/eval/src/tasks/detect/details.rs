//! Details of an object beside its box: its mask, its key points or its angle.

use super::boxes::{Detection, SAME, area};
use super::layout::{Layout, Rest, is_score};
use crate::evaluate::rows::Rows;
use crate::sparse::SCORE;
use crate::tasks::seen::Seen;

/// Prototypes have a row for so many rows of the picture, where its extents are not known: those of YOLOv8.
const STRIDE: f64 = 4.0;
/// Standard deviation of a key point, as a share of the root of its box's area: a value between those of COCO's
/// `kpt_oks_sigmas`, 0.025 for eyes and 0.107 for hips.
const DEVIATION: f64 = 0.05;
/// Key points of a lower visibility are not compared.
const VISIBLE: f64 = 0.5;
/// Share of numbers that lie near their boxes, at least, where they are key points.
const NEAR: f64 = 0.9;

/// The values that detectors give of an object beside its box, and their meaning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Details {
    rest: Rest,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Coefficients of masks `[coefficients, rows, columns]` in an output of their own: YOLOv5, v8 and v11.
    Masks {
        prototypes: usize,
        extents: [usize; 2],
        /// Columns and rows of a unit of boxes.
        scale: [f64; 2],
    },
    /// Two or three numbers for each point: x, y, and visibility.
    Points { each: usize },
    /// The angle by which a box is turned about its centre, radians.
    Angle,
}

impl Details {
    /// Those of the values that a layout leaves, where boxes are in fractions of the picture's extents
    /// or not. Of pictures without detections none but masks are known.
    pub fn of(seen: Seen<'_>, layout: &Layout, relative: bool) -> Option<Self> {
        let rest = layout.rest()?;
        let kind = masks(seen, &rest, relative).or_else(|| points(seen, layout, &rest))?;
        Some(Self { rest, kind })
    }

    /// The outputs of the values, and of the masks' prototypes.
    pub fn outputs(&self) -> Vec<usize> {
        let mut all = vec![self.rest.output];
        if let Kind::Masks { prototypes, .. } = self.kind {
            all.push(prototypes);
        }
        all
    }

    /// Such as `masks`.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Masks { .. } => "masks",
            Kind::Points { .. } => "key points",
            Kind::Angle => "angles",
        }
    }

    /// True where detections of two models in sample `i` of a batch are the same: their masks or
    /// turned boxes overlap by as much as boxes have to, or their key points are as similar (OKS, COCO's
    /// object keypoint similarity).
    pub fn agree(
        &self,
        outputs: [&[Option<Rows>]; 2],
        i: usize,
        detections: [&Detection; 2],
    ) -> bool {
        let own = |m: usize| {
            let rows = outputs[m].get(self.rest.output)?.as_ref()?;
            self.rest.values(rows.row(i), detections[m].place)
        };
        let (Some(a), Some(b)) = (own(0), own(1)) else {
            return false;
        };
        let similarity = match self.kind {
            Kind::Masks {
                prototypes,
                extents,
                scale,
            } => {
                let mask = |m: usize, coefficients: &[f64]| {
                    let rows = outputs[m].get(prototypes)?.as_ref()?;
                    let corners = detections[m].corners;
                    let corners = [0, 1, 2, 3].map(|c| corners[c] * scale[c % 2]);
                    Some(Mask::of(rows.row(i), coefficients, extents, corners))
                };
                match (mask(0, &a), mask(1, &b)) {
                    (Some(a), Some(b)) => a.overlap(&b),
                    _ => 0.0,
                }
            }
            Kind::Points { each } => similarity(&a, &b, each, area(&detections[0].corners)),
            Kind::Angle => turned_overlap([
                turned(&detections[0].corners, a[0]),
                turned(&detections[1].corners, b[0]),
            ]),
        };
        similarity >= SAME
    }
}

/// Masks: another output has a plane for every value.
fn masks(seen: Seen<'_>, rest: &Rest, relative: bool) -> Option<Kind> {
    let mut others = (0..seen.outputs()).filter(|o| *o != rest.output);
    others.find_map(|prototypes| {
        let [planes, rows, columns] = *seen.sample(prototypes) else {
            return None;
        };
        let scale = match seen.extents() {
            _ if relative => [columns as f64, rows as f64],
            Some([height, width]) => [columns as f64 / width as f64, rows as f64 / height as f64],
            None => [1.0 / STRIDE; 2],
        };
        (planes == rest.count && planes > 1).then_some(Kind::Masks {
            prototypes,
            extents: [rows, columns],
            scale,
        })
    })
}

/// Key points, or the one angle, by those of the detections of runs that were seen.
fn points(seen: Seen<'_>, layout: &Layout, rest: &Rest) -> Option<Kind> {
    let mut found = Vec::new();
    for run in seen.runs {
        let Some(Some(rows)) = run.get(rest.output) else {
            continue;
        };
        for i in 0..rows.count() {
            for one in layout.candidates(run, i, SCORE) {
                let values = rest.values(rows.row(i), one.place);
                found.extend(values.map(|values| (one.corners, values)));
            }
        }
    }
    let all = |holds: fn(&[f64]) -> bool| found.iter().all(|(_, values)| holds(values));
    let is_angle = rest.count == 1 && all(|v| v[0].abs() <= std::f64::consts::PI);
    let share = |each: usize| {
        let divides = rest.count.is_multiple_of(each) && rest.count >= 2 * each;
        match divides {
            true => share_near(&found, each),
            false => 0.0,
        }
    };
    let visible = all(|v| v.chunks_exact(3).all(|point| is_score(point[2])));
    let (two, three) = (share(2), if visible { share(3) } else { 0.0 });
    match found.is_empty() {
        true => None,
        false if is_angle => Some(Kind::Angle),
        false if two.max(three) < NEAR => None,
        // Of points in fractions, coordinates look like visibilities.
        false if three > two => Some(Kind::Points { each: 3 }),
        false => Some(Kind::Points { each: 2 }),
    }
}

/// Share of points that lie in their box, or no further from it than half of its extents.
fn share_near(found: &[([f64; 4], Vec<f64>)], each: usize) -> f64 {
    let near = |corners: &[f64; 4], point: &[f64]| {
        (0..2).all(|i| {
            let (from, to) = (corners[i], corners[i + 2]);
            let half = (to - from) / 2.0;
            (from - half..=to + half).contains(&point[i])
        })
    };
    let all = found.iter().flat_map(|(corners, values)| {
        let points = values.chunks_exact(each);
        points.map(move |point| near(corners, point))
    });
    let all: Vec<bool> = all.collect();
    let inside = all.iter().filter(|is_near| **is_near).count();
    inside as f64 / all.len().max(1) as f64
}

/// COCO's object keypoint similarity: the mean of `exp(-d² / (8 area σ²))` over the points that `a` shows.
fn similarity(a: &[f64], b: &[f64], each: usize, area: f64) -> f64 {
    let spread = 8.0 * area.max(f64::MIN_POSITIVE) * DEVIATION * DEVIATION;
    let pairs = a.chunks_exact(each).zip(b.chunks_exact(each));
    let seen = pairs.filter(|(a, _)| a.get(2).is_none_or(|visible| *visible >= VISIBLE));
    let all = seen.map(|(a, b)| {
        let square = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
        (-square / spread).exp()
    });
    let all: Vec<f64> = all.collect();
    match all.len() {
        0 => 1.0,
        n => all.iter().sum::<f64>() / n as f64,
    }
}

/// The cells of a mask in its box.
struct Mask {
    /// First and last column and row, the last ones not included.
    columns: [usize; 2],
    rows: [usize; 2],
    cells: Vec<bool>,
}

impl Mask {
    /// Where a sum of prototypes is above 0 (its sigmoid above 0.5), in a box by its corners in cells.
    fn of(
        prototypes: &[f64],
        coefficients: &[f64],
        extents: [usize; 2],
        corners: [f64; 4],
    ) -> Self {
        let [height, width] = extents;
        // A cell is in the box where its corner is: `crop_mask` of YOLOv8.
        let bound = |v: f64, most: usize| v.ceil().clamp(0.0, most as f64) as usize;
        let columns = [bound(corners[0], width), bound(corners[2], width)];
        let rows = [bound(corners[1], height), bound(corners[3], height)];
        let cells =
            (rows[0]..rows[1]).flat_map(|y| (columns[0]..columns[1]).map(move |x| y * width + x));
        let plane = height * width;
        let is_on = |cell: usize| {
            let terms = coefficients.iter().enumerate();
            let at = |k: usize| prototypes.get(k * plane + cell).copied().unwrap_or(0.0);
            terms.map(|(k, c)| c * at(k)).sum::<f64>() > 0.0
        };
        let cells = cells.map(is_on).collect();
        Self {
            columns,
            rows,
            cells,
        }
    }

    fn has(&self, x: usize, y: usize) -> bool {
        let within = |[from, to]: [usize; 2], v| (from..to).contains(&v);
        within(self.columns, x) && within(self.rows, y) && {
            let width = self.columns[1] - self.columns[0];
            self.cells[(y - self.rows[0]) * width + x - self.columns[0]]
        }
    }

    /// Intersection over union; 1 of two that have no cell.
    fn overlap(&self, other: &Self) -> f64 {
        let hull = |a: [usize; 2], b: [usize; 2]| a[0].min(b[0])..a[1].max(b[1]);
        let (mut both, mut either) = (0usize, 0usize);
        for y in hull(self.rows, other.rows) {
            for x in hull(self.columns, other.columns) {
                let (a, b) = (self.has(x, y), other.has(x, y));
                both += usize::from(a && b);
                either += usize::from(a || b);
            }
        }
        match either {
            0 => 1.0,
            _ => both as f64 / either as f64,
        }
    }
}

/// The corners of a box that is turned about its centre.
fn turned(corners: &[f64; 4], angle: f64) -> [[f64; 2]; 4] {
    let [x, y] = [0, 1].map(|i| (corners[i] + corners[i + 2]) / 2.0);
    let [w, h] = [0, 1].map(|i| (corners[i + 2] - corners[i]) / 2.0);
    let (sin, cos) = angle.sin_cos();
    [[-w, -h], [w, -h], [w, h], [-w, h]]
        .map(|[u, v]| [x + u * cos - v * sin, y + u * sin + v * cos])
}

/// Intersection over union of two convex polygons whose corners go the same way round (Sutherland and
/// Hodgman, CACM 17(1), 1974).
fn turned_overlap([a, b]: [[[f64; 2]; 4]; 2]) -> f64 {
    let mut both = a.to_vec();
    for (i, from) in b.iter().enumerate() {
        let to = b[(i + 1) % b.len()];
        let side = |p: &[f64; 2]| {
            (to[0] - from[0]) * (p[1] - from[1]) - (to[1] - from[1]) * (p[0] - from[0])
        };
        let mut kept = Vec::new();
        for (j, p) in both.iter().enumerate() {
            let q = both[(j + 1) % both.len()];
            let (at_p, at_q) = (side(p), side(&q));
            if at_p >= 0.0 {
                kept.push(*p);
            }
            if (at_p < 0.0) != (at_q < 0.0) {
                let part = at_p / (at_p - at_q);
                kept.push([0, 1].map(|k| p[k] + part * (q[k] - p[k])));
            }
        }
        both = kept;
    }
    let both = polygon_area(&both);
    let union = polygon_area(&a) + polygon_area(&b) - both;
    match union > 0.0 {
        true => both / union,
        false => f64::from(u8::from(a == b)),
    }
}

/// The shoelace formula.
fn polygon_area(corners: &[[f64; 2]]) -> f64 {
    let next = corners.iter().cycle().skip(1);
    let terms = corners
        .iter()
        .zip(next)
        .map(|(p, q)| p[0] * q[1] - p[1] * q[0]);
    terms.sum::<f64>().abs() / 2.0
}

#[cfg(test)]
mod tests;
