//! Measurements of the points of a curve.

use sepconv_eval::{Evaluator, LatencyTarget, Reference};
use sepconv_latency::Bench;
use sepconv_model::{Error, Loaded, Progress};

use crate::closing::closing_reference;
use crate::curve_point::{CurvePoint, Series};
use crate::settings::Settings;

/// Measures models against the original, which is run once.
pub(crate) struct CurveMeter<'a> {
    original: &'a Loaded,
    settings: &'a Settings,
    /// Target that points are timed on; `None`: they are not timed.
    latency: Option<LatencyTarget>,
    evaluator: Option<Evaluator<'a>>,
    reference: Option<Reference>,
    progress: &'a dyn Progress,
}

impl<'a> CurveMeter<'a> {
    pub fn new(
        original: &'a Loaded,
        settings: &'a Settings,
        latency: Option<LatencyTarget>,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        let target = settings.measured_on();
        Ok(Self {
            original,
            settings,
            latency,
            evaluator: settings.evaluator(original, target)?,
            reference: closing_reference(original, settings, target, progress).ok(),
            progress,
        })
    }

    pub fn point(
        &self,
        series: Series,
        label: String,
        model: &Loaded,
    ) -> Result<CurvePoint, Error> {
        self.point_of(series, label, model, model)
    }

    /// As [`Self::point`], of a model whose MACs and parameters are those of `counted`: constants of
    /// eight bits are not counted as parameters.
    pub fn point_of(
        &self,
        series: Series,
        label: String,
        model: &Loaded,
        counted: &Loaded,
    ) -> Result<CurvePoint, Error> {
        let evaluation = self.evaluator.as_ref();
        let evaluation = evaluation.map(|e| e.evaluate(model, self.progress));
        let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
        let cost = (&counted.cost, &self.original.cost);
        Ok(CurvePoint {
            series,
            label,
            macs: ratio(cost.0.macs, cost.1.macs),
            params: ratio(cost.0.params, cost.1.params),
            time: self.time(series, model)?,
            snr_db: self.snr(series, model),
            evaluation: evaluation.transpose()?,
        })
    }

    /// `None` for no difference, and where a runtime can't run it.
    fn snr(&self, series: Series, model: &Loaded) -> Option<f64> {
        if series == Series::Original {
            return None;
        }
        let reference = self.reference.as_ref()?;
        let compared = reference
            .compare(model, self.settings.measured_on(), self.progress)
            .ok()?;
        let snr = compared.worst_channel_snr().filter(|s| s.is_finite());
        snr.filter(|_| !compared.is_silent())
    }

    fn time(&self, series: Series, model: &Loaded) -> Result<Option<f64>, Error> {
        let Some(latency) = &self.latency else {
            return Ok(None);
        };
        if series == Series::Original {
            return Ok(Some(1.0));
        }
        let run = latency.time(
            &[self.original, model],
            Bench::default(),
            self.settings.seed,
            self.progress,
        )?;
        Ok(run.models.last().map(|m| 1.0 / m.speed_up.median))
    }
}
