//! The training loop.

use std::path::PathBuf;
use std::time::Instant;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use sepconv_factor::random::SplitMix64;
use serde::Serialize;

use crate::compute::Compute;
use crate::epoch::Epoch;
use crate::error::TuneError;
use crate::loss::{Agreement, Goal, Loss};
use crate::network::Network;
use crate::soap::Soap;
use crate::state::State;
use crate::values::Values;

/// Examples that are computed together, at most; the rest of a batch runs beside them.
const SHARD: usize = 4;
/// Shards of a batch, where there are examples enough.
const SHARDS: usize = 8;
/// Learning rates of classes and of numbers.
const RATES: (f64, f64) = (0.0005, 0.002);
/// Least loss at the start, beside the greatest of its kind, that losses are held against.
const LEAST: f64 = 1e-3;
/// First steps, at most, whose size rises: moments are not known yet.
const WARM: usize = 20;

/// One sample: the given values of the network, and the targets of its wanted ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// One per given value of the network.
    pub given: Vec<Values>,
    /// One per goal.
    pub targets: Vec<Values>,
}

/// Source of examples, and listener to progress.
pub trait Examples: Sync {
    /// Number of examples.
    fn len(&self) -> usize;

    /// True where there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An example. `draw` decides how it is augmented; `None`: not at all.
    ///
    /// # Errors
    /// Any failure to make it.
    fn example(
        &self,
        index: usize,
        draw: Option<SplitMix64>,
    ) -> Result<Example, Box<dyn std::error::Error + Send + Sync>>;

    /// Told of every epoch, the start (epoch 0) included.
    ///
    /// # Errors
    /// An error ends the training.
    fn on_epoch(&self, epoch: &Epoch) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// Told after every batch: how many of an epoch's are done.
    ///
    /// # Errors
    /// An error ends the training.
    fn on_batch(
        &self,
        done: usize,
        total: usize,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// The settings of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSettings {
    /// Passes over the examples, at most.
    pub epochs: usize,
    /// The time at which training ends, in the middle of an epoch too.
    pub until: Option<Instant>,
    /// Examples of a step; `None`: 32 where the outputs are classes, else as many as have 20480
    /// elements in a channel of the largest value compared, 1 to 32.
    pub batch: Option<usize>,
    /// The largest step's size, relative to the root mean square of the weights that it moves; falls to 0
    /// along a cosine. `None`: 0.0005 where the outputs are classes, else 0.002.
    pub learning_rate: Option<f64>,
    /// Norm that gradients are clipped to. The loss begins at about 1.
    pub clip: f64,
    /// Temperature of divergences.
    pub temperature: f64,
    /// Weight of values on the way beside that of outputs.
    pub blocks: f64,
    /// Epochs without a better one on the held-out examples after which training ends.
    pub patience: usize,
    /// One of so many examples is held out.
    pub held_out_every: usize,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// The device that computes the network.
    pub compute: Compute,
    /// File that the state is kept in between epochs, and read from at the start.
    pub state: Option<PathBuf>,
    /// The key of the run that the state belongs to; another is refused.
    pub key: String,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 20,
            until: None,
            batch: None,
            learning_rate: None,
            clip: 1.0,
            temperature: 2.0,
            blocks: 0.1,
            patience: 6,
            held_out_every: 10,
            seed: 0,
            compute: Compute::Cpu,
            state: None,
            key: String::new(),
        }
    }
}

/// The outcome of a training. The network's parameters are those of the best epoch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trained {
    /// All epochs, the start first.
    pub epochs: Vec<Epoch>,
    /// The one whose parameters were kept: that with the least held-out loss.
    pub best: usize,
    /// Epochs that [`TrainSettings::until`] left no time for.
    pub left_out: usize,
}

/// Moves a network's parameters towards `goals`, one per wanted value. The parameters of the
/// epoch with the least loss on held-out examples are kept, the start among them: they are
/// never worse there than they were.
///
/// # Errors
/// [`TuneError`].
pub fn train(
    network: &Network,
    goals: &[Goal],
    examples: &dyn Examples,
    settings: &TrainSettings,
) -> Result<Trained, TuneError> {
    let (held_out, shown) = parted(examples.len(), settings)?;
    let run = Run {
        network,
        goals,
        examples,
        settings,
    };
    let parameters = network.parameters();
    // The scale of losses is that of the start, also of a run that goes on.
    let start = run.measure(&held_out)?;
    let scales = scales(goals, &start.losses);
    let saved = match &settings.state {
        Some(path) => State::load(path, &settings.key, parameters)?,
        None => None,
    };
    let mut state = match saved {
        Some(state) => state,
        None => {
            let first = start.epoch(goals, 1.0, 0.0);
            examples.on_epoch(&first).map_err(TuneError::Caller)?;
            State {
                soap: Soap::new(parameters),
                best: parameters
                    .iter()
                    .map(|p| p.var.as_detached_tensor().copy())
                    .collect::<Result<_, _>>()?,
                epochs: vec![first],
            }
        }
    };
    let learning_rate = settings.learning_rate.unwrap_or(match run.has_classes() {
        true => RATES.0,
        false => RATES.1,
    });
    let size = match settings.batch {
        Some(size) => size.max(1),
        None => run.usual_batch()?,
    };
    let batches = shown.len().div_ceil(size);
    let total = (batches * settings.epochs).max(1);
    let clock = Clock::until(settings.until);
    // Steps of an earlier run that this one goes on from.
    let behind = (state.epochs.len() - 1) * batches;
    let mut left_out = 0;
    while state.epochs.len() <= settings.epochs {
        let best = best(&state.epochs);
        if state.epochs.len() - best > settings.patience {
            break;
        }
        if clock.is_over() {
            left_out = settings.epochs + 1 - state.epochs.len();
            break;
        }
        let began = Instant::now();
        let epoch = state.epochs.len();
        let mut list = shown.clone();
        SplitMix64::new(settings.seed, epoch as u64).shuffle(&mut list);
        let (mut sum, mut seen) = (0.0, 0);
        for (i, batch) in list.chunks(size).enumerate() {
            let (loss, gradients) = run.gradients(batch, &scales, epoch)?;
            if !loss.is_finite() {
                return Err(TuneError::Diverged(epoch));
            }
            let taken = (epoch - 1) * batches + i;
            let timed = behind as f64 + clock.spent() * (total - behind.min(total)) as f64;
            let done = (taken as f64).max(timed) / total as f64;
            let warm = ((taken + 1) as f64 / (total / 10).clamp(1, WARM) as f64).min(1.0);
            let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            let rate = learning_rate * warm * cosine;
            state
                .soap
                .step(parameters, &gradients, rate, settings.clip)?;
            sum += loss * batch.len() as f64;
            seen += batch.len();
            examples
                .on_batch(i + 1, batches)
                .map_err(TuneError::Caller)?;
            if clock.is_over() {
                break;
            }
        }
        let weights = 1.0
            + if goals.iter().all(|g| g.output) {
                0.0
            } else {
                settings.blocks
            };
        let mean = sum / (seen.max(1) as f64 * weights);
        let now = run
            .measure(&held_out)?
            .epoch(goals, mean, began.elapsed().as_secs_f64());
        if !now.held_out_loss.is_finite() {
            return Err(TuneError::Diverged(epoch));
        }
        if now.held_out_loss < state.epochs[best].held_out_loss {
            let copies = parameters.iter().map(|p| p.var.as_detached_tensor().copy());
            state.best = copies.collect::<Result<_, _>>()?;
        }
        state.epochs.push(now);
        if let Some(path) = &settings.state {
            state.save(path, &settings.key, parameters)?;
        }
        examples.on_epoch(&now).map_err(TuneError::Caller)?;
    }
    for (parameter, best) in parameters.iter().zip(&state.best) {
        parameter.var.set(best)?;
    }
    Ok(Trained {
        best: best(&state.epochs),
        epochs: state.epochs,
        left_out,
    })
}

/// The time that a training has.
struct Clock {
    begun: Instant,
    until: Option<Instant>,
}

impl Clock {
    fn until(until: Option<Instant>) -> Self {
        Self {
            begun: Instant::now(),
            until,
        }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Share of the time that is over, 1 at most; 0 where there is no end.
    fn spent(&self) -> f64 {
        self.until.map_or(0.0, |until| {
            let allowed = until.saturating_duration_since(self.begun).as_secs_f64();
            (self.begun.elapsed().as_secs_f64() / allowed.max(f64::MIN_POSITIVE)).min(1.0)
        })
    }
}

/// Weights of losses: each counts relative to that of the start. One that is next to nothing there beside
/// others of its kind is an output, say, in front of all rewritten layers, and counts as [`LEAST`] of the
/// greatest: its gradients would outweigh all others'.
fn scales(goals: &[Goal], losses: &[f64]) -> Vec<f64> {
    let greatest = |output: bool| {
        let own = goals.iter().zip(losses).filter(|(g, _)| g.output == output);
        own.map(|(_, l)| *l).fold(0.0, f64::max)
    };
    let greatest = [greatest(false), greatest(true)];
    let of = |(goal, loss): (&Goal, &f64)| {
        let least = LEAST * greatest[usize::from(goal.output)];
        1.0 / loss.max(least).max(1e-12)
    };
    goals.iter().zip(losses).map(of).collect()
}

/// The figures of a network, as it is, on the examples that [`train`] holds out.
///
/// # Errors
/// [`TuneError`].
pub fn held_out(
    network: &Network,
    goals: &[Goal],
    examples: &dyn Examples,
    settings: &TrainSettings,
) -> Result<Epoch, TuneError> {
    let (held_out, _) = parted(examples.len(), settings)?;
    let run = Run {
        network,
        goals,
        examples,
        settings,
    };
    Ok(run.measure(&held_out)?.epoch(goals, 1.0, 0.0))
}

/// The examples that are held out, and the others.
fn parted(n: usize, settings: &TrainSettings) -> Result<(Vec<usize>, Vec<usize>), TuneError> {
    let mut order: Vec<usize> = (0..n).collect();
    SplitMix64::new(settings.seed, 0).shuffle(&mut order);
    let held = n.div_ceil(settings.held_out_every.max(2)).min(n / 2);
    if held == 0 {
        return Err(TuneError::Samples(n));
    }
    let mut shown = order.split_off(held);
    shown.sort_unstable();
    Ok((order, shown))
}

/// The first epoch with the least held-out loss.
fn best(epochs: &[Epoch]) -> usize {
    let mut best = 0;
    for (i, epoch) in epochs.iter().enumerate() {
        if epoch.held_out_loss < epochs[best].held_out_loss {
            best = i;
        }
    }
    best
}

struct Run<'a> {
    network: &'a Network,
    goals: &'a [Goal],
    examples: &'a dyn Examples,
    settings: &'a TrainSettings,
}

/// Losses of all goals, per row.
struct Measured {
    losses: Vec<f64>,
    agreement: f64,
}

impl Measured {
    fn epoch(&self, goals: &[Goal], loss: f64, seconds: f64) -> Epoch {
        let outputs = goals.iter().zip(&self.losses).filter(|(g, _)| g.output);
        let counted: Vec<f64> = match goals.iter().any(|g| g.output) {
            true => outputs.map(|(_, l)| *l).collect(),
            false => self.losses.clone(),
        };
        Epoch {
            held_out_loss: counted.iter().sum::<f64>() / counted.len().max(1) as f64,
            held_out_agreement: self.agreement,
            loss,
            seconds,
        }
    }
}

impl Run<'_> {
    /// A shard's given values and targets.
    fn shard(
        &self,
        shard: &[usize],
        epoch: Option<usize>,
    ) -> Result<(Vec<Tensor>, Vec<Tensor>), TuneError> {
        let mut made = Vec::new();
        for index in shard {
            let draw = epoch.map(|e| {
                SplitMix64::new(
                    self.settings.seed ^ 0x5eed,
                    (e as u64) << 32 | *index as u64,
                )
            });
            made.push(
                self.examples
                    .example(*index, draw)
                    .map_err(TuneError::Caller)?,
            );
        }
        let join = |of: fn(&Example) -> &Vec<Values>, n: usize| -> Result<Vec<Tensor>, TuneError> {
            let device = self.network.device();
            (0..n)
                .map(|i| rows(made.iter().filter_map(|e| of(e).get(i)), device))
                .collect()
        };
        let given = join(|e| &e.given, self.network.given().len())?;
        Ok((given, join(|e| &e.targets, self.goals.len())?))
    }

    fn has_classes(&self) -> bool {
        self.goals.iter().any(|g| g.output && g.loss == Loss::Kl)
    }

    /// Every element of a map is compared for itself: a map is worth as many examples of
    /// classes, and steps are worth more than large batches.
    fn usual_batch(&self) -> Result<usize, TuneError> {
        const LARGEST: usize = 32;
        const ELEMENTS: usize = 20480;
        if self.has_classes() {
            return Ok(LARGEST);
        }
        let first = self.examples.example(0, None).map_err(TuneError::Caller)?;
        let positions = |v: &Values| v.dims.iter().skip(2).product::<usize>();
        let largest = first.targets.iter().map(positions).max().unwrap_or(1);
        Ok((ELEMENTS / largest.max(1)).clamp(1, LARGEST))
    }

    /// Number of examples of a batch that are computed together: a GPU takes them all.
    fn at_once(&self, batch: usize) -> usize {
        match self.network.device().is_cpu() {
            true => (batch / SHARDS).clamp(1, SHARD),
            false => batch.max(1),
        }
    }

    /// The mean loss of a batch, and its gradients.
    fn gradients(
        &self,
        batch: &[usize],
        scales: &[f64],
        epoch: usize,
    ) -> Result<(f64, Vec<Tensor>), TuneError> {
        let parameters = self.network.parameters();
        let outputs = self.goals.iter().filter(|g| g.output).count().max(1) as f64;
        let inner = self.goals.iter().filter(|g| !g.output).count().max(1) as f64;
        let shards: Vec<(f64, Vec<Tensor>)> = batch
            .par_chunks(self.at_once(batch.len()))
            .map(|shard| -> Result<(f64, Vec<Tensor>), TuneError> {
                let (given, targets) = self.shard(shard, Some(epoch))?;
                let values = self.network.run(&given, true)?;
                let rows = targets
                    .first()
                    .and_then(|t| t.dims().first())
                    .copied()
                    .unwrap_or(1);
                let share = shard.len() as f64 / (batch.len() * rows) as f64;
                let mut loss = Tensor::zeros((), candle_core::DType::F32, self.network.device())?;
                for (i, goal) in self.goals.iter().enumerate() {
                    let weight = if goal.output {
                        1.0 / outputs
                    } else {
                        self.settings.blocks / inner
                    };
                    let own = goal.sum(&values[i], &targets[i], self.settings.temperature)?;
                    loss = (loss + (own * (weight * scales[i] * share))?)?;
                }
                let store = loss.backward()?;
                let gradient = |p: &crate::parameter::Parameter| match store.get(&p.var) {
                    Some(gradient) => Ok(gradient.clone()),
                    None => p.var.zeros_like(),
                };
                let gradients = parameters
                    .iter()
                    .map(gradient)
                    .collect::<Result<Vec<_>, _>>()?;
                Ok((f64::from(loss.to_scalar::<f32>()?), gradients))
            })
            .collect::<Result<_, _>>()?;
        let mut shards = shards.into_iter();
        let (mut loss, mut sum) = shards.next().unwrap_or_default();
        for (own, gradients) in shards {
            loss += own;
            for (sum, gradient) in sum.iter_mut().zip(gradients) {
                *sum = (&*sum + gradient)?;
            }
        }
        Ok((loss, sum))
    }

    fn measure(&self, list: &[usize]) -> Result<Measured, TuneError> {
        let shards: Vec<(Vec<f64>, Agreement, usize)> = list
            .par_chunks(self.at_once(SHARD * SHARDS))
            .map(|shard| -> Result<_, TuneError> {
                let (given, targets) = self.shard(shard, None)?;
                let values = self.network.run(&given, false)?;
                let mut losses = Vec::new();
                let mut agreement = Agreement::default();
                let decides = self.goals.iter().any(|g| g.output);
                for (i, goal) in self.goals.iter().enumerate() {
                    let own = goal.sum(&values[i], &targets[i], self.settings.temperature)?;
                    losses.push(f64::from(own.to_scalar::<f32>()?));
                    if goal.output || !decides {
                        agreement.add(goal.agreement(&values[i], &targets[i])?);
                    }
                }
                let rows = targets
                    .first()
                    .and_then(|t| t.dims().first())
                    .copied()
                    .unwrap_or(1);
                Ok((losses, agreement, rows))
            })
            .collect::<Result<_, _>>()?;
        let mut losses = vec![0.0; self.goals.len()];
        let mut agreement = Agreement::default();
        let mut rows = 0;
        for (own, agrees, count) in shards {
            losses.iter_mut().zip(own).for_each(|(l, o)| *l += o);
            agreement.add(agrees);
            rows += count;
        }
        losses.iter_mut().for_each(|l| *l /= rows.max(1) as f64);
        Ok(Measured {
            losses,
            agreement: agreement.value(),
        })
    }
}

/// The rows of several values of the same extents.
fn rows<'a>(
    values: impl Iterator<Item = &'a Values>,
    device: &Device,
) -> Result<Tensor, TuneError> {
    let mut elements: Vec<f32> = Vec::new();
    let mut dims: Vec<usize> = Vec::new();
    for value in values {
        if dims.is_empty() {
            dims.clone_from(&value.dims);
        } else if dims.get(1..) == value.dims.get(1..) {
            dims[0] += value.dims[0];
        } else {
            return Err(TuneError::Library("samples are of different shapes".into()));
        }
        elements.extend_from_slice(&value.elements);
    }
    Ok(Tensor::from_vec(elements, dims, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Nature;
    use std::time::Duration;

    fn goal(output: bool) -> Goal {
        Goal {
            name: "v".into(),
            loss: Loss::L2,
            nature: Nature::Numbers,
            factors: None,
            output,
        }
    }

    #[test]
    fn losses_of_next_to_nothing_do_not_outweigh_the_others() {
        let goals = [true, true, true, false].map(goal);
        let found = scales(&goals, &[0.5, 0.1, 1e-13, 1e-6]);
        assert_eq!(found, [2.0, 10.0, 1.0 / (LEAST * 0.5), 1e6]);
        assert_eq!(scales(&goals, &[0.0; 4]), [1e12; 4]);
    }

    #[test]
    fn a_clock_is_over_at_its_end() {
        let endless = Clock::until(None);
        assert!(!endless.is_over() && endless.spent() == 0.0);
        let over = Clock::until(Some(Instant::now()));
        assert!(over.is_over() && over.spent() > 0.99);
        let hour = Clock::until(Instant::now().checked_add(Duration::from_secs(3600)));
        assert!(!hour.is_over() && hour.spent() < 0.5);
    }
}
