// SPDX-License-Identifier: GPL-2.0

//! Waiting for what happens a little later.

use crate::case::is_watched;
use anyhow::{bail, Result};
use std::thread;
use std::time::{Duration, Instant};

/// How long is waited for what must come. It comes within milliseconds: this is for a machine that
/// has other things to do.
pub fn patience() -> Duration {
    Duration::from_secs(60) * slowness()
}

/// Kernels that watch all that they do are ten times as slow.
fn slowness() -> u32 {
    if is_watched() {
        10
    } else {
        1
    }
}

const STEP: Duration = Duration::from_millis(10);

/// Looks every few milliseconds until there is something, and returns it.
///
/// # Errors
/// What looking ended with; or that `what` did not come.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + patience();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("{what}: not within {} s", patience().as_secs());
        }
        thread::sleep(STEP);
    }
}

/// Looks every few milliseconds until it is so.
///
/// # Errors
/// As [`until`].
pub fn until_true(what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, || Ok(look()?.then_some(())))
}

/// Tries up to ten times, until it was quick enough: the guest may have to wait for its CPUs, but not
/// each time.
///
/// # Errors
/// What trying ended with; or that it never was.
pub fn quick<T>(what: &str, most: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let most = most * slowness();
    let mut quickest = Duration::MAX;
    for _ in 0..10 {
        let begin = Instant::now();
        let done = attempt()?;
        quickest = quickest.min(begin.elapsed());
        if quickest <= most {
            return Ok(done);
        }
    }
    bail!("{what} took {quickest:?} and more, not {most:?} at most")
}
