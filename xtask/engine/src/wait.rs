//! Waiting for something to become true, with a deadline. The only place that lets time pass.

use std::time::{Duration, Instant};

/// Asks `ready` until it answers, at growing intervals from 1 ms to 20 ms.
///
/// # Errors
/// The first error of `ready`, or one that names `what` once `within` has passed.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut ready: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + within;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = ready()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            anyhow::bail!("{what}: not within {:.1} s", within.as_secs_f64());
        }
        pass(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

#[expect(clippy::disallowed_methods, reason = "polling at a bounded interval, under a deadline")]
fn pass(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_names_what_was_awaited() {
        let error = until::<()>("socket x", Duration::from_millis(3), || Ok(None)).unwrap_err();
        assert!(error.to_string().starts_with("socket x: not within"), "{error}");
    }

    #[test]
    fn an_error_ends_the_waiting_at_once() {
        let mut asked = 0;
        let error = until::<()>("x", Duration::from_secs(3600), || {
            asked += 1;
            anyhow::bail!("gone")
        })
        .unwrap_err();
        assert_eq!((error.to_string().as_str(), asked), ("gone", 1));
    }
}
