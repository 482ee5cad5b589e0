// SPDX-License-Identifier: GPL-2.0

//! Which bios are worked on by other CPUs than the one that submits them.
//!
//! To hand a bio over costs more than to encrypt a few KiB, and whoever waits for the bio waits for
//! a CPU to wake up. It gains where a CPU has nothing to do: then two work at once. So a bio stays
//! where it is submitted, but for these:
//!
//! - one is handed over when the submitter does not wait for it but submits more. Nobody says so
//!   beforehand, and bios that are done at once leave no trace of it; so one is handed over now and
//!   then, to see whether another comes before it is done, or without the submitter having waited
//!   since;
//! - a large one is worked on in parts otherwise, all but one of which are handed over, and taken
//!   back if nobody has begun with them by the time that one is done.
//!
//! CPUs that submit bios themselves are not helped by others: they are all at work.
//!
//! Where threads complete bios below (`integrity` does so), that is not all. They run where bios are
//! submitted, and would take turns with the submitter for each bio. So there a bio stays with who
//! has it only if it is alone; if there are more a queue works on all of them, while others go on
//! with the next.

use crate::dm::{self, prelude::*};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// From this size on a bio is worked on in parts, in sectors: each half takes longer than to wake a
/// CPU up.
pub(crate) const CUT: u32 = 64;
/// In how many.
const MAX_PARTS: Sector = 4;
/// How many small bios wait for one CPU at most, and how many bios if a large one comes.
const BACKLOG: u32 = 4;
const LARGE_BACKLOG: u32 = 2;
/// How sure it has to be that the submitter does not wait; how sure it gets each time when that is
/// seen, and at most. It gets less sure by one each time when nothing is seen.
const SURE: u32 = 4;
const SEEN: u32 = 4;
const VERY_SURE: u32 = 64;
/// After how many bios one is handed over to try: first, and after trying in vain.
const TRY_SOON: u32 = 32;
const TRY_LATE: u32 = 1024;

/// What a CPU knows.
#[repr(align(64))]
struct Cpu {
    /// When it submitted last.
    period: AtomicU32,
    /// How sure it is that the submitter does not wait.
    sure: AtomicU32,
    /// How many bios until it tries, and how many it will be the next time.
    countdown: AtomicU32,
    patience: AtomicU32,
    /// How many of the bios that it has handed over are not done.
    pending: AtomicU32,
    /// Which [`dm::stretch`] it was when the last one was submitted, if that was handed over.
    stretch: AtomicU64,
    /// Where the rest of the last one begins, if it was too long and had to be cut.
    rest: AtomicU64,
}

/// Counters in cache lines of their own, as CPUs change them at different times.
#[repr(align(64))]
struct Line<T>(T);

/// The bios that are counted.
struct Counted {
    /// How many of them are not done.
    bios: AtomicU32,
    /// How sure it is that there are several at a time.
    sure: AtomicU32,
}

/// What is known about the load of one target.
pub(crate) struct Spread {
    cpus: KVec<Cpu>,
    /// How many CPUs have submitted in a period and the one before, and which it is.
    submitting: Line<AtomicU64>,
    /// How many bios have been handed over and are not done.
    pending: Line<AtomicU32>,
    counted: Line<Counted>,
    /// Whether bios are counted: a thread completes them below.
    counts: AtomicBool,
}

impl Spread {
    pub(crate) fn new() -> Result<Self> {
        let mut cpus = KVec::new();

        for _ in 0..dm::possible_cpus() {
            let cpu = Cpu {
                period: AtomicU32::new(0),
                sure: AtomicU32::new(0),
                countdown: AtomicU32::new(TRY_SOON),
                patience: AtomicU32::new(TRY_SOON),
                pending: AtomicU32::new(0),
                stretch: AtomicU64::new(0),
                rest: AtomicU64::new(Sector::MAX),
            };

            cpus.push(cpu, GFP_KERNEL)?;
        }
        Ok(Self {
            cpus,
            submitting: Line(AtomicU64::new(0)),
            pending: Line(AtomicU32::new(0)),
            counted: Line(Counted {
                bios: AtomicU32::new(0),
                sure: AtomicU32::new(0),
            }),
            counts: AtomicBool::new(false),
        })
    }

    /// In how many parts a bio of so many sectors is to be worked on, of which one is for this CPU.
    /// More than one are counted as under way: see [`end_parts`](Self::end_parts).
    #[inline]
    pub(crate) fn begin_parts(&self, sectors: Sector) -> u32 {
        if sectors < Sector::from(CUT) {
            return 1;
        }
        let Some((_, idle)) = self.idle() else {
            return 1;
        };
        let others = idle.saturating_sub(self.pending.0.load(Relaxed));
        let most = sectors / Sector::from(CUT / 2);
        let parts = Sector::from(others)
            .saturating_add(1)
            .min(most)
            .min(MAX_PARTS) as u32;

        if parts > 1 {
            self.pending.0.fetch_add(parts.wrapping_sub(1), Relaxed);
        }
        parts
    }

    /// So many parts are done.
    pub(crate) fn end_parts(&self, parts: u32) {
        if parts > 1 {
            self.pending.0.fetch_sub(parts.wrapping_sub(1), Relaxed);
        }
    }

    /// What is known about this CPU, and how many have nothing to do, if there are any.
    #[inline]
    fn idle(&self) -> Option<(&Cpu, u32)> {
        let online = dm::online_cpus();

        if online <= 1 {
            return None;
        }
        let cpu = self.cpus.get(dm::this_cpu() as usize)?;
        let idle = online.saturating_sub(self.submitting(cpu));

        (idle > 0).then_some((cpu, idle))
    }

    /// Whether a bio that was submitted here is for another CPU. `rest` is where what was cut off it
    /// begins, if anything was.
    #[inline]
    pub(crate) fn is_for_other(&self, first: Sector, count: Sector, rest: Option<Sector>) -> bool {
        self.idle()
            .is_some_and(|(cpu, idle)| self.is_for_idle(cpu, idle, first, count, rest))
    }

    fn is_for_idle(
        &self,
        cpu: &Cpu,
        idle: u32,
        first: Sector,
        count: Sector,
        rest: Option<Sector>,
    ) -> bool {
        let pending = self.pending.0.load(Relaxed);
        let mut sure = cpu.sure.load(Relaxed);
        let goes_on = cpu.rest.load(Relaxed) == first;

        cpu.rest.store(rest.unwrap_or(Sector::MAX), Relaxed);
        // Who submits a long bio cannot wait before all of it is submitted.
        if !goes_on {
            let last = cpu.stretch.load(Relaxed);
            let seen = cpu.pending.load(Relaxed) > 0 || last != 0 && last == dm::stretch();

            if seen {
                sure = sure.saturating_add(SEEN).min(VERY_SURE);
                cpu.patience.store(TRY_SOON, Relaxed);
            } else {
                sure = sure.saturating_sub(1);
            }
            cpu.sure.store(sure, Relaxed);
        }
        let hands_over = if sure >= SURE {
            let backlog = if count < Sector::from(CUT) {
                BACKLOG
            } else {
                LARGE_BACKLOG
            };

            pending < idle.saturating_mul(backlog)
        } else {
            Self::tries(cpu)
        };

        if hands_over {
            cpu.stretch.store(dm::stretch(), Relaxed);
        } else if !goes_on {
            cpu.stretch.store(0, Relaxed);
        }
        hands_over
    }

    /// Whether it is time to try.
    fn tries(cpu: &Cpu) -> bool {
        let countdown = cpu.countdown.load(Relaxed).wrapping_sub(1);

        if countdown != 0 {
            cpu.countdown.store(countdown, Relaxed);
            return false;
        }
        let patience = cpu.patience.load(Relaxed);

        cpu.countdown.store(patience, Relaxed);
        cpu.patience
            .store(patience.saturating_mul(2).min(TRY_LATE), Relaxed);
        true
    }

    /// How many CPUs submit, this one counted.
    fn submitting(&self, cpu: &Cpu) -> u32 {
        // Some milliseconds, of which each CPU that is busy with bios uses some.
        let period = (dm::jiffies() >> 2) as u32;
        let mut state = self.submitting.0.load(Relaxed);

        if cpu.period.load(Relaxed) != period {
            cpu.period.store(period, Relaxed);
            loop {
                let (then, now, before) = unpack(state);
                let new = if then == period {
                    pack(period, now.saturating_add(1), before)
                } else if then.wrapping_add(1) == period {
                    pack(period, 1, now)
                } else {
                    pack(period, 1, 0)
                };

                match self
                    .submitting
                    .0
                    .compare_exchange_weak(state, new, Relaxed, Relaxed)
                {
                    Ok(_) => {
                        state = new;
                        break;
                    }
                    Err(current) => state = current,
                }
            }
        }
        let (_, now, before) = unpack(state);

        u32::from(now.max(before))
    }

    /// Whether who has worked on a bio is to take back one that was handed over: too many wait.
    #[inline]
    pub(crate) fn wants_help(&self) -> bool {
        self.pending.0.load(Relaxed) >= BACKLOG
    }

    /// A bio has come for a device that does it later. Returns whether it is counted.
    #[inline]
    pub(crate) fn count(&self) -> bool {
        let counts = self.counts.load(Relaxed);

        if counts {
            self.counted.0.bios.fetch_add(1, Relaxed);
        }
        counts
    }

    /// One that is counted is done.
    #[inline]
    pub(crate) fn uncount(&self) {
        self.counted.0.bios.fetch_sub(1, Relaxed);
    }

    /// Whether several of those that are counted are not done, or several were a moment ago: while the
    /// submitter is busy with what it has got there may be one only.
    #[inline]
    pub(crate) fn are_many(&self) -> bool {
        let Counted { bios, sure } = &self.counted.0;
        let before = sure.load(Relaxed);
        let now = if bios.load(Relaxed) > 1 {
            VERY_SURE
        } else {
            before.saturating_sub(1)
        };

        if now != before {
            sure.store(now, Relaxed);
        }
        now > 0
    }

    /// From now on bios are counted.
    #[cold]
    pub(crate) fn start_counting(&self) {
        self.counts.store(true, Relaxed);
    }

    /// A bio was handed over. Returns by which CPU.
    pub(crate) fn begin(&self) -> u32 {
        let number = dm::this_cpu();

        if let Some(cpu) = self.cpus.get(number as usize) {
            cpu.pending.fetch_add(1, Relaxed);
        }
        self.pending.0.fetch_add(1, Relaxed);
        number
    }

    /// What that CPU has handed over is done.
    pub(crate) fn end(&self, number: u32) {
        if let Some(cpu) = self.cpus.get(number as usize) {
            cpu.pending.fetch_sub(1, Relaxed);
        }
        self.pending.0.fetch_sub(1, Relaxed);
    }
}

fn pack(period: u32, now: u16, before: u16) -> u64 {
    u64::from(period) << 32 | u64::from(now) << 16 | u64::from(before)
}

fn unpack(state: u64) -> (u32, u16, u16) {
    ((state >> 32) as u32, (state >> 16) as u16, state as u16)
}
