// SPDX-License-Identifier: GPL-2.0

//! What happens by chance: each decision follows from the seed, from what is decided, and from the
//! number of the request, and from nothing else. So the same requests have the same fate again, and
//! what is read does not matter to what becomes of writes.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

/// What rates are parts of.
pub(crate) const RATE_BASE: u32 = 1_000_000_000;

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Fate = 1,
    TornAt = 2,
    TornSide = 3,
    Victim = 4,
    ReadError = 5,
    WriteError = 6,
    FlushError = 7,
    BadSector = 8,
    Misdirected = 9,
    MisdirectedTo = 10,
    ReadLatency = 11,
    WriteLatency = 12,
    FlushLatency = 13,
}

/// The seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chance(pub(crate) u64);

/// The mixing function of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);

    value ^ (value >> 31)
}

/// What becomes of a write that was not flushed when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Dropped,
    /// Only these of its sectors are kept, counted from its first.
    Torn {
        from: u32,
        to: u32,
    },
}

impl Chance {
    /// 64 bits for one decision about `a` and `b`.
    pub(crate) fn draw(self, about: About, a: u64, b: u64) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut state = mix(self.0.wrapping_add(GOLDEN));

        for part in [about as u64, a, b] {
            state = mix(state ^ mix(part.wrapping_add(GOLDEN)));
        }
        state
    }

    /// A number below `limit`; 0 if that is 0.
    pub(crate) fn below(self, limit: u64, about: About, a: u64, b: u64) -> u64 {
        let product = u128::from(self.draw(about, a, b)) * u128::from(limit);

        (product >> 64) as u64
    }

    /// Whether what happens in `rate` of [`RATE_BASE`] cases happens.
    pub(crate) fn happens(self, rate: u32, about: About, a: u64, b: u64) -> bool {
        rate != 0 && self.below(RATE_BASE.into(), about, a, b) < u64::from(rate)
    }

    /// What becomes of write `number` in the `cut`th power cut. It has `len` sectors from `start`
    /// on, and is torn only where sectors are multiples of `unit`.
    pub(crate) fn fate(
        self,
        odds: [u32; 3],
        unit: u32,
        cut: u64,
        number: u64,
        start: u64,
        len: u32,
    ) -> Fate {
        let [kept, dropped, torn] = odds.map(u64::from);
        let drawn = self.below(kept + dropped + torn, About::Fate, cut, number);

        if drawn < kept {
            return Fate::Kept;
        }
        if drawn < kept + dropped {
            return Fate::Dropped;
        }
        let unit = u64::from(unit.max(1));
        // The borders of units that lie within the write.
        let first = start.checked_div(unit).map_or(0, |n| n + 1);
        let end = start.saturating_add(len.into());
        let borders = end
            .saturating_sub(1)
            .checked_div(unit)
            .map_or(0, |last| (last + 1).saturating_sub(first));

        if borders == 0 {
            // It cannot be torn: it is there or it is not.
            return match self.draw(About::TornSide, cut, number) & 1 {
                0 => Fate::Kept,
                _ => Fate::Dropped,
            };
        }
        let border = first.saturating_add(self.below(borders, About::TornAt, cut, number));
        let at = border.saturating_mul(unit).saturating_sub(start) as u32;

        match self.draw(About::TornSide, cut, number) & 1 {
            0 => Fate::Torn { from: 0, to: at },
            _ => Fate::Torn { from: at, to: len },
        }
    }
}

/// How long a request takes, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latency {
    Fixed(u32),
    /// Between these, all as often.
    Uniform(u32, u32),
    /// The first at least, twice as much half as often, and so on, up to the second.
    Long(u32, u32),
}

impl Latency {
    pub(crate) fn micros(self, drawn: u64) -> u32 {
        let spread = |from: u32, span: u64| {
            let part = (u128::from(drawn) * u128::from(span)) >> 64;

            u64::from(from).saturating_add(part as u64)
        };

        match self {
            Self::Fixed(time) => time,
            Self::Uniform(from, to) => {
                let span = u64::from(to.saturating_sub(from)) + 1;

                spread(from, span).min(to.into()) as u32
            }
            Self::Long(from, to) => {
                // Each further zero at the end is half as likely.
                let doublings = drawn.trailing_zeros().min(32);
                let base = u64::from(from) << doublings;
                let part = (u128::from(drawn) * u128::from(base)) >> 64;

                base.saturating_add(part as u64).min(to.into()) as u32
            }
        }
    }
}
