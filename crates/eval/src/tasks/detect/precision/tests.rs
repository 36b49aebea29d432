#![allow(clippy::unwrap_used)]
use super::super::boxes::sort;
use super::*;

/// Numbers in `[0, 1)` that Python has as well.
struct Draws(u32);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.0) / 2f64.powi(32)
    }

    fn below(&mut self, n: usize) -> usize {
        (n as f64 * self.next()) as usize
    }

    /// Left, top, width and height.
    fn bounds(&mut self) -> [f64; 4] {
        let [x, y] = [80.0, 60.0].map(|most| most * self.next());
        let [w, h] = [36.0, 36.0].map(|most| 4.0 + most * self.next());
        [x, y, w, h]
    }
}

/// Objects and detections that are drawn, of several pictures.
struct Case {
    seed: u32,
    pictures: usize,
    classes: usize,
    /// A fifth of the objects are crowds.
    crowds: bool,
    /// Scores have one decimal, so that many are equal.
    decimals: bool,
}

fn corners([x, y, w, h]: [f64; 4]) -> [f64; 4] {
    [x, y, x + w, y + h]
}

impl Case {
    fn matched(&self) -> Vec<Matched> {
        let mut draws = Draws(self.seed);
        (0..self.pictures)
            .map(|_| self.picture(&mut draws))
            .collect()
    }

    fn picture(&self, draws: &mut Draws) -> Matched {
        let mut objects = Vec::new();
        for _ in 0..draws.below(6) {
            let bounds = draws.bounds();
            let class = draws.below(self.classes);
            let crowd = self.crowds && draws.next() < 0.2;
            objects.push((bounds, class, crowd));
        }
        let mut found = Vec::new();
        for ([x, y, w, h], class, _) in &objects {
            if draws.next() < 0.8 {
                let moved = [(x, w), (y, h)].map(|(v, s)| v + 0.25 * s * (draws.next() - 0.5));
                let scaled = [w, h].map(|s| s * (0.8 + 0.4 * draws.next()));
                let score = 0.2 + 0.8 * draws.next();
                let other = usize::from(draws.next() < 0.1);
                let bounds = [moved[0], moved[1], scaled[0], scaled[1]];
                found.push((bounds, score, (class + other) % self.classes));
            }
        }
        for _ in 0..draws.below(4) {
            let bounds = draws.bounds();
            let score = 0.7 * draws.next();
            found.push((bounds, score, draws.below(self.classes)));
        }
        let mut found: Vec<Detection> = found
            .into_iter()
            .map(|(bounds, score, class)| {
                let score = match self.decimals {
                    true => (score * 10.0).trunc() / 10.0,
                    false => score,
                };
                Detection::cornered(corners(bounds), score, class)
            })
            .collect();
        sort(&mut found);
        let truths = objects.into_iter().map(|(bounds, class, crowd)| Truth {
            corners: corners(bounds),
            class,
            crowd,
        });
        Matched::of(&found, &truths.collect::<Vec<_>>())
    }
}

fn values(pictures: &[Matched]) -> [f64; 2] {
    let seen = measures("y", pictures);
    [seen[0].value, seen[1].value]
}

/// Figures that pycocotools 2.0.11 has of the same boxes (`COCOeval.stats[:2]`).
#[test]
fn figures_are_those_of_pycocotools() {
    let case = |seed, pictures, classes, crowds, decimals| Case {
        seed,
        pictures,
        classes,
        crowds,
        decimals,
    };
    for (case, expected) in [
        (
            case(1, 40, 3, false, false),
            [0.242_164_842_179_100_2, 0.592_769_017_641_324_4],
        ),
        (
            case(2, 40, 3, true, false),
            [0.238_392_004_756_088_9, 0.573_364_586_970_440_2],
        ),
        (
            case(3, 150, 2, true, false),
            [0.209_472_369_536_583_77, 0.524_909_193_705_552_7],
        ),
        (
            case(4, 30, 4, true, true),
            [0.234_731_106_212_650_11, 0.561_352_853_468_867_8],
        ),
        (
            case(5, 6, 5, false, false),
            [0.195_619_990_570_485_62, 0.459_783_121_169_259_73],
        ),
    ] {
        let seen = values(&case.matched());
        for (seen, expected) in seen.iter().zip(expected) {
            assert!(
                (seen - 100.0 * expected).abs() < 1e-9,
                "{}: {seen} {expected}",
                case.seed
            );
        }
    }
}

fn at(x: f64, score: f64) -> Detection {
    Detection::cornered([x, 0.0, x + 10.0, 10.0], score, 0)
}

fn truth(x: f64, crowd: bool) -> Truth {
    Truth {
        corners: [x, 0.0, x + 10.0, 10.0],
        class: 0,
        crowd,
    }
}

#[test]
fn figures_by_hand() {
    // Found, missed: half of the recalls at a precision of 1, 51 of 101 with the first.
    let half = Matched::of(&[at(0.0, 0.9)], &[truth(0.0, false), truth(50.0, false)]);
    let [all, at_half] = values(std::slice::from_ref(&half));
    assert!((all - 5100.0 / 101.0).abs() < 1e-9 && (all - at_half).abs() < 1e-9);
    // A detection before it that is of nothing halves the precision.
    let late = Matched::of(&[at(90.0, 0.95), at(0.0, 0.9)], &[truth(0.0, false)]);
    assert_eq!(values(&[late]), [50.0, 50.0]);
    // Whatever lies in a crowd does not count, and the crowd is no object to be found.
    let crowd = [at(0.0, 0.9), at(100.0, 0.8), at(101.0, 0.7)];
    let crowd = Matched::of(&crowd, &[truth(100.0, true), truth(0.0, false)]);
    assert_eq!(values(&[crowd]), [100.0, 100.0]);
    // An IoU of 2/3 is enough for 4 of the 10 thresholds.
    let near = Matched::of(&[at(2.0, 0.9)], &[truth(0.0, false)]);
    let [all, at_half] = values(&[near]);
    assert!((all - 40.0).abs() < 1e-9 && at_half == 100.0, "{all}");
    assert!(
        values(&[Matched::of(&[at(0.0, 0.9)], &[])])
            .iter()
            .all(|v| v.is_nan())
    );
}

#[test]
fn errors_are_those_of_leaving_a_picture_out() {
    let case = |pictures| Case {
        seed: 9,
        pictures,
        classes: 3,
        crowds: true,
        decimals: false,
    };
    let pictures = case(12).matched();
    let seen = measures("y", &pictures);
    let without = (0..12).map(|i| {
        let mut rest = pictures.clone();
        rest.remove(i);
        values(&rest)[0]
    });
    let expected = jackknife(&without.collect::<Vec<_>>()).unwrap();
    assert!((seen[0].stderr.unwrap() - expected).abs() < 1e-9);
    assert_eq!((seen[0].n, seen[0].samples.len()), (12, 12));
    // Groups of many pictures tell the same within what errors of errors are.
    let many = measures("y", &case(1024).matched());
    let few = measures("y", &case(128).matched());
    let ratio = few[0].stderr.unwrap() / many[0].stderr.unwrap();
    assert!((ratio / 8f64.sqrt() - 1.0).abs() < 0.4, "{ratio}");
}
