//! Progress as lines of plain text, for logs.
//!
//! Nothing is said of short runs. Then a line says that a stage lasts, another that it is done, and
//! once a minute there is one with the steps that are done and left. Moments are durations since the
//! command began.

use std::time::Duration;

use sepconv::{Event, Reach};

/// Runs that are shorter are silent.
pub const SHORT: Duration = Duration::from_secs(5);
/// Stages that are shorter are left out; within a stage those that are shorter than [`SHORT`].
pub const BRIEF: Duration = Duration::from_secs(1);
/// A line is due after so long without one.
pub const EVERY: Duration = Duration::from_secs(60);

/// The stages that go on, and when there was a line last.
#[derive(Debug, Default)]
pub struct Journal {
    /// The outermost first.
    stages: Vec<Stage>,
    last: Duration,
}

/// A stage that goes on.
#[derive(Debug)]
pub struct Stage {
    name: String,
    begun: Duration,
    done: usize,
    /// 0: unknown.
    total: usize,
    /// True once a line has named it.
    told: bool,
}

impl Journal {
    /// Takes in an event. The line that is due, if one is.
    pub fn on(&mut self, event: Event<'_>, now: Duration) -> Option<String> {
        match event {
            Event::Begin { stage, total } => {
                self.stages.push(Stage {
                    name: plain(stage),
                    begun: now,
                    done: 0,
                    total,
                    told: false,
                });
                None
            }
            Event::Step { done } => {
                // From several threads they come in any order.
                let stage = self.stages.last_mut()?;
                stage.done = stage.done.max(done);
                None
            }
            Event::End => {
                let stage = self.stages.pop()?;
                let lasted = now.saturating_sub(stage.begun);
                let tell = stage.told || (lasted >= brief(self.stages.len()) && now >= SHORT);
                tell.then(|| self.line(stage.end(lasted), now))
            }
            Event::Foreseen(reach) => Some(self.line(foreseen(reach), now)),
        }
    }

    /// The line that is due by the time alone, if one is.
    pub fn tick(&mut self, now: Duration) -> Option<String> {
        if now < SHORT {
            return None;
        }
        let least = brief(self.stages.len().saturating_sub(1));
        let lasting = |s: &Stage| !s.told && now.saturating_sub(s.begun) >= least;
        let due = now.saturating_sub(self.last) >= EVERY || self.stages.last().is_some_and(lasting);
        due.then(|| {
            self.stages.iter_mut().for_each(|s| s.told = true);
            let all: Vec<String> = self.stages.iter().map(|s| s.status(now)).collect();
            let text = match all.as_slice() {
                [] => format!("{} so far", duration(now)),
                all => all.join("; "),
            };
            self.line(text, now)
        })
    }

    /// The innermost stage.
    pub fn innermost(&self) -> Option<&Stage> {
        self.stages.last()
    }

    fn line(&mut self, text: String, now: Duration) -> String {
        self.last = now;
        text
    }
}

impl Stage {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn done(&self) -> usize {
        self.done
    }

    pub fn total(&self) -> usize {
        self.total
    }

    /// `calibrating: 12 of 60 layers, 3 min so far, about 9 min left`
    fn status(&self, now: Duration) -> String {
        let lasted = now.saturating_sub(self.begun);
        let unit = unit(&self.name, self.total);
        let count = match self.total {
            0 if self.done == 0 => String::new(),
            0 => format!(" {} {unit},", self.done),
            total => format!(" {} of {total} {unit},", self.done),
        };
        let left = self
            .left(now)
            .map(|left| format!(", about {} left", duration(left)));
        let (name, left) = (&self.name, left.unwrap_or_default());
        format!("{name}:{count} {} so far{left}", duration(lasted))
    }

    /// `calibrating: 60 layers, done in 12 min`
    fn end(&self, lasted: Duration) -> String {
        let (count, done) = match (self.total, self.done) {
            (0, done) => (done, "done"),
            (total, done) if done >= total => (total, "done"),
            (_, done) => (done, "ended"),
        };
        let unit = unit(&self.name, count);
        format!(
            "{}: {count} {unit}, {done} in {}",
            self.name,
            duration(lasted)
        )
    }

    /// Time that the rest takes, where steps to come take as long as those that are done.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        let rest = self.total.checked_sub(self.done).filter(|rest| *rest > 0)?;
        let done = Some(self.done).filter(|done| *done > 0)?;
        let each = now.saturating_sub(self.begun).as_secs_f64() / done as f64;
        Duration::try_from_secs_f64(each * rest as f64).ok()
    }
}

/// The outcome of a budget, in words.
pub fn foreseen(Reach { asked, held, left }: Reach) -> String {
    format!(
        "note: {asked} of all MACs leaves the layers that can be rewritten {left:.2} of theirs: they \
         hold {held:.2} of all, other operators the rest (--families +lowrank takes in products and \
         1x1 convolutions)"
    )
}

/// Least time of a stage within so many others that is told.
fn brief(depth: usize) -> Duration {
    if depth == 0 { BRIEF } else { SHORT }
}

/// Unit of the steps of a stage.
fn unit(stage: &str, count: usize) -> &'static str {
    let word = stage.split(' ').next().unwrap_or_default();
    let (one, many) = match (word, stage) {
        ("decomposing" | "scoring" | "probing" | "calibrating", _) => ("layer", "layers"),
        (_, "timing layers" | "costing layers") => ("form", "forms"),
        ("collecting" | "weighing" | "evaluating" | "tuning", _) => ("batch", "batches"),
        (_, "running the original") => ("batch", "batches"),
        ("running", _) => ("run", "runs"),
        ("timing", _) => ("round", "rounds"),
        ("searching" | "planning", _) => ("plan", "plans"),
        ("sweeping" | "measuring", _) => ("model", "models"),
        _ => ("step", "steps"),
    };
    if count == 1 { one } else { many }
}

/// `34 s`, `12 min`, `2 h 5 min`.
pub fn duration(of: Duration) -> String {
    let seconds = of.as_secs_f64().round() as u64;
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", (seconds + 30) / 60),
        _ => {
            let minutes = (seconds + 30) / 60;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

/// Without control characters: names in models may hold any.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn begin(stage: &str, total: usize) -> Event<'_> {
        Event::Begin { stage, total }
    }

    fn step(done: usize) -> Event<'static> {
        Event::Step { done }
    }

    /// Lines that are written when events come at these seconds, with a tick four times a second.
    fn written(events: &[(f64, Event<'_>)], until: f64) -> Vec<(f64, String)> {
        let mut journal = Journal::default();
        let mut lines = Vec::new();
        let mut events = events.iter().peekable();
        let mut now = 0.0;
        while now <= until {
            while let Some((moment, event)) = events.next_if(|(moment, _)| *moment <= now) {
                let line = journal.on(*event, at(*moment));
                lines.extend(line.map(|line| (*moment, line)));
            }
            lines.extend(journal.tick(at(now)).map(|line| (now, line)));
            now += 0.25;
        }
        lines
    }

    #[test]
    fn short_runs_and_brief_stages_are_silent() {
        let run = [(0.0, begin("decomposing", 9)), (4.5, Event::End)];
        assert_eq!(written(&run, 4.75), []);
        let brief = [
            (8.0, begin("running", 4)),
            (8.5, Event::End),
            (9.0, begin("evaluating", 4)),
            (9.8, Event::End),
        ];
        assert_eq!(written(&brief, 20.0), []);
    }

    #[test]
    fn a_stage_is_told_when_it_lasts_once_a_minute_and_when_it_is_done() {
        let events = [
            (0.0, begin("decomposing", 60)),
            (6.5, step(60)),
            (6.5, Event::End),
            (7.0, begin("calibrating", 60)),
            (37.0, step(1)),
            (99.0, step(3)),
            (187.0, step(12)),
            (727.0, step(60)),
            (727.0, Event::End),
        ];
        let lines = written(&events, 730.0);
        let text: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(
            &text[..6],
            [
                "decomposing: 0 of 60 layers, 5 s so far",
                "decomposing: 60 layers, done in 7 s",
                "calibrating: 0 of 60 layers, 1 s so far",
                "calibrating: 1 of 60 layers, 61 s so far, about 60 min left",
                "calibrating: 3 of 60 layers, 2 min so far, about 38 min left",
                "calibrating: 12 of 60 layers, 3 min so far, about 12 min left",
            ]
        );
        assert_eq!(text.last(), Some(&"calibrating: 60 layers, done in 12 min"));
        let gaps = lines.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert_eq!(gaps.fold(0.0, f64::max), 60.0);
    }

    #[test]
    fn stages_within_stages_are_told_together_and_what_is_around_goes_on() {
        let events = [
            (0.0, begin("searching", 6)),
            (10.0, begin("calibrating", 4)),
            (12.0, step(1)),
            (30.0, step(4)),
            (30.0, Event::End),
            (30.0, step(1)),
            (31.0, begin("calibrating", 4)),
        ];
        let lines: Vec<String> = written(&events, 91.0).into_iter().map(|l| l.1).collect();
        assert_eq!(
            lines,
            [
                "searching: 0 of 6 plans, 5 s so far",
                "searching: 0 of 6 plans, 15 s so far; calibrating: 1 of 4 layers, 5 s so far, about 15 s \
                 left",
                "calibrating: 4 layers, done in 20 s",
                "searching: 1 of 6 plans, 36 s so far, about 3 min left; \
                 calibrating: 0 of 4 layers, 5 s so far",
            ]
        );
    }

    #[test]
    fn what_is_foreseen_is_told_at_once() {
        let reach = Reach {
            asked: 0.5,
            held: 0.54,
            left: 0.074,
        };
        let lines = written(&[(0.25, Event::Foreseen(reach))], 1.0);
        let said = "note: 0.5 of all MACs leaves the layers that can be rewritten 0.07 of theirs";
        assert!(lines[0].1.starts_with(said), "{lines:?}");
    }

    #[test]
    fn between_stages_the_time_alone_is_told() {
        let lines = written(&[(0.0, begin("decomposing", 1)), (1.0, Event::End)], 130.0);
        let expected = [(60.0, "60 s so far".into()), (120.0, "2 min so far".into())];
        assert_eq!(lines, expected);
    }

    #[test]
    fn stages_that_fail_are_not_called_done_and_totals_may_be_unknown() {
        let events = [
            (5.0, begin("running", 1)),
            (8.0, Event::End),
            (9.0, begin("measuring ranks", 0)),
            (9.5, step(2)),
            (12.0, Event::End),
        ];
        let lines: Vec<String> = written(&events, 13.0).into_iter().map(|l| l.1).collect();
        assert_eq!(
            lines,
            [
                "running: 0 of 1 run, 1 s so far",
                "running: 0 runs, ended in 3 s",
                "measuring ranks: 2 models, 1 s so far",
                "measuring ranks: 2 models, done in 3 s",
            ]
        );
    }

    #[test]
    fn lines_hold_no_control_characters_and_steps_never_go_back() {
        let events = [
            (0.0, begin("tuning a\n\u{1b}[31mb", 9)),
            (1.0, step(4)),
            (1.0, step(3)),
        ];
        let lines = written(&events, 5.0);
        let expected = "tuning a??[31mb: 4 of 9 batches, 5 s so far, about 6 s left";
        assert_eq!(lines, [(5.0, expected.to_owned())]);
    }

    #[test]
    fn durations_are_told_in_the_largest_unit_that_says_enough() {
        let told = [0.4, 1.6, 99.4, 100.0, 179.0, 5999.0, 6000.0, 7530.0];
        let told = told.map(|seconds| duration(at(seconds)));
        let expected = [
            "0 s",
            "2 s",
            "99 s",
            "2 min",
            "3 min",
            "100 min",
            "1 h 40 min",
            "2 h 6 min",
        ];
        assert_eq!(told, expected);
    }
}
