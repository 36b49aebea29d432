//! A MAC budget for the whole model, spent where it keeps most energy.

use crate::candidate::Candidate;
use crate::error::PassError;
use crate::kept::Kept;
use crate::plan::{Choice, Plan, Planner};
use crate::survey::Survey;

/// Keeps at most a fraction of the model's MACs, allocated by marginal energy per MAC.
///
/// The loss of a candidate is `-ln(energy)`, so that the sum over layers is the logarithm of
/// the product of the kept energies (the criterion of Zhang et al. 2015, arXiv 1505.06798,
/// section 2.4). Each layer offers the lower convex hull of its (MACs, loss) points, the
/// original at loss 0 among them; steps along the hulls are taken in the order of least loss
/// per MAC saved until the budget is met, which solves the relaxed multiple-choice knapsack
/// exactly. Single steps are then taken back where the rest of the budget allows it.
#[derive(Debug, Clone, Copy)]
pub struct MacBudget {
    /// Fraction of the model's MACs to keep, in `(0, 1)`.
    pub keep: f64,
}

/// A point of a layer's hull: MACs, loss, and the candidate (`None`: the original).
#[derive(Debug, Clone, Copy)]
struct Point {
    macs: u64,
    loss: f64,
    candidate: Option<usize>,
}

/// A layer's hull, from the original to the cheapest, and where the plan stands on it.
struct Layer {
    index: usize,
    hull: Vec<Point>,
    at: usize,
}

impl Planner for MacBudget {
    fn name(&self) -> &'static str {
        "mac-budget"
    }

    fn plan(&self, survey: &Survey, total_macs: u64) -> Result<Plan, PassError> {
        if !(self.keep > 0.0 && self.keep < 1.0) {
            return Err(PassError::Budget(self.keep));
        }
        let mut layers = hulls(survey);
        if layers.iter().all(|l| l.hull.len() < 2) {
            return Err(PassError::NothingToDo(survey.kept().collect()));
        }
        let budget = (self.keep * total_macs as f64).floor() as u64;
        let mut macs = total_macs;
        let mut steps = steps(&layers);
        steps.sort_by(|a, b| a.marginal_loss.total_cmp(&b.marginal_loss));
        for step in &steps {
            if macs <= budget {
                break;
            }
            macs -= step.saved;
            layers[step.layer].at += 1;
        }
        if macs > budget {
            return Err(PassError::Unreachable {
                target: self.keep,
                least: macs as f64 / total_macs as f64,
            });
        }
        buy_back(&mut layers, budget - macs);
        let mut chosen = vec![None; survey.layers.len()];
        for layer in &layers {
            chosen[layer.index] = layer.hull[layer.at].candidate;
        }
        Ok(Plan::choosing(survey, |i, candidates| {
            match chosen[i].and_then(|c| candidates.get(c)) {
                Some(candidate) => Choice::Separate(candidate.clone()),
                None if layers.iter().any(|l| l.index == i) => Choice::Keep(Kept::Planned),
                None => Choice::Keep(Kept::UnknownShape),
            }
        }))
    }
}

struct Step {
    layer: usize,
    saved: u64,
    marginal_loss: f64,
}

fn steps(layers: &[Layer]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (layer, l) in layers.iter().enumerate() {
        for pair in l.hull.windows(2) {
            let saved = pair[0].macs - pair[1].macs;
            steps.push(Step {
                layer,
                saved,
                marginal_loss: (pair[1].loss - pair[0].loss) / saved as f64,
            });
        }
    }
    steps
}

/// Undoes steps that the rest of the budget pays for, those with the greatest gain first.
fn buy_back(layers: &mut [Layer], mut left: u64) {
    loop {
        let gain = |l: &Layer| l.hull[l.at].loss - l.hull[l.at - 1].loss;
        let affordable = layers
            .iter_mut()
            .filter(|l| l.at > 0 && l.hull[l.at - 1].macs - l.hull[l.at].macs <= left);
        let Some(best) = affordable.max_by(|a, b| gain(a).total_cmp(&gain(b))) else {
            return;
        };
        left -= best.hull[best.at - 1].macs - best.hull[best.at].macs;
        best.at -= 1;
    }
}

fn hulls(survey: &Survey) -> Vec<Layer> {
    let layers = survey.layers.iter().enumerate();
    layers
        .filter_map(|(index, layer)| {
            let (site, candidates) = layer.site.as_ref().ok()?;
            let hull = hull(site.macs?, candidates);
            Some(Layer { index, hull, at: 0 })
        })
        .collect()
}

/// Lower convex hull from the original to the cheapest candidate: loss per MAC saved rises.
fn hull(original: u64, candidates: &[Candidate]) -> Vec<Point> {
    let mut points: Vec<Point> = candidates
        .iter()
        .enumerate()
        .filter(|(_, c)| c.macs < original)
        .map(|(i, c)| Point {
            macs: c.macs,
            loss: -c.energy.max(1e-12).ln(),
            candidate: Some(i),
        })
        .collect();
    points.sort_by(|a, b| b.macs.cmp(&a.macs).then(a.loss.total_cmp(&b.loss)));
    let mut hull = vec![Point {
        macs: original,
        loss: 0.0,
        candidate: None,
    }];
    let slope = |a: &Point, b: &Point| (b.loss - a.loss) / (a.macs - b.macs) as f64;
    for p in points {
        if hull.last().is_some_and(|last| last.macs == p.macs) {
            continue;
        }
        while let [.., a, b] = hull.as_slice() {
            if slope(a, b) < slope(b, &p) {
                break;
            }
            hull.pop();
        }
        hull.push(p);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(macs: u64, energy: f64) -> Candidate {
        Candidate {
            family: "dw-pw".into(),
            rank: 1,
            macs_before: 100,
            macs,
            params: 0,
            energy,
            weight_error: (1.0 - energy).sqrt(),
            lowering: None,
        }
    }

    #[test]
    fn the_hull_is_convex_and_drops_dominated_points() {
        let c = [
            candidate(20, 0.5),
            candidate(40, 0.51), // barely better than 20: above the hull
            candidate(60, 0.9),
            candidate(80, 0.6),  // dominated by 60
            candidate(120, 1.0), // costlier than the original
        ];
        let kept: Vec<u64> = hull(100, &c).iter().map(|p| p.macs).collect();
        assert_eq!(kept, [100, 60, 20]);
        let points = hull(100, &c);
        let slopes: Vec<f64> = points
            .windows(2)
            .map(|w| (w[1].loss - w[0].loss) / (w[0].macs - w[1].macs) as f64)
            .collect();
        assert!(slopes.is_sorted());
    }
}
