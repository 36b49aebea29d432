//! One budget over all layers: the multiple-choice knapsack problem.
//!
//! One option of each group is taken; the sum of costs must stay within the budget, the sum of
//! losses is to be least. Solved by dynamic programming over costs in equal steps (Dudzinski
//! and Walukiewicz 1987), each rounded up: a solution always keeps the budget, and no solution
//! for a budget smaller by one step per group is better. The Lagrangian dual (Sinha and Zoltners 1979)
//! tells how far from the optimum it can be.

/// Cost and expected loss of one way to treat a layer. Both finite, the loss not negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item {
    /// Share that it takes of the budget.
    pub cost: f64,
    /// Expected loss of the outputs.
    pub loss: f64,
}

/// A choice of one item per group.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// Index of the chosen item of each group.
    pub chosen: Vec<usize>,
    /// Sum of costs.
    pub cost: f64,
    /// Sum of losses.
    pub loss: f64,
    /// No allocation within the budget has less loss than this.
    pub bound: f64,
}

/// Steps that the budget is divided into.
const STEPS: usize = 20_000;

/// The choice with the least loss whose cost is at most `budget`. `Err` holds the least
/// cost that can be reached where that is above the budget.
///
/// # Errors
/// The least cost, where no choice keeps the budget; infinity where a group is empty.
pub fn allocate(groups: &[Vec<Item>], budget: f64) -> Result<Allocation, f64> {
    let fronts: Vec<Vec<usize>> = groups.iter().map(|g| front(g)).collect();
    if fronts.iter().any(Vec::is_empty) {
        return Err(f64::INFINITY);
    }
    // Fronts are by rising cost: their first items are the cheapest.
    let base: f64 = groups.iter().zip(&fronts).map(|(g, f)| g[f[0]].cost).sum();
    if base > budget {
        return Err(base);
    }
    let chosen = dynamic(groups, &fronts, budget - base);
    let sum =
        |of: fn(&Item) -> f64| -> f64 { groups.iter().zip(&chosen).map(|(g, c)| of(&g[*c])).sum() };
    let loss = sum(|i| i.loss);
    Ok(Allocation {
        cost: sum(|i| i.cost),
        loss,
        bound: dual(groups, &fronts, budget).min(loss),
        chosen,
    })
}

/// Items that no other one beats in both cost and loss, by rising cost.
fn front(items: &[Item]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&items[*a], &items[*b]);
        a.cost.total_cmp(&b.cost).then(a.loss.total_cmp(&b.loss))
    });
    let mut least = f64::INFINITY;
    order.retain(|i| {
        let better = items[*i].loss < least;
        least = least.min(items[*i].loss);
        better
    });
    order
}

/// Least loss for every cost above the cheapest choice, in steps of `room / STEPS`.
fn dynamic(groups: &[Vec<Item>], fronts: &[Vec<usize>], room: f64) -> Vec<usize> {
    let extra = |g: &[Item], f: &[usize], i: usize| g[i].cost - g[f[0]].cost;
    let most: f64 = groups
        .iter()
        .zip(fronts)
        .map(|(g, f)| f.last().map_or(0.0, |i| extra(g, f, *i)))
        .sum();
    if most <= room {
        let least = fronts.iter().filter_map(|f| f.last().copied());
        return least.collect();
    }
    let step = room / STEPS as f64;
    let steps = |cost: f64| {
        if cost <= 0.0 {
            0
        } else if step > 0.0 {
            // A hair off, or an exact fit would be rounded out.
            ((cost / step) * (1.0 - 1e-12) - 1e-9).ceil().max(0.0) as usize
        } else {
            usize::MAX
        }
    };
    let mut best = vec![0.0; STEPS + 1];
    let mut taken: Vec<Vec<u16>> = Vec::with_capacity(groups.len());
    for (items, front) in groups.iter().zip(fronts) {
        let options: Vec<(usize, f64)> = front
            .iter()
            .map(|i| (steps(extra(items, front, *i)), items[*i].loss))
            .collect();
        let mut next = vec![f64::INFINITY; STEPS + 1];
        let mut took = vec![0_u16; STEPS + 1];
        for (at, (next, took)) in next.iter_mut().zip(&mut took).enumerate() {
            for (k, (weight, loss)) in options.iter().enumerate() {
                if *weight <= at && best[at - weight] + loss < *next {
                    *next = best[at - weight] + loss;
                    *took = u16::try_from(k).unwrap_or(u16::MAX);
                }
            }
        }
        best = next;
        taken.push(took);
    }
    let mut at = STEPS;
    let mut chosen = vec![0; groups.len()];
    for (group, took) in taken.iter().enumerate().rev() {
        let item = fronts[group][usize::from(took[at])];
        at -= steps(extra(&groups[group], &fronts[group], item)).min(at);
        chosen[group] = item;
    }
    chosen
}

/// The Lagrangian dual: for any multiplier of the cost, the best that each group can do less what the
/// budget is worth. Concave in the multiplier; its maximum is found by bisection on the slope.
fn dual(groups: &[Vec<Item>], fronts: &[Vec<usize>], budget: f64) -> f64 {
    let at = |multiplier: f64| {
        let mut value = -multiplier * budget;
        let mut cost = 0.0;
        for (items, front) in groups.iter().zip(fronts) {
            let penalised = front
                .iter()
                .map(|i| (items[*i].loss + multiplier * items[*i].cost, *i));
            let best = penalised.min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((least, i)) = best {
                value += least;
                cost += items[i].cost;
            }
        }
        (value, cost)
    };
    let (mut best, free) = at(0.0);
    if free <= budget {
        return best;
    }
    let (mut low, mut high) = (0.0, 1e-30);
    while at(high).1 > budget && high < 1e30 {
        low = high;
        high *= 4.0;
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        let (value, cost) = at(middle);
        best = best.max(value);
        if cost > budget {
            low = middle;
        } else {
            high = middle;
        }
    }
    best.max(at(high).0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn item(cost: f64, loss: f64) -> Item {
        Item { cost, loss }
    }

    #[test]
    fn what_fits_exactly_is_taken() {
        let groups = vec![
            vec![item(3.0, 0.0), item(1.0, 5.0)],
            vec![item(3.0, 0.0), item(1.0, 4.0)],
        ];
        let found = allocate(&groups, 4.0).unwrap();
        assert_eq!((found.chosen, found.loss), (vec![0, 1], 4.0));
        assert_eq!(allocate(&groups, 6.0).unwrap().loss, 0.0);
        assert_eq!(allocate(&groups, 1.9), Err(2.0));
        assert_eq!(allocate(&[vec![]], 1.0), Err(f64::INFINITY));
        assert_eq!(allocate(&[], 1.0).unwrap().chosen, Vec::<usize>::new());
    }

    fn exhaustive(groups: &[Vec<Item>], budget: f64) -> Option<f64> {
        let mut best: Option<f64> = None;
        let mut at = vec![0; groups.len()];
        loop {
            let items = groups.iter().zip(&at).map(|(g, i)| g[*i]);
            let (cost, loss) = items.fold((0.0, 0.0), |(c, d), i| (c + i.cost, d + i.loss));
            if cost <= budget {
                best = Some(best.map_or(loss, |b| b.min(loss)));
            }
            let Some(next) = (0..at.len()).find(|i| at[*i] + 1 < groups[*i].len()) else {
                return best;
            };
            at[next] += 1;
            at[..next].fill(0);
        }
    }

    proptest! {
        #[test]
        fn it_is_the_optimum_and_the_bound_is_below(
            groups in prop::collection::vec(
                prop::collection::vec((0u32..100, 0u32..100), 1..5), 1..5),
            budget in 0u32..400,
        ) {
            let groups: Vec<Vec<Item>> = groups
                .iter()
                .map(|g| g.iter().map(|(c, d)| item(f64::from(*c), f64::from(*d))).collect())
                .collect();
            let budget = f64::from(budget);
            match (allocate(&groups, budget), exhaustive(&groups, budget)) {
                (Ok(found), Some(best)) => {
                    prop_assert!(found.cost <= budget + 1e-9);
                    prop_assert!(found.loss >= best - 1e-9);
                    prop_assert!(found.bound <= best + 1e-6);
                    // Rounding up takes at most a step per group off the budget.
                    let less = budget * (1.0 - groups.len() as f64 / STEPS as f64) - 1e-9;
                    if let Some(best) = exhaustive(&groups, less) {
                        prop_assert!(found.loss <= best + 1e-9, "{} {best}", found.loss);
                    }
                }
                (Err(least), None) => prop_assert!(least > budget),
                (found, best) => prop_assert!(false, "{found:?} {best:?}"),
            }
        }
    }
}
