//! Measurements of the points of a curve.

use std::cell::{Cell, OnceCell};

use sepconv_eval::{Evaluation, Evaluator, LatencyTarget, Reference};
use sepconv_latency::Bench;
use sepconv_model::{Error, Loaded};
use sepconv_targets::Target;

use crate::closing::closing_reference;
use crate::curve_point::{Compared, CurvePoint, Series};
use crate::job::Job;

/// Measures models against the original of a job, which is run once on every runtime that is needed.
pub(crate) struct CurveMeter<'a> {
    job: &'a Job<'a>,
    /// Target that points are timed on; `None`: they are not timed.
    latency: Option<LatencyTarget>,
    usual: Gauge<'a>,
    /// That of the runtime which takes over where a point is refused.
    other: OnceCell<Gauge<'a>>,
    /// How the first point was compared.
    compared: Cell<Option<Compared>>,
}

/// The original's results on one runtime.
struct Gauge<'a> {
    target: &'static dyn Target,
    evaluator: Option<Evaluator<'a>>,
    reference: Option<Reference>,
}

impl<'a> CurveMeter<'a> {
    /// # Errors
    /// [`Error::Data`] where the evaluation data can't be read, [`Error::Target`] where the original can't be
    /// run on them.
    pub fn new(job: &'a Job<'a>, latency: Option<LatencyTarget>) -> Result<Self, Error> {
        Ok(Self {
            job,
            latency,
            usual: Gauge::new(job, job.measured_on())?,
            other: OnceCell::new(),
            compared: Cell::new(None),
        })
    }

    /// How the outputs of points were compared so far.
    pub fn compared(&self) -> Option<Compared> {
        self.compared.get()
    }

    /// # Errors
    /// As [`CurveMeter::point_of`].
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
    ///
    /// # Errors
    /// [`Error::Target`] where no runtime that measures results can run it.
    pub fn point_of(
        &self,
        series: Series,
        label: String,
        model: &Loaded,
        counted: &Loaded,
    ) -> Result<CurvePoint, Error> {
        let evaluation = self.job.measured(|target| self.evaluated(target, model))?;
        let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
        let cost = (&counted.cost, &self.job.model.cost);
        Ok(CurvePoint {
            series,
            label,
            macs: ratio(cost.0.macs, cost.1.macs),
            params: ratio(cost.0.params, cost.1.params),
            time: self.time(series, model)?,
            snr_db: self.snr(series, model)?,
            evaluation,
        })
    }

    fn gauge(&self, target: &'static dyn Target) -> Result<&Gauge<'a>, Error> {
        if target.name() == self.usual.target.name() {
            return Ok(&self.usual);
        }
        if let Some(known) = self.other.get() {
            return Ok(known);
        }
        let made = Gauge::new(self.job, target)?;
        Ok(self.other.get_or_init(|| made))
    }

    fn evaluated(
        &self,
        target: &'static dyn Target,
        model: &Loaded,
    ) -> Result<Option<Evaluation>, Error> {
        let evaluator = self.gauge(target)?.evaluator.as_ref();
        let evaluation = evaluator.map(|e| e.evaluate(model, self.job.progress));
        evaluation.transpose()
    }

    /// `None` for no difference, and where no runtime can run it.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    fn snr(&self, series: Series, model: &Loaded) -> Result<Option<f64>, Error> {
        if series == Series::Original {
            return Ok(None);
        }
        let compared = self.job.measured(|target| {
            let reference = self.gauge(target)?.reference.as_ref();
            let compared = reference.map(|r| r.compare(model, target, self.job.progress));
            compared.transpose()
        });
        let Some(compared) = if_wanted(compared)?.flatten() else {
            return Ok(None);
        };
        let on = Compared {
            inputs: compared.inputs,
            samples: compared.runs,
            target: compared.target,
        };
        self.compared.set(self.compared.get().or(Some(on)));
        let snr = compared.worst_channel_snr().filter(|s| s.is_finite());
        Ok(snr.filter(|_| !compared.is_silent()))
    }

    fn time(&self, series: Series, model: &Loaded) -> Result<Option<f64>, Error> {
        let Some(latency) = &self.latency else {
            return Ok(None);
        };
        if series == Series::Original {
            return Ok(Some(1.0));
        }
        let run = latency.time(
            &[&self.job.model, model],
            Bench::default(),
            self.job.settings.seed,
            self.job.progress,
        )?;
        Ok(run.models.last().map(|m| 1.0 / m.speed_up.median))
    }
}

impl<'a> Gauge<'a> {
    fn new(job: &'a Job<'a>, target: &'static dyn Target) -> Result<Self, Error> {
        let (original, settings) = (&job.model, &job.settings);
        let reference = closing_reference(original, settings, target, job.progress);
        Ok(Self {
            target,
            evaluator: job.evaluator(target)?,
            reference: if_wanted(reference)?,
        })
    }
}

/// What could be measured, unless nobody wants it any more.
fn if_wanted<T>(measured: Result<T, Error>) -> Result<Option<T>, Error> {
    match measured {
        Err(Error::Cancelled) => Err(Error::Cancelled),
        other => Ok(other.ok()),
    }
}
