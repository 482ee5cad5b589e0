// SPDX-License-Identifier: GPL-2.0

//! The targets, a file each, and what they count with.

#![allow(refining_impl_trait)]

crate::dm::targets! {
    hold::ProbeHold,
    late::ProbeLate,
    probe::Probe,
}

use crate::dm::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// How many [`Token`]s were made and dropped since the module was loaded.
static MADE: Atomic<u64> = Atomic::new(0);
static DROPPED: Atomic<u64> = Atomic::new(0);
/// How many were none when they were dropped or looked at, and what else went wrong.
static BAD: Atomic<u64> = Atomic::new(0);

const ALIVE: u64 = 0x600d_600d_600d_600d;
const DEAD: u64 = 0xdead_dead_dead_dead;

/// What is kept with a bio: it knows whether it is there.
pub(crate) struct Token(Atomic<u64>);

impl Token {
    /// To be called while there has to be one.
    pub(crate) fn look(&self) {
        expect(self.0.load(Relaxed) == ALIVE);
    }
}

impl Default for Token {
    fn default() -> Self {
        MADE.add(1, Relaxed);
        Self(Atomic::new(ALIVE))
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        expect(self.0.xchg(DEAD, Relaxed) == ALIVE);
        DROPPED.add(1, Relaxed);
    }
}

/// Counts what is not as it has to be.
pub(crate) fn expect(good: bool) {
    if !good {
        BAD.add(1, Relaxed);
    }
}

/// A status line: `<made> <dropped> <bad>`.
pub(crate) fn write_counts(out: &mut StatusLine<'_>) -> fmt::Result {
    let counts = [&MADE, &DROPPED, &BAD].map(|count| count.load(Relaxed));

    write!(out, "{} {} {}", counts[0], counts[1], counts[2])
}
