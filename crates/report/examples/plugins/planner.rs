//! A planner: the largest layers, by half.

use sepconv::passes::{Choice, Kept, PassError, Plan, Planner, Survey};

/// Rewrites the convolutions with the most MACs, each by the candidate nearest to its kernel that
/// costs at most a share of them.
pub struct Largest {
    /// Number of convolutions.
    pub layers: usize,
    /// Share of its MACs that each may cost.
    pub share: f64,
}

impl Planner for Largest {
    fn name(&self) -> &'static str {
        "largest"
    }

    fn plan(&self, survey: &Survey, _: u64) -> Result<Plan, PassError> {
        let mut macs: Vec<u64> = survey.sites().filter_map(|(site, _)| site.macs).collect();
        macs.sort_unstable_by(|a, b| b.cmp(a));
        let least = macs
            .get(self.layers.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let mut left = self.layers;
        Ok(Plan::choosing(survey, |_, candidates| {
            let cheap = candidates.iter().filter(|c| {
                c.macs_before >= least && c.macs as f64 <= self.share * c.macs_before as f64
            });
            match cheap.min_by(|a, b| a.weight_error.total_cmp(&b.weight_error)) {
                Some(candidate) if left > 0 => {
                    left -= 1;
                    Choice::Separate(candidate.clone())
                }
                _ => Choice::Keep(Kept::Planned),
            }
        }))
    }
}
