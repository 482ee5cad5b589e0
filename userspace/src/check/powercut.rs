// SPDX-License-Identifier: GPL-2.0

//! The options of `rust-powercut`, read by the code with which the target itself reads them.

use std::{cell::Cell, ops::Range};

#[allow(dead_code)]
#[path = "../../../rust/targets/powercut/chance.rs"]
mod chance;
#[allow(dead_code)]
#[path = "../../../rust/targets/powercut/options.rs"]
mod options;

/// What there is.
pub(super) const HELP: &str = "options are: seed N, cache BYTES, odds KEPT DROPPED TORN, \
    unit SECTORS, lying, error r|w|f RATE FIRST SECTORS, bad FIRST SECTORS, bad_rate RATE, \
    misdirect RATE, latency r|w|f fixed T (or: uniform FROM TO, long FROM TO); rates in 10^9";

/// The first option that the target would refuse: which words it is, and what the target would say.
pub(super) fn refused<'a>(words: impl Iterator<Item = &'a str>) -> Option<(Range<usize>, String)> {
    let taken = Cell::new(0);
    let mut words = words
        .map(str::as_bytes)
        .inspect(|_| taken.set(taken.get() + 1));
    let mut options = options::Options::default();
    loop {
        let first = taken.get();
        let name = words.next()?;
        if let Err(what) = options.option(name, &mut words) {
            return Some((first..taken.get(), what.to_string_lossy().into_owned()));
        }
    }
}
