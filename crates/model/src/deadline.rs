//! The time by which work is to end.

use std::time::{Duration, Instant};

/// A span of time for the whole work.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    begun: Instant,
    allowed: Duration,
}

impl Deadline {
    /// `allowed` from now on.
    pub fn within(allowed: Duration) -> Self {
        Self {
            begun: Instant::now(),
            allowed,
        }
    }

    /// The time that is allowed in all.
    pub fn allowed(self) -> Duration {
        self.allowed
    }

    /// The moment at which such a share of the time is over; `None` where it is beyond the clock's range.
    pub fn at(self, share: f64) -> Option<Instant> {
        let after = Duration::try_from_secs_f64(self.allowed.as_secs_f64() * share).ok()?;
        self.begun.checked_add(after)
    }

    /// Share of the time that is over: 1 at the deadline, and above behind it.
    pub fn spent(self) -> f64 {
        self.share_of(self.begun.elapsed())
    }

    /// A span as a share of the time.
    pub fn share_of(self, span: Duration) -> f64 {
        span.as_secs_f64() / self.allowed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Reads a span of time: seconds, or a number with `s`, `m` or `h`, such as `90s`, `5m` or `1.5h`.
///
/// # Errors
/// A sentence that names the text, where it is no such span or is not above zero.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, text.as_bytes().last().copied()),
        None => (text, None),
    };
    let seconds = match unit {
        Some(b'm') => 60.0,
        Some(b'h') => 3600.0,
        _ => 1.0,
    };
    let number: Option<f64> = number.trim().parse().ok();
    let span = number.and_then(|n| Duration::try_from_secs_f64(n * seconds).ok());
    span.filter(|span| !span.is_zero()).ok_or_else(|| {
        let found = text.escape_debug();
        format!("expected a time such as 90s, 5m or 1h, found '{found}'")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1.5h", 5400.0)] {
            assert_eq!(parse_time(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in ["", "m", "0", "-1s", "5 days", "inf", "nan"] {
            let error = parse_time(text).unwrap_err();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }

    #[test]
    fn what_is_spent_goes_on_behind_the_deadline() {
        let over = Deadline::within(Duration::from_nanos(1));
        std::thread::sleep(Duration::from_millis(1));
        assert!(over.spent() > 1.0);
        let hour = Deadline::within(Duration::from_secs(3600));
        assert!(hour.spent() < 0.5);
        assert!(hour.at(0.5) < hour.at(1.0) && hour.at(0.5) > Some(Instant::now()));
        assert_eq!(hour.at(-1.0), None);
    }
}
