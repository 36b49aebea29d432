//! Calibrated fits from one set of statistics: no layer sees the errors of those before it.

use sepconv_model::{Error, Stage};
use sepconv_passes::{Candidate, Site};

use crate::collector::{Collector, Pass};
use crate::reconstruct::{Calibrated, open};
use crate::runnable::{Work, fitted};
use crate::sensitivity::sensitivities;
use crate::surveyed_model::{Fitting, SurveyedModel};

/// Fits the layers of several plans, each with the best of its admissible candidates, to the inputs
/// that the original network delivers. All plans share the statistics of one pass over the data, or
/// of as many as the memory asks for. `plans` holds, for every plan, the admissible candidates of
/// every layer of the survey.
///
/// # Errors
/// As [`crate::calibrate`].
pub fn calibrate_apart(
    surveyed: &SurveyedModel,
    plans: &[Vec<Vec<Candidate>>],
    fitting: Fitting<'_>,
) -> Result<Vec<Calibrated>, Error> {
    let mut made: Vec<Calibrated> = plans.iter().map(|_| Calibrated::none(surveyed)).collect();
    let any = |layer| -> Vec<Candidate> {
        let all = plans
            .iter()
            .flat_map(|plan: &Vec<Vec<Candidate>>| &plan[layer]);
        all.cloned().collect()
    };
    let all: Vec<Vec<Candidate>> = (0..surveyed.survey.layers.len()).map(any).collect();
    let layers = open(surveyed, &all);
    let sites: Vec<&Site> = layers.iter().map(|layer| layer.site).collect();
    let weights = sensitivities(surveyed, fitting, None)?;
    let stage = Stage::begin(fitting.progress, "calibrating", layers.len());
    let mut collector = Collector::new(&surveyed.folded, &sites, weights, fitting)?;
    let needs = collector.needs();
    let mut first = 0;
    while first < layers.len() {
        let end = first + fitting.memory.together(&needs[first..]);
        let seen = collector.collect(None, first..end, Pass::default())?;
        for ((layer, seen), need) in layers[first..].iter().zip(seen).zip(&needs[first..]) {
            stage.step(first)?;
            let seen = seen.map_err(|unfit| unfit.kept(need));
            for (plan, made) in plans.iter().zip(&mut made) {
                let work = Work {
                    surveyed,
                    document: &made.document,
                    site: layer.site,
                };
                let candidates = plan[layer.place].clone();
                let fitted = fitted(&work, candidates, seen.as_ref(), fitting);
                made.settle(layer, fitted);
            }
            first += 1;
        }
    }
    Ok(made)
}
