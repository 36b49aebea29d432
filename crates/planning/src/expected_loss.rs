//! Losses at the outputs that candidates are expected to cause.

use std::collections::{BTreeMap, BTreeSet};

use sepconv_calibrate::{Fitting, Probe, Score, SurveyedModel, no_time_to_probe};
use sepconv_factor::Chain;
use sepconv_model::{Error, Stage};
use sepconv_onnx::Document;
use sepconv_passes::{Candidate, Site, Surveyed, replace};

use crate::loss::{LossCurve, between};
use crate::losses::{LayerRounding, Losses};
use crate::sensitivity_probe::SensitivityProbe;

/// Without data: the loss of energy, so that losses multiply the kept energies (Zhang et al.
/// 2015, arXiv 1505.06798, section 2.4).
pub fn losses_by_weights(surveyed: &SurveyedModel) -> Losses {
    let layers = surveyed.survey.layers.iter();
    let of = |candidates: &[Candidate]| -> Vec<f64> {
        let losses = candidates.iter().map(|c| -c.energy.max(1e-12).ln());
        losses.map(|l| l.max(0.0)).collect()
    };
    let losses = layers.map(|layer| layer.site.as_ref().map_or(Vec::new(), |(_, c)| of(c)));
    Losses::in_floats(losses.collect())
}

/// The relative squared error that rounding makes at a layer of a name that is written as so many layers: 0 where
/// results are in floats.
pub type Rounding<'a> = &'a dyn Fn(&str, usize) -> f64;

/// Layers that are probed, all of them; of more, [`SAMPLE`], so that the work grows with the depth
/// and not with its square: the effect on the outputs of a layer behind which half of the network lies
/// takes half of the network to find out.
const PROBED: usize = 64;
/// Layers that are probed of many, spread over the depth.
const SAMPLE: usize = 16;

/// Of `count` layers, those that are probed.
fn sampled(count: usize) -> BTreeSet<usize> {
    match count {
        0..=PROBED => (0..count).collect(),
        _ => (0..SAMPLE)
            .map(|i| i * (count - 1) / (SAMPLE - 1))
            .collect(),
    }
}

/// Errors at the layers turned into loss at the outputs. Of a deep network some layers are
/// probed, and those between them are taken to lie between. Errors of scores and of rounding are taken to add up.
///
/// # Errors
/// As [`sepconv_calibrate::score`].
pub fn expected_losses(
    prepared: &SurveyedModel,
    scores: Vec<Score>,
    fitting: Fitting<'_>,
    rounding: Rounding<'_>,
) -> Result<Losses, Error> {
    let layers: Vec<(&Surveyed, Score)> = prepared.survey.layers.iter().zip(scores).collect();
    let open = layers.iter().enumerate();
    let open = open.filter(|(_, (layer, score))| layer.site.is_ok() && !score.probes.is_empty());
    let open: Vec<usize> = open.map(|(i, _)| i).collect();
    let probed: Vec<usize> = sampled(open.len()).into_iter().map(|i| open[i]).collect();
    let found = probe_layers(prepared, &layers, probed, fitting)?;
    let plain = LossCurve::new(Vec::new());
    let none = BTreeSet::new();
    let of = |(i, (layer, score)): (usize, &(&Surveyed, Score))| {
        let before = found.range(..=i).next_back();
        let behind = found.range(i..).next();
        let share = match (before, behind) {
            (Some((a, _)), Some((b, _))) if a < b => (i - a) as f64 / (b - a) as f64,
            _ => 0.0,
        };
        let (before, behind) = (before.or(behind), behind.or(before));
        // A layer that has nothing to be probed by is as its error says.
        let known = open.contains(&i).then(|| before.zip(behind)).flatten();
        let curves = known.map_or((&plain, &plain), |((_, a), (_, b))| (&a.curve, &b.curve));
        let dropped = found.get(&i).map_or(&none, |p| &p.dropped);
        let candidates = layer.site.as_ref().map_or(&[][..], |(_, all)| all);
        let at = |error: f64| match share == 0.0 {
            true => curves.0.at(error),
            false => between(curves.0, curves.1, share, error),
        };
        let rounded = |stages| rounding(&layer.name, stages);
        let by_candidate = score
            .errors
            .iter()
            .zip(candidates)
            .map(|(error, candidate)| {
                if dropped.contains(&candidate.family) {
                    return (f64::INFINITY, 0.0);
                }
                let (loss, stages) = (at(*error), stages(prepared, layer, candidate));
                (loss, at(error + rounded(stages)) - loss)
            });
        let (candidates, added) = by_candidate.unzip();
        let rounding = LayerRounding {
            kept: at(rounded(1)),
            candidates: added,
        };
        (candidates, rounding)
    };
    let (candidates, rounding) = layers.iter().enumerate().map(of).unzip();
    Ok(Losses {
        candidates,
        rounding,
    })
}

/// Convolutions that a candidate is written as.
fn stages(prepared: &SurveyedModel, layer: &Surveyed, of: &Candidate) -> usize {
    let family = prepared.survey.families.find(&of.family);
    let site = layer.site.as_ref().ok();
    let stages = family.zip(site).and_then(|(family, (site, _))| {
        let stages = family.stages(&site.kernel, of.rank).ok()?;
        Some(stages.len())
    });
    stages.unwrap_or(1)
}

/// Result of the probes of a layer.
struct Probed {
    curve: LossCurve,
    /// Families that can't be written or run.
    dropped: BTreeSet<String>,
}

/// Probes layers of such numbers, while there is time.
fn probe_layers(
    prepared: &SurveyedModel,
    layers: &[(&Surveyed, Score)],
    probed: Vec<usize>,
    fitting: Fitting<'_>,
) -> Result<BTreeMap<usize, Probed>, Error> {
    let mut found = BTreeMap::new();
    if probed.is_empty() {
        return Ok(found);
    }
    let stage = Stage::begin(fitting.progress, "probing", probed.len());
    let mut network = SensitivityProbe::of_layers(
        &prepared.folded,
        fitting.runner,
        fitting.calibration,
        probed.len(),
        fitting.memory,
    )?;
    for (done, i) in probed.into_iter().enumerate() {
        if no_time_to_probe(fitting.deadline) {
            break;
        }
        let (layer, score) = &layers[i];
        found.insert(i, probe_layer(prepared, &mut network, layer, score)?);
        stage.step(done + 1)?;
    }
    Ok(found)
}

/// Probes a layer. A family that can't be written or run is dropped.
fn probe_layer(
    prepared: &SurveyedModel,
    network: &mut SensitivityProbe<'_>,
    layer: &Surveyed,
    score: &Score,
) -> Result<Probed, Error> {
    let mut points = Vec::new();
    let mut dropped = BTreeSet::new();
    let mut out = |probe: &Probe, error: Error| {
        let reason = match error {
            Error::Target { source, .. } => source.to_string(),
            Error::Pass { source, .. } => source.to_string(),
            other => return Err(other),
        };
        prepared.drop_family(&layer.name, probe.chain.family, &reason);
        dropped.insert(probe.chain.family.to_owned());
        Ok(())
    };
    if let Ok((site, _)) = &layer.site {
        let mut written = Vec::new();
        let mut documents = Vec::new();
        for probe in &score.probes {
            match trial(prepared, site, &probe.chain) {
                Ok(document) => {
                    written.push(probe);
                    documents.push(document);
                }
                Err(error) => out(probe, error)?,
            }
        }
        let found = network.losses(site.node, &documents);
        for (probe, loss) in written.into_iter().zip(found) {
            match loss {
                Ok(loss) => points.push((probe.error, loss)),
                Err(error) => out(probe, error)?,
            }
        }
    }
    Ok(Probed {
        curve: LossCurve::new(points),
        dropped,
    })
}

/// The original with one convolution replaced.
fn trial(prepared: &SurveyedModel, site: &Site, chain: &Chain) -> Result<Document, Error> {
    let mut document = prepared.folded.document.clone();
    let written = replace(&mut document.model.graph, site, chain, None);
    written.map_err(|source| Error::Pass {
        file: prepared.folded.file(),
        source,
    })?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_layers_some_are_probed_the_first_and_the_last_among_them() {
        assert_eq!(sampled(0), BTreeSet::new());
        assert_eq!(sampled(PROBED), (0..PROBED).collect());
        let some = sampled(300);
        assert_eq!(
            (some.len(), some.first(), some.last()),
            (SAMPLE, Some(&0), Some(&299))
        );
    }
}
