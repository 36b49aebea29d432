//! Energies of kernels by rank.

use std::collections::BTreeMap;

use sepconv_passes::{Candidate, Site, Survey};

/// Energies by rank of every site, of the first family that was surveyed.
pub(crate) fn spectra(survey: &Survey) -> BTreeMap<String, Vec<f64>> {
    let spectrum = |(site, candidates): (&Site, &[Candidate])| {
        let first = &candidates.first()?.family;
        let same = candidates.iter().filter(|c| c.family == *first);
        Some((site.name.clone(), same.map(|c| c.energy).collect()))
    };
    survey.sites().filter_map(spectrum).collect()
}
