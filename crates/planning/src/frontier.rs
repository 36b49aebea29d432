//! The frontier of plans: the least expected loss at a cost.

use crate::plan::Planning;

/// Bisections of a cost: within 1/2^10 of the range.
const STEPS: usize = 10;

impl Planning {
    /// The least fraction of the original's cost in `least..most` at which a plan is expected to lose at most
    /// `loss`; `most` where none is. Time beside the cost is not looked at.
    pub fn fraction_at(&self, loss: f64, least: f64, most: f64) -> f64 {
        let within = |fraction: f64| {
            let plan = self.plainly(fraction);
            plan.is_ok_and(|plan| plan.loss <= loss)
        };
        if within(least) {
            return least;
        }
        let (mut low, mut high) = (least, most);
        for _ in 0..STEPS {
            let middle = 0.5 * (low + high);
            if within(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use crate::solve::tests::planning;

    #[test]
    fn the_cheapest_plan_of_a_loss_is_found_within_the_range() {
        // One layer of two saves 30 of 100 MACs at a loss of 0.1, both 60 at 0.2.
        let planning = planning(1.5);
        let near = |loss: f64, expected: f64| {
            let found = planning.fraction_at(loss, 0.4, 1.0);
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
            assert!(
                planning
                    .plainly(found)
                    .is_ok_and(|plan| plan.loss <= loss + 1e-12)
            );
        };
        near(0.1, 0.7);
        near(0.15, 0.7);
        near(0.2, 0.4);
        assert_eq!(planning.fraction_at(1.0, 0.4, 1.0), 0.4);
        assert_eq!(planning.fraction_at(0.0, 0.4, 0.9), 0.9);
    }
}
