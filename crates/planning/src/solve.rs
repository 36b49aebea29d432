//! Plans: the least loss within a budget, in forms that also save time.
//!
//! Two constraints, one of them soft. The budget is met exactly by the knapsack. Where layers were
//! timed and the budget counts something else, a share of its saving is to become time as
//! well: time gets a multiplier, which is added to the loss (a Lagrange multiplier), and the least
//! multiplier is taken at which the plan saves enough of it. The price of time is bounded, since on
//! some models no form is fast enough. Beyond its share, time is taken where it is all but free.

use std::collections::HashSet;

use sepconv_passes::{Candidate, Item, PassError, allocate};

use sepconv_calibrate::Committed;

use crate::cost::{Costs, Written};
use crate::plan::Planning;
use crate::solution::{Solution, Terms};

/// Share of the saved cost that is to become saved time: of 50 % fewer MACs, 33 % less time.
pub const SHARE: f64 = 2.0 / 3.0;

/// Loss that saving time may do, as a multiple of that of the plan which ignores it.
const DEAREST: f64 = 2.0;

/// Loss by which plans are told apart no more, as a multiple: of those that are so near, the
/// fastest is taken.
const NEAR: f64 = 1.05;

/// Predicted loss up to which another family's candidate may be fitted beside the one chosen, as
/// a multiple: predictions are of linear outputs, and of the original's inputs.
const ALTERNATIVE: f64 = 3.0;

/// A form of a layer.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// The candidate in its place; `None`: it is as it is.
    candidate: Option<usize>,
    /// It stays in floats, where the result is of another precision.
    floats: bool,
}

impl Form {
    /// As it is, in the precision of the result.
    const KEPT: Self = Self {
        candidate: None,
        floats: false,
    };
}

/// Every candidate of every layer.
const ANY: fn(usize, Option<usize>) -> bool = |_, _| true;

/// Steps of the bisection over multipliers, between these multiples of the loss.
const STEPS: usize = 16;
const MULTIPLIERS: (f64, f64) = (1e-3, 1e3);

impl Planning {
    /// The plan with the least predicted loss whose cost is at most `fraction` of the
    /// original's and, where layers were timed, at least `share` of whose saving is time (as
    /// nearly as loss of at most a bound allows).
    ///
    /// # Errors
    /// [`PassError::Unreachable`] with the least fraction that can be reached.
    pub fn solve(&self, fraction: f64, share: f64) -> Result<Solution, PassError> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(PassError::Budget(fraction));
        }
        let best = self.best(fraction, share)?;
        Ok(self.with_alternatives(best))
    }

    /// The candidates of the layers that are not committed yet, planned again with the rest of the
    /// budget, each with its alternatives. `committed` are the first layers that a solution
    /// planned; layers that it leaves as they are stay so. `None` where nothing changed, or where
    /// only a measurement tells the rest.
    pub fn replan(
        &self,
        solution: &Solution,
        committed: &Committed,
    ) -> Option<Vec<Vec<Candidate>>> {
        let as_planned = |(layer, now): (&usize, &Option<Candidate>)| {
            let planned = solution.chosen.get(*layer).and_then(Option::as_ref);
            let of = |c: Option<&Candidate>| c.map(|c| (c.family.clone(), c.rank));
            of(planned) == of(now.as_ref())
        };
        if !self.counted || committed.iter().all(as_planned) {
            return None;
        }
        let open = |layer: usize, candidate: Option<usize>| match committed.get(&layer) {
            Some(now) => candidate == now.as_ref().and_then(|c| self.place(layer, c)),
            None => solution.chosen[layer].is_some() || candidate.is_none(),
        };
        let Terms {
            fraction,
            multiplier,
        } = solution.terms;
        let again = self.with_alternatives(self.at_multiplier(fraction, multiplier, &open).ok()?);
        let chosen = again.chosen.into_iter().zip(again.alternatives);
        let all = chosen.map(|(own, alternatives)| own.into_iter().chain(alternatives).collect());
        Some(all.collect())
    }

    fn with_alternatives(&self, best: Solution) -> Solution {
        let chosen = best.chosen.iter().enumerate();
        let alternatives = chosen.map(|(layer, own)| {
            let floats = best.floats[layer];
            let alternatives = own
                .as_ref()
                .map(|own| self.alternatives(layer, own, floats));
            alternatives.unwrap_or_default()
        });
        let alternatives = alternatives.collect();
        Solution {
            alternatives,
            ..best
        }
    }

    /// The index of a layer's candidate.
    pub(crate) fn place(&self, layer: usize, candidate: &Candidate) -> Option<usize> {
        let same = |c: &Candidate| c.is_of_form(candidate);
        self.candidates[layer].iter().position(same)
    }

    fn best(&self, fraction: f64, share: f64) -> Result<Solution, PassError> {
        let plain = self.plainly(fraction)?;
        if self.timed.is_none() {
            return Ok(plain);
        }
        let (bound, most) = (plain.bound, DEAREST * plain.loss);
        let fast = |s: &Solution| s.time.is_none_or(|t| 1.0 - t >= share * (1.0 - s.fraction));
        let mut seen = vec![plain];
        if !fast(&seen[0]) {
            self.raise(fraction, &mut seen, |s| s.loss <= most && !fast(s))?;
        }
        // Enough time at the least loss, or else the most time that is allowed.
        let allowed = seen.iter().filter(|s| s.loss <= most);
        let slow = |s: &Solution| if fast(s) { 0.0 } else { s.time.unwrap_or(1.0) };
        let order = |a: &&Solution, b: &&Solution| {
            let by_time = slow(a).total_cmp(&slow(b));
            by_time.then(a.loss.total_cmp(&b.loss))
        };
        let found = allowed.min_by(order).unwrap_or(&seen[0]);
        let mut best = found.clone();
        let (near, enough) = (NEAR * best.loss, fast(&best));
        self.raise(fraction, &mut seen, |s| s.loss <= near)?;
        for solution in seen {
            let fits = solution.loss <= near && (fast(&solution) || !enough);
            if fits && solution.time < best.time {
                best = solution;
            }
        }
        Ok(Solution { bound, ..best })
    }

    /// Adds plans for growing multipliers of time to `seen`, up to the highest (by bisection) whose
    /// plan `goes_on` still accepts.
    fn raise(
        &self,
        fraction: f64,
        seen: &mut Vec<Solution>,
        goes_on: impl Fn(&Solution) -> bool,
    ) -> Result<(), PassError> {
        let scale = seen.first().map_or(0.0, |plain| plain.loss).max(1e-12);
        let (mut low, mut high) = (MULTIPLIERS.0.ln(), MULTIPLIERS.1.ln());
        for _ in 0..STEPS {
            let middle = 0.5 * (low + high);
            let solution = self.at_multiplier(fraction, scale * middle.exp(), &ANY)?;
            if goes_on(&solution) {
                low = middle;
            } else {
                high = middle;
            }
            seen.push(solution);
        }
        Ok(())
    }

    /// Of every other family the best candidate of a layer that costs no more than `own`, takes no
    /// more time, and has little more predicted loss, both in `floats` or not; rising by that loss.
    fn alternatives(&self, layer: usize, own: &Candidate, floats: bool) -> Vec<Candidate> {
        let all = &self.candidates[layer];
        let form = |i: usize| Form {
            candidate: Some(i),
            floats,
        };
        let loss = |i: usize| self.losses.of(layer, Some(i), floats);
        let cost = |i: usize| self.cost_of(layer, form(i));
        let macs = |i: usize| self.planned(layer, i, floats).macs;
        let Some(index) = self.place(layer, own) else {
            return Vec::new();
        };
        let Some(most) = cost(index) else {
            return Vec::new();
        };
        let no_dearer = |i: &usize| {
            let other = &all[*i];
            other.family != own.family
                && cost(*i).is_some_and(|cost| cost <= most)
                && macs(*i) <= own.macs
                && self.time_of(layer, form(*i)) <= self.time_of(layer, form(index))
                && loss(*i) <= ALTERNATIVE * loss(index)
        };
        let mut alternatives: Vec<usize> = (0..all.len()).filter(no_dearer).collect();
        alternatives.sort_by(|a, b| loss(*a).total_cmp(&loss(*b)));
        let mut families: HashSet<&str> = HashSet::new();
        alternatives.retain(|i| families.insert(&all[*i].family));
        alternatives
            .into_iter()
            .map(|i| self.planned(layer, i, floats))
            .collect()
    }

    /// A candidate as it was costed.
    fn planned(&self, layer: usize, index: usize, floats: bool) -> Candidate {
        let costs = self.costs_of(floats);
        let cost = costs.and_then(|costs| costs.candidates[layer][index]);
        let written = cost.and_then(|(_, written)| written);
        Written::apply(written, &self.candidates[layer][index])
    }

    /// Costs in floats, where layers are planned so, or in the precision of the result.
    fn costs_of(&self, floats: bool) -> Option<&Costs> {
        match floats {
            true => self.floats.as_ref(),
            false => Some(&self.costs),
        }
    }

    /// The cost of a form of a layer; `None` where it is out of the question.
    fn cost_of(&self, layer: usize, form: Form) -> Option<f64> {
        self.costs_of(form.floats)?.of(layer, form.candidate)
    }

    /// The cost that a candidate, or the layer as it is, saves in floats, as a fraction of the original's.
    pub(crate) fn saved_in_floats(&self, layer: usize, chosen: Option<&Candidate>) -> f64 {
        let candidate = chosen.and_then(|chosen| self.place(layer, chosen));
        let cost = |floats| {
            let own = self.cost_of(layer, Form { candidate, floats });
            own.or(self.costs.kept[layer]).unwrap_or(0.0)
        };
        (cost(false) - cost(true)) / self.costs.original
    }

    /// The forms of a layer that are in question: as it is, and its candidates; of the precision of the result
    /// and in floats.
    fn forms(&self, layer: usize) -> impl Iterator<Item = (Form, f64)> {
        let all = [false, true].into_iter().flat_map(move |floats| {
            let candidates = (0..self.candidates[layer].len()).map(Some);
            let all = std::iter::once(None).chain(candidates);
            all.map(move |candidate| Form { candidate, floats })
        });
        all.filter_map(move |form| Some((form, self.cost_of(layer, form)?)))
    }

    /// The plan with the least loss at a cost, whatever its time.
    pub(crate) fn plainly(&self, fraction: f64) -> Result<Solution, PassError> {
        self.at_multiplier(fraction, 0.0, &ANY)
    }

    /// The plan with the least sum of loss and of the time it takes at a multiplier for the
    /// original's time, of candidates (none: the layer as it is) that are `open` for a layer.
    fn at_multiplier(
        &self,
        fraction: f64,
        multiplier: f64,
        open: &dyn Fn(usize, Option<usize>) -> bool,
    ) -> Result<Solution, PassError> {
        let mut groups = Vec::new();
        let mut items: Vec<(usize, Vec<Form>)> = Vec::new();
        for (layer, kept) in self.costs.kept.iter().enumerate() {
            if kept.is_none() {
                continue;
            }
            let all = self.forms(layer);
            let open: Vec<_> = all.filter(|(f, _)| open(layer, f.candidate)).collect();
            let item = |(form, cost): &(Form, f64)| Item {
                cost: *cost,
                loss: self.losses.of(layer, form.candidate, form.floats)
                    + multiplier * self.time_of(layer, *form),
            };
            groups.push(open.iter().map(item).collect());
            items.push((layer, open.into_iter().map(|(form, _)| form).collect()));
        }
        let planned: f64 = self.costs.kept.iter().flatten().sum();
        let of = |cost: f64| (self.costs.total - planned + cost) / self.costs.original;
        let found = allocate(&groups, self.costs.room(fraction)).map_err(|least| {
            PassError::Unreachable {
                target: fraction,
                least: of(least),
            }
        })?;
        let mut chosen: Vec<Option<Candidate>> = vec![None; self.candidates.len()];
        let mut floats = vec![false; chosen.len()];
        let mut loss = 0.0;
        let mut saved = 0.0;
        for ((layer, forms), item) in items.into_iter().zip(&found.chosen) {
            let Some(form) = forms.get(*item) else {
                continue;
            };
            let candidate = form.candidate;
            chosen[layer] = candidate.map(|i| self.planned(layer, i, form.floats));
            floats[layer] = form.floats;
            loss += self.losses.of(layer, candidate, form.floats);
            saved += self.time_of(layer, Form::KEPT) - self.time_of(layer, *form);
        }
        let timed = self.timed.as_ref();
        Ok(Solution {
            fraction: of(found.cost),
            loss,
            bound: found.bound,
            time: timed.map(|t| t.total / t.original - saved),
            chosen,
            floats,
            alternatives: Vec::new(),
            terms: Terms {
                fraction,
                multiplier,
            },
        })
    }

    /// Time of a layer in a form, as a share of the original's whole time; 0 where it was not measured.
    fn time_of(&self, layer: usize, form: Form) -> f64 {
        let Some(timed) = &self.timed else { return 0.0 };
        let all = match (form.floats, &self.floats) {
            (true, Some(floats)) => floats,
            _ => timed,
        };
        all.of(layer, form.candidate).unwrap_or(0.0) / timed.original
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::losses::Losses;

    pub fn candidate(family: &str) -> Candidate {
        Candidate {
            family: family.into(),
            rank: 1,
            macs_before: 50,
            macs: 20,
            params: 1,
            energy: 1.0,
            weight_error: 0.0,
            lowering: None,
        }
    }

    /// Two layers of 50 MACs and 5 s. Of the same MACs, 'slow' forms save no time and 'fast' ones
    /// four fifths of it, at `dearer` times the loss.
    pub fn planning(dearer: f64) -> Planning {
        let by = |cost, lowering| Some((cost, Some(Written { lowering, macs: 20 })));
        let both = |cost: f64, slow: f64, fast: f64| Costs {
            total: 2.0 * cost,
            original: 2.0 * cost,
            kept: vec![Some(cost); 2],
            candidates: vec![vec![by(slow, "branches"), by(fast, "concat")]; 2],
        };
        Planning {
            costs: both(50.0, 20.0, 20.0),
            timed: Some(both(5.0, 4.9, 1.0)),
            losses: Losses::in_floats(vec![vec![0.1, 0.1 * dearer]; 2]),
            floats: None,
            candidates: vec![vec![candidate("slow"), candidate("fast")]; 2],
            counted: true,
            looked: vec![vec![true; 2]; 2],
        }
    }

    #[test]
    fn rivals_cost_no_more_in_any_way() {
        let solved = |dearer: f64, timed: bool| {
            let mut planning = planning(dearer);
            planning.timed = planning.timed.filter(|_| timed);
            let solution = planning.solve(0.5, 0.0).unwrap();
            let alternatives = solution.alternatives.iter().map(|layer| {
                let families = layer.iter().map(|c| (c.family.clone(), c.lowering.clone()));
                families.collect::<Vec<_>>()
            });
            (
                families(&solution).join(" "),
                alternatives.collect::<Vec<_>>(),
            )
        };
        let fast = vec![("fast".to_owned(), Some("concat".to_owned()))];
        assert_eq!(
            solved(2.0, false),
            ("slow slow".into(), vec![fast.clone(), fast])
        );
        assert_eq!(solved(4.0, false).1, [[], []]);
        // The fast form is the better one here, and the slow one takes more time.
        assert_eq!(solved(0.5, true), ("fast fast".into(), vec![Vec::new(); 2]));
    }

    #[test]
    fn what_is_left_is_spent_on_the_layers_that_follow() {
        // Half of 100 MACs: both layers at 25, or one at 15 and one at 35.
        let mut planning = planning(1.0);
        (planning.timed, planning.counted) = (None, true);
        for (layer, costs) in planning.costs.candidates.iter_mut().enumerate() {
            *costs = vec![Some((25.0, None)), Some((15.0, None)), Some((35.0, None))];
            planning.candidates[layer] = ["own", "less", "fine"].map(candidate).to_vec();
            planning.losses.candidates[layer] = vec![0.1, 0.3, 0.01];
            planning.losses.rounding[layer].candidates = vec![0.0; 3];
        }
        let solution = planning.solve(0.5, 0.0).unwrap();
        assert_eq!(families(&solution), ["own", "own"]);
        let replan = |committed: &[(usize, Option<&str>)]| {
            let committed = committed.iter().map(|(i, c)| (*i, c.map(candidate)));
            let all = planning.replan(&solution, &committed.collect())?;
            let first = all.iter().map(|c| c.first().map(|c| c.family.clone()));
            Some(first.collect::<Vec<_>>())
        };
        let own = |name: &str| Some(name.to_owned());
        assert_eq!(replan(&[]), None);
        assert_eq!(replan(&[(0, Some("own"))]), None);
        assert_eq!(
            replan(&[(0, Some("less"))]),
            Some(vec![own("less"), own("fine")])
        );
        // A measurement is of one plan alone.
        planning.counted = false;
        let committed = Committed::from([(0, Some(candidate("less")))]);
        assert_eq!(planning.replan(&solution, &committed), None);
    }

    fn families(solution: &Solution) -> Vec<&str> {
        let chosen = solution.chosen.iter().flatten();
        chosen.map(|c| c.family.as_str()).collect()
    }

    #[test]
    fn a_budget_of_macs_buys_time_too() {
        let plain = planning(1.5).solve(0.4, 0.0).unwrap();
        assert_eq!(families(&plain), ["slow", "slow"]);
        assert!((plain.time.unwrap() - 0.98).abs() < 1e-9);
        let solved = planning(1.5).solve(0.4, SHARE).unwrap();
        assert_eq!(families(&solved), ["fast", "fast"]);
        assert!((solved.time.unwrap() - 0.2).abs() < 1e-9);
        assert!((solved.fraction - 0.4).abs() < 1e-9 && (solved.loss - 0.3).abs() < 1e-9);
        // The bound is that of the plan that may ignore time.
        assert!(solved.bound <= plain.loss + 1e-9);
    }

    #[test]
    fn the_least_fraction_is_known_without_damages() {
        let mut costs = planning(1.5).costs;
        assert!((costs.least() - 0.4).abs() < 1e-9);
        costs.candidates[0] = vec![None, None];
        assert!((costs.least() - 0.7).abs() < 1e-9);
        costs.kept[1] = None;
        assert!((costs.least() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn time_that_is_all_but_free_is_taken() {
        let solved = planning(1.02).solve(0.4, 0.0).unwrap();
        assert_eq!(families(&solved), ["fast", "fast"]);
        let solved = planning(1.5).solve(0.4, 0.0).unwrap();
        assert_eq!(families(&solved), ["slow", "slow"]);
    }

    #[test]
    fn time_is_not_bought_at_any_price() {
        // Two fast layers would do 2.5 times the loss, one does 1.75 times.
        let solved = planning(2.5).solve(0.4, SHARE).unwrap();
        assert!(solved.loss <= DEAREST * 0.2, "{solved:?}");
        assert!(!families(&solved).is_empty());
        let solved = planning(40.0).solve(0.4, SHARE).unwrap();
        assert_eq!(families(&solved), ["slow", "slow"]);
    }

    /// Time is budgeted: 5 s a layer, 6 s in floats. Rounding harms the first layer.
    fn rounded() -> Planning {
        let mut planning = planning(1.5);
        planning.counted = false;
        if let Some(timed) = &planning.timed {
            planning.costs = timed.clone();
            planning.floats = Some(Costs {
                kept: vec![Some(6.0), None],
                candidates: vec![vec![None; 2]; 2],
                ..timed.clone()
            });
        }
        for (rounding, loss) in planning.losses.rounding.iter_mut().zip([0.5, 0.001]) {
            rounding.kept = loss;
            rounding.candidates = vec![2.0 * loss; 2];
        }
        planning
    }

    #[test]
    fn a_layer_that_rounding_harms_stays_in_floats_where_there_is_the_time() {
        let solved = rounded().solve(0.8, 0.0).unwrap();
        assert_eq!(
            (families(&solved), &*solved.floats),
            (vec!["fast"], &[true, false][..])
        );
        assert!((solved.loss - 0.152).abs() < 1e-12, "{solved:?}");
        assert!((solved.fraction - 0.7).abs() < 1e-12, "{solved:?}");
        // There is no time for that, and the layer is rounded as it is or in another form.
        let solved = rounded().solve(0.65, 0.0).unwrap();
        assert_eq!(
            (families(&solved), &*solved.floats),
            (vec!["fast"], &[false, false][..])
        );
        assert!((solved.loss - 0.652).abs() < 1e-12, "{solved:?}");
        assert!((rounded().unrewritten_loss() - 0.501).abs() < 1e-12);
        assert_eq!(rounded().saved_by_floats(&solved), None);
    }

    #[test]
    fn plans_without_floats_are_as_if_these_took_for_ever() {
        let mut planning = rounded();
        let solved = planning.solve(0.8, 0.0).unwrap();
        // One second of ten more than in eight bits.
        let saved = planning.saved_by_floats(&solved).unwrap();
        assert!((saved + 0.1).abs() < 1e-12, "{saved}");
        planning.without_floats();
        let solved = planning.solve(0.8, 0.0).unwrap();
        assert_eq!(solved.floats, [false, false]);
    }

    #[test]
    fn what_was_not_timed_is_planned_by_cost_alone() {
        let mut planning = planning(1.5);
        planning.timed = None;
        let solved = planning.solve(0.4, SHARE).unwrap();
        assert_eq!(
            (families(&solved), solved.time),
            (vec!["slow", "slow"], None)
        );
    }
}
