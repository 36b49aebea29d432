//! The candidates that plans choose from.

use sepconv_calibrate::{SurveyedModel, little_time_to_time, spread};
use sepconv_factor::RankUnit;
use sepconv_model::Deadline;
use sepconv_passes::{Candidate, Kept, Survey, Surveyed};

/// Candidates of a family that are timed before there is a plan; the same where the time is short.
pub(crate) const AT_FIRST: usize = 12;
const IN_HASTE: usize = 6;

/// Candidates of a family that are timed before there is a plan, by the time that is left.
pub(crate) fn timed_at_first(deadline: Option<Deadline>) -> usize {
    match little_time_to_time(deadline) {
        true => IN_HASTE,
        false => AT_FIRST,
    }
}

/// Candidates per family that are looked at, at most: ranks that count channels are many.
const PER_FAMILY: usize = 40;

/// Length of a patch from which the dearest fits are not made.
const WIDE: usize = 2304;

/// Drops candidates that save nothing, and of families with many ranks all but some: those
/// whose rank the target computes at full speed. Of wide kernels, whose fits take minutes, also
/// those that save less than a quarter, and channels between the stages of more than twice the
/// kernel's own. A layer that is left without any stays.
///
/// `step`: channel counts that the target computes at full speed are multiples of it.
pub fn thin(prepared: &mut SurveyedModel, step: usize) {
    let Survey { layers, families } = &mut prepared.survey;
    for layer in layers {
        let Ok((site, candidates)) = &mut layer.site else {
            continue;
        };
        let counts_channels =
            |c: &Candidate| families.rank_unit(&c.family) != Some(RankUnit::Terms);
        let wide = site.kernel.out_channels.min(site.kernel.in_channels) > step;
        candidates.retain(|c| c.saves() && c.params < site.kernel.len() as u64 * 2);
        candidates.retain(|c| !wide || !counts_channels(c) || c.rank % step == 0);
        let kernel = &site.kernel;
        if kernel.group_in() * kernel.taps() >= WIDE {
            let most = 2 * kernel.group_in().max(kernel.group_out());
            candidates.retain(|c| c.macs * 4 <= c.macs_before * 3);
            candidates.retain(|c| !counts_channels(c) || c.rank <= most);
        }
        let kept = spread(candidates, PER_FAMILY).into_iter();
        *candidates = kept.map(|i| candidates[i].clone()).collect();
        // Statistics of it would serve nothing.
        if candidates.is_empty() {
            layer.site = Err(Kept::NoSaving);
        }
    }
}

/// Per layer and candidate: true where it is timed before there is a plan. Those that another one
/// of their layer beats in MACs and in loss by far are not. `most`: of a family.
pub(crate) fn promising(
    prepared: &SurveyedModel,
    losses: &[Vec<f64>],
    most: usize,
) -> Vec<Vec<bool>> {
    let layers = prepared.survey.layers.iter().zip(losses);
    let of = |(layer, losses): (&Surveyed, &Vec<f64>)| {
        let all = layer.site.as_ref().map_or(&[][..], |(_, all)| all);
        let beaten = |i: usize| {
            let better = |(c, loss): (&Candidate, &f64)| {
                c.macs as f64 * 1.5 < all[i].macs as f64 && *loss <= losses[i]
            };
            all.iter().zip(losses).any(better)
        };
        let mut first = vec![false; all.len()];
        let some = spread(all, most).into_iter();
        some.for_each(|i| first[i] = !beaten(i));
        first
    };
    layers.map(of).collect()
}
