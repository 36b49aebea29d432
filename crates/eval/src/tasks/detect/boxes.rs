//! Boxes, non-maximum suppression, and pairs of detections.

use std::cmp::Ordering;

/// Of two boxes that overlap by more, the one of the lower score goes.
const OVERLAP: f64 = 0.45;
/// The same of boxes of one class, where detections are ranked by score: that of YOLOX's evaluation.
const OVERLAP_OF_A_CLASS: f64 = 0.65;
/// Detections of a class that overlap by so much are the same.
pub const SAME: f64 = 0.5;

/// A detection in one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Left, top, right and bottom.
    pub corners: [f64; 4],
    pub score: f64,
    pub class: usize,
    /// The anchor or row that it is of, from 0.
    pub place: usize,
}

impl Detection {
    /// Of a box by its corners.
    pub fn cornered(corners: [f64; 4], score: f64, class: usize) -> Self {
        Self {
            corners,
            score,
            class,
            place: 0,
        }
    }

    /// Of a box by its centre and extents.
    pub fn centred([x, y, w, h]: [f64; 4], score: f64, class: usize) -> Self {
        let corners = [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0];
        Self::cornered(corners, score, class)
    }

    /// The same, of an anchor or row.
    pub fn at(self, place: usize) -> Self {
        Self { place, ..self }
    }

    /// Intersection over union of two boxes.
    fn overlap(&self, other: &Self) -> f64 {
        let [a, b] = [&self.corners, &other.corners];
        let both = intersection(a, b);
        let union = area(a) + area(b) - both;
        // Of boxes without an area, those that are equal are the same.
        match union == 0.0 {
            true => f64::from(u8::from(a == b)),
            false => both / union,
        }
    }
}

/// Area of a box.
pub fn area(c: &[f64; 4]) -> f64 {
    (c[2] - c[0]).max(0.0) * (c[3] - c[1]).max(0.0)
}

/// Area that two boxes share.
pub fn intersection(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let side = |i: usize| (a[i + 2].min(b[i + 2]) - a[i].max(b[i])).max(0.0);
    side(0) * side(1)
}

/// By falling score, equal ones in the order that they came in.
pub fn sort(detections: &mut [Detection]) {
    let falling = |a: &Detection, b: &Detection| b.score.partial_cmp(&a.score);
    detections.sort_by(|a, b| falling(a, b).unwrap_or(Ordering::Equal));
}

/// Non-maximum suppression, across classes: one place has one object, of its best class. By falling
/// score.
pub fn suppressed(mut candidates: Vec<Detection>) -> Vec<Detection> {
    sort(&mut candidates);
    let mut kept: Vec<Detection> = Vec::new();
    for one in candidates {
        if !kept.iter().any(|k| k.overlap(&one) > OVERLAP) {
            kept.push(one);
        }
    }
    kept
}

/// The best `most` of each class by falling score; with `suppress`, of those that overlap no better one of
/// their class: non-maximum suppression within classes.
pub fn ranked(mut candidates: Vec<Detection>, suppress: bool, most: usize) -> Vec<Detection> {
    sort(&mut candidates);
    let mut kept: Vec<Detection> = Vec::new();
    for one in candidates {
        let mut better = kept.iter().filter(|k| k.class == one.class);
        let is_full = better.clone().nth(most.saturating_sub(1)).is_some();
        let covers = |k: &Detection| suppress && k.overlap(&one) > OVERLAP_OF_A_CLASS;
        let is_left = !is_full && !better.any(covers);
        if is_left {
            kept.push(one);
        }
    }
    kept
}

/// Pairs of detections of a class that are the same, also by `agrees`: each of `ours`, the highest
/// score first, takes the one of `theirs` that is left and overlaps it most.
pub fn pairs(
    ours: &[Detection],
    theirs: &[Detection],
    agrees: impl Fn(&Detection, &Detection) -> bool,
) -> usize {
    let mut taken = vec![false; theirs.len()];
    let mut count = 0;
    for one in ours {
        let free = theirs.iter().enumerate();
        let free = free.filter(|(i, t)| !taken[*i] && t.class == one.class);
        let overlaps = free.map(|(i, t)| (i, one.overlap(t)));
        let same = overlaps.filter(|(i, overlap)| *overlap >= SAME && agrees(one, &theirs[*i]));
        if let Some((best, _)) = same.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))) {
            taken[best] = true;
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64, score: f64, class: usize) -> Detection {
        Detection::centred([x, 5.0, 10.0, 10.0], score, class)
    }

    #[test]
    fn overlaps_are_intersections_over_unions() {
        assert_eq!(at(5.0, 1.0, 0).corners, [0.0, 0.0, 10.0, 10.0]);
        assert_eq!(at(5.0, 1.0, 0).overlap(&at(5.0, 1.0, 0)), 1.0);
        assert!((at(5.0, 1.0, 0).overlap(&at(10.0, 1.0, 0)) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(at(5.0, 1.0, 0).overlap(&at(20.0, 1.0, 0)), 0.0);
        let point = |x| Detection::centred([x, 1.0, 0.0, 0.0], 1.0, 0);
        assert_eq!(point(1.0).overlap(&point(1.0)), 1.0);
        assert_eq!(point(1.0).overlap(&point(2.0)), 0.0);
    }

    #[test]
    fn the_highest_score_of_a_place_stays() {
        let all = vec![
            at(6.0, 0.5, 0),
            at(5.0, 0.9, 0),
            at(5.0, 0.4, 1),
            at(30.0, 0.2, 0),
        ];
        let kept: Vec<f64> = suppressed(all).iter().map(|d| d.score).collect();
        assert_eq!(kept, [0.9, 0.2]);
    }

    #[test]
    fn the_best_of_each_class_stay_up_to_their_number() {
        let all = vec![
            at(6.0, 0.5, 0),
            at(5.0, 0.9, 0),
            at(5.0, 0.4, 1),
            at(30.0, 0.2, 0),
            at(60.0, 0.1, 0),
        ];
        let scores = |suppress, most| -> Vec<f64> {
            let kept = ranked(all.clone(), suppress, most);
            kept.iter().map(|d| d.score).collect()
        };
        assert_eq!(scores(true, 9), [0.9, 0.4, 0.2, 0.1]);
        assert_eq!(scores(true, 2), [0.9, 0.4, 0.2]);
        assert_eq!(scores(false, 2), [0.9, 0.5, 0.4]);
    }

    #[test]
    fn every_detection_has_one_pair_at_most() {
        let ours = [
            at(5.0, 0.9, 0),
            at(6.0, 0.8, 0),
            at(40.0, 0.7, 0),
            at(5.0, 0.6, 1),
        ];
        let theirs = [at(6.0, 0.5, 0), at(41.0, 0.5, 1), at(5.0, 0.4, 1)];
        let all = |a: &[Detection], b: &[Detection]| pairs(a, b, |_, _| true);
        assert_eq!(all(&ours, &theirs), 2);
        assert_eq!(all(&theirs, &ours), 2);
        assert_eq!(all(&ours, &ours), 4);
        assert_eq!(all(&ours, &[]), 0);
        assert_eq!(pairs(&ours, &ours, |a, _| a.class == 1), 1);
    }
}
