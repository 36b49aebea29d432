//! Places for labels in a chart, so that none covers another.

/// A rectangle: left, top, width and height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

impl Rect {
    /// Around a point.
    pub fn around(x: f64, y: f64, radius: f64) -> Self {
        Self {
            x: x - radius,
            y: y - radius,
            w: 2.0 * radius,
            h: 2.0 * radius,
        }
    }

    /// True where two rectangles share an area.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.w
            && other.x < self.x + self.w
            && self.y < other.y + other.h
            && other.y < self.y + self.h
    }

    fn holds(&self, (x, y): (f64, f64)) -> bool {
        x >= self.x && x <= self.x + self.w && y >= self.y && y <= self.y + self.h
    }

    fn inside(&self, outer: &Self) -> bool {
        self.x >= outer.x
            && self.y >= outer.y
            && self.x + self.w <= outer.x + outer.w
            && self.y + self.h <= outer.y + outer.h
    }
}

/// Cost of a label that is nearer to the mark of another point than [`NEAR`], in samples of
/// lines covered.
const CONFUSING: usize = 6;
const NEAR: f64 = 10.0;
/// Pixels between the samples of a line.
const SAMPLE: f64 = 3.0;

/// Finds free places, first come first served.
#[derive(Debug)]
pub(super) struct Placer {
    bounds: Rect,
    taken: Vec<Rect>,
    marks: Vec<(f64, f64)>,
    lines: Vec<(f64, f64)>,
}

impl Placer {
    /// Of labels within `bounds`.
    pub fn new(bounds: Rect) -> Self {
        Self {
            bounds,
            taken: Vec::new(),
            marks: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Keeps labels off a mark, and those of others away from it.
    pub fn mark(&mut self, (x, y): (f64, f64), radius: f64) {
        self.taken.push(Rect::around(x, y, radius));
        self.marks.push((x, y));
    }

    /// Has labels prefer not to lie on this line.
    pub fn avoid_line(&mut self, from: (f64, f64), to: (f64, f64)) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let steps = (length / SAMPLE).clamp(1.0, 2000.0) as usize;
        self.lines.extend((0..=steps).map(|i| {
            let t = i as f64 / steps as f64;
            (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1))
        }));
    }

    /// A free place for a label of a point, at one of several distances from it, nearer ones
    /// first: the one that costs least, of lines covered and of marks that it could be taken
    /// to belong to. `None` where every place is taken or costs more than `limit`.
    pub fn place(
        &mut self,
        at: (f64, f64),
        size: (f64, f64),
        gaps: &[f64],
        limit: usize,
    ) -> Option<Rect> {
        let mut best: Option<(usize, Rect)> = None;
        for (farther, gap) in gaps.iter().enumerate() {
            for spot in self.spots(at, size, *gap) {
                if !spot.inside(&self.bounds) || self.taken.iter().any(|t| t.overlaps(&spot)) {
                    continue;
                }
                let cost = 2 * farther + self.cost(&spot, at);
                if cost <= limit && best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, spot));
                }
            }
        }
        let (_, spot) = best?;
        self.taken.push(spot);
        Some(spot)
    }

    /// Places around a point in order of preference.
    fn spots(&self, (x, y): (f64, f64), (w, h): (f64, f64), gap: f64) -> [Rect; 8] {
        let (above, below) = (y - gap - h, y + gap);
        let slant = gap * 0.6;
        // Pushed back into the chart from its sides.
        let most = (self.bounds.x + self.bounds.w - w).max(self.bounds.x);
        let centred = (x - w / 2.0).clamp(self.bounds.x, most);
        [
            (centred, above),
            (centred, below),
            (x + gap, y - h / 2.0),
            (x - gap - w, y - h / 2.0),
            (x + slant, y + slant),
            (x - slant - w, y - slant - h),
            (x + slant, y - slant - h),
            (x - slant - w, y + slant),
        ]
        .map(|(x, y)| Rect { x, y, w, h })
    }

    fn cost(&self, spot: &Rect, at: (f64, f64)) -> usize {
        let near = Rect {
            x: spot.x - NEAR,
            y: spot.y - NEAR,
            w: spot.w + 2.0 * NEAR,
            h: spot.h + 2.0 * NEAR,
        };
        let other = |m: &(f64, f64)| (m.0 - at.0).hypot(m.1 - at.1) > 1.0;
        let confusing = self.marks.iter().filter(|m| other(m) && near.holds(**m));
        let covered = self.lines.iter().filter(|p| spot.holds(**p));
        covered.count() + CONFUSING * confusing.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Rect = Rect {
        x: 0.0,
        y: 0.0,
        w: 100.0,
        h: 100.0,
    };

    #[test]
    fn labels_never_overlap_and_stay_inside() {
        let mut placer = Placer::new(BOUNDS);
        let mut placed = Vec::new();
        for i in 0..40 {
            let at = (f64::from(i * 37 % 100), f64::from(i * 53 % 100));
            if let Some(spot) = placer.place(at, (20.0, 10.0), &[5.0, 10.0], 100) {
                assert!(spot.inside(&BOUNDS), "{spot:?}");
                assert!(placed.iter().all(|p: &Rect| !p.overlaps(&spot)), "{spot:?}");
                placed.push(spot);
            }
        }
        assert!((8..40).contains(&placed.len()), "{}", placed.len());
    }

    #[test]
    fn lines_and_marks_of_others_are_avoided() {
        let at = (50.0, 50.0);
        let top = |placer: &mut Placer| {
            let spot = placer.place(at, (20.0, 10.0), &[5.0], 0);
            spot.map(|s| s.y)
        };
        assert_eq!(top(&mut Placer::new(BOUNDS)), Some(35.0));
        let mut placer = Placer::new(BOUNDS);
        placer.avoid_line((0.0, 40.0), (100.0, 40.0));
        assert_eq!(top(&mut placer), Some(55.0));
        let mut placer = Placer::new(BOUNDS);
        placer.mark((50.0, 30.0), 3.0);
        assert_eq!(top(&mut placer), Some(55.0));
        // A mark of its own does not count, and a chart may be full.
        placer.mark(at, 3.0);
        placer.taken.push(Rect::around(50.0, 60.0, 5.0));
        assert_eq!(top(&mut placer), Some(45.0));
        placer.taken.push(BOUNDS);
        assert_eq!(top(&mut placer), None);
    }

    #[test]
    fn a_label_at_the_side_is_pushed_back_in() {
        let mut placer = Placer::new(BOUNDS);
        let spot = placer.place((99.0, 50.0), (40.0, 10.0), &[5.0], 0);
        assert_eq!(spot.map(|s| (s.x, s.y)), Some((60.0, 35.0)));
    }
}
