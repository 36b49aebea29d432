//! The verdict of the data on a budget that is judged, in words.

use sepconv::Verdict;

use crate::output::Output;

/// Agreement in full on fewer samples than this shows less than a point.
const FEW: usize = 299;

/// The line of a verdict, and plainly where the data are too little for it.
pub fn print(verdict: &Verdict, out: &Output) {
    let Verdict { metric, unit, .. } = verdict;
    // Of synthetic inputs there is nothing to be shown.
    let Some(needed) = verdict.needed else {
        return;
    };
    out.line(format!("  verdict     {}", said(verdict)));
    if let Some(missed) = missed(verdict) {
        out.note(missed);
    }
    if let Some(share) = verdict.one_class {
        out.note(format!(
            "{share:.1} % of the samples are of one class, whose agreement says little: the {metric} \
             decided; samples of all classes would allow more"
        ));
    }
    if !verdict.is_by_limit() && !verdict.shown {
        let limit = verdict.limit;
        let may = limit.map(|l| format!("; {metric} may be {l:.2} {unit}"));
        out.note(format!(
            "{} samples can't show that the budget holds: at least {needed} are needed; what was \
             measured decided alone{}",
            verdict.samples,
            may.unwrap_or_default()
        ));
    }
}

/// A sentence of a verdict that misses the budget: that of a result in eight bits, which are written all the same.
fn missed(verdict: &Verdict) -> Option<String> {
    let unit = verdict.unit;
    let is = match verdict.is_by_limit() {
        true => "is not shown",
        false => "is missed",
    };
    let down = verdict.relaxed.map_or(String::new(), |relaxed| {
        format!(", and separable forms were taken down to {relaxed:.2} {unit}")
    });
    verdict.is_missed().then(|| {
        format!(
            "the {:.2} {unit} {} that the budget allows {is}: eight bits miss it by themselves{down}; --precision f32 keeps to \
             floats, --precision auto where eight bits miss",
            verdict.allowed,
            verdict.figure()
        )
    })
}

/// Such as `agreement 99.61 %, at worst 99.02 % at 95 % confidence, 99.00 % allowed (600 samples)`.
fn said(verdict: &Verdict) -> String {
    let unit = verdict.unit;
    let number = |v: Option<f64>| v.map_or("undefined".to_owned(), |v| format!("{v:.2} {unit}"));
    let at_worst = match verdict.limit {
        Some(_) => format!("at worst {} at 95 % confidence", number(verdict.limit)),
        None => "of unknown confidence".to_owned(),
    };
    format!(
        "{} {}, {at_worst}, {:.2} {unit} allowed ({} samples)",
        verdict.figure(),
        number(verdict.value),
        verdict.allowed,
        verdict.samples
    )
}

/// A doubt about the agreement of classes of which one has such a share of the samples.
pub fn one_class(share: f64) -> String {
    format!(
        "{:.1} % of the samples are of one class: a model that names no other would agree as much",
        100.0 * share
    )
}

/// A doubt about classes that agree in full on so many samples.
pub fn too_perfect(samples: usize, least: f64) -> Option<String> {
    (samples < FEW).then(|| {
        format!(
            "all classes agree on {samples} samples, which shows {least:.1} % of others at most: \
             more samples, and such as the network was not trained on, would tell more"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_said_with_their_limit() {
        let verdict = Verdict {
            metric: "agreement",
            unit: "%",
            allowed: 99.0,
            value: Some(99.61),
            limit: Some(99.018),
            samples: 600,
            needed: Some(299),
            shown: true,
            one_class: None,
            relaxed: None,
            outputs: None,
            higher_is_better: true,
        };
        assert_eq!(
            said(&verdict),
            "agreement 99.61 %, at worst 99.02 % at 95 % confidence, 99.00 % allowed (600 samples)"
        );
        assert_eq!(missed(&verdict), None);
        let worse = Verdict {
            limit: Some(98.9),
            outputs: Some("prob".into()),
            ..verdict.clone()
        };
        assert!(said(&worse).starts_with("agreement of prob 99.61 %"));
        assert!(missed(&worse).is_some_and(|text| {
            text.contains("the 99.00 % agreement of prob that the budget allows is not shown")
        }));
        let none = Verdict {
            limit: None,
            ..verdict
        };
        assert!(said(&none).contains("of unknown confidence"));
        assert!(too_perfect(8, 68.8).is_some_and(|text| text.contains("68.8 %")));
        assert_eq!(too_perfect(299, 99.0), None);
        assert!(one_class(0.958).starts_with("95.8 % of the samples"));
    }
}
