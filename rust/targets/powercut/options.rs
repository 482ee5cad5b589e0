// SPDX-License-Identifier: GPL-2.0

//! The options of a table.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

use super::chance::{Latency, RATE_BASE};
use core::{
    ffi::CStr,
    fmt::{self, Write},
};

/// What the cache holds unless the table says otherwise, in bytes.
const CACHE: u64 = 8 << 20;
/// The largest cache.
const MAX_CACHE: u64 = 1 << 40;

/// How many ranges of a kind a table may have.
const RANGES: usize = 8;

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Flush,
}

impl Kind {
    fn parse(word: &[u8]) -> Option<Self> {
        match word {
            b"r" => Some(Self::Read),
            b"w" => Some(Self::Write),
            b"f" => Some(Self::Flush),
            _ => None,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Read => 'r',
            Self::Write => 'w',
            Self::Flush => 'f',
        }
    }
}

/// Sectors of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

impl Range {
    fn parse<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let start = number(words.next()?)?;
        let len = number(words.next()?)?;

        (len > 0 && start.checked_add(len).is_some()).then_some(Self { start, len })
    }

    /// Whether it has some of these sectors.
    pub(crate) fn meets(&self, start: u64, len: u64) -> bool {
        start < self.start.saturating_add(self.len) && self.start < start.saturating_add(len)
    }
}

/// Requests of a kind that fail now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    pub(crate) kind: Kind,
    /// In so many of [`RATE_BASE`] cases.
    pub(crate) rate: u32,
    /// If they have sectors of this.
    pub(crate) range: Range,
}

/// All options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// The memory that the cache may take, in bytes.
    pub(crate) cache: u64,
    /// Writes are torn at multiples of this, in sectors.
    pub(crate) unit: u32,
    /// How often a write is kept, dropped and torn, in relation to each other.
    pub(crate) odds: [u32; 3],
    /// Whether flushes are acknowledged, and not done.
    pub(crate) lying: bool,
    pub(crate) failing: [Option<Failing>; RANGES],
    pub(crate) bad: [Option<Range>; RANGES],
    /// How many sectors are bad, of [`RATE_BASE`].
    pub(crate) bad_rate: u32,
    /// How many writes go elsewhere, of [`RATE_BASE`].
    pub(crate) misdirect: u32,
    /// Of reads, writes and flushes.
    pub(crate) latency: [Option<Latency>; 3],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            cache: CACHE,
            unit: 1,
            odds: [1, 1, 1],
            lying: false,
            failing: [None; RANGES],
            bad: [None; RANGES],
            bad_rate: 0,
            misdirect: 0,
            latency: [None; 3],
        }
    }
}

/// Decimal digits that fit.
fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |value, c| {
        let digit = c.checked_sub(b'0').filter(|digit| *digit <= 9)?;

        value.checked_mul(10)?.checked_add(digit.into())
    })
}

fn small(word: &[u8]) -> Option<u32> {
    number(word).and_then(|value| u32::try_from(value).ok())
}

fn rate(word: &[u8]) -> Option<u32> {
    small(word).filter(|rate| *rate <= RATE_BASE)
}

/// Puts a value in the first place that is free.
fn put<T>(list: &mut [Option<T>], value: T) -> Option<()> {
    list.iter_mut()
        .find(|place| place.is_none())
        .map(|place| *place = Some(value))
}

impl Options {
    /// Reads all words.
    ///
    /// # Errors
    ///
    /// What is wrong, for the kernel log.
    pub(crate) fn parse<'a>(
        mut words: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, &'static CStr> {
        let mut this = Self::default();

        while let Some(name) = words.next() {
            this.option(name, &mut words)?;
        }
        Ok(this)
    }

    /// Reads one option: its name was taken from the words, what belongs to it is.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub(crate) fn option<'a>(
        &mut self,
        name: &[u8],
        words: &mut impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), &'static CStr> {
        match name {
            b"seed" => {
                self.seed = words.next().and_then(number).ok_or(c"Invalid seed")?;
            }
            b"cache" => {
                self.cache = words
                    .next()
                    .and_then(number)
                    .filter(|bytes| *bytes <= MAX_CACHE)
                    .ok_or(c"Invalid size of the cache")?;
            }
            b"unit" => {
                self.unit = words
                    .next()
                    .and_then(small)
                    .filter(|sectors| *sectors > 0)
                    .ok_or(c"Invalid unit")?;
            }
            b"odds" => {
                let mut odd = || words.next().and_then(small).ok_or(c"Invalid odds");

                self.odds = [odd()?, odd()?, odd()?];
                if self.odds == [0; 3] {
                    return Err(c"Invalid odds");
                }
            }
            b"lying" => self.lying = true,
            b"error" => {
                let mut read = || {
                    Some(Failing {
                        kind: Kind::parse(words.next()?)?,
                        rate: rate(words.next()?)?,
                        range: Range::parse(words)?,
                    })
                };
                let failing = read().ok_or(c"Invalid error")?;

                put(&mut self.failing, failing).ok_or(c"Too many errors")?;
            }
            b"bad" => {
                let range = Range::parse(words).ok_or(c"Invalid bad sectors")?;

                put(&mut self.bad, range).ok_or(c"Too many bad sectors")?;
            }
            b"bad_rate" => {
                self.bad_rate = words
                    .next()
                    .and_then(rate)
                    .ok_or(c"Invalid rate of bad sectors")?;
            }
            b"misdirect" => {
                self.misdirect = words
                    .next()
                    .and_then(rate)
                    .ok_or(c"Invalid rate of misdirected writes")?;
            }
            b"latency" => {
                let mut read = || {
                    let kind = Kind::parse(words.next()?)?;
                    let latency = match words.next()? {
                        b"fixed" => Latency::Fixed(small(words.next()?)?),
                        b"uniform" => {
                            Latency::Uniform(small(words.next()?)?, small(words.next()?)?)
                        }
                        b"long" => Latency::Long(small(words.next()?)?, small(words.next()?)?),
                        _ => return None,
                    };

                    match latency {
                        Latency::Uniform(from, to) | Latency::Long(from, to) if from > to => None,
                        Latency::Long(0, _) => None,
                        _ => Some((kind, latency)),
                    }
                };
                let (kind, latency) = read().ok_or(c"Invalid latency")?;
                let [reads, writes, flushes] = &mut self.latency;

                *match kind {
                    Kind::Read => reads,
                    Kind::Write => writes,
                    Kind::Flush => flushes,
                } = Some(latency);
            }
            _ => return Err(c"Unrecognised option"),
        }
        Ok(())
    }

    pub(crate) fn latency(&self, kind: Kind) -> Option<Latency> {
        let [reads, writes, flushes] = self.latency;

        match kind {
            Kind::Read => reads,
            Kind::Write => writes,
            Kind::Flush => flushes,
        }
    }

    /// The options as a table has them, with the number of words before them; nothing if there are
    /// none.
    pub(crate) fn write(&self, out: &mut impl Write) -> fmt::Result {
        struct Counter(u32);

        impl Write for Counter {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0 += text.bytes().filter(|c| *c == b' ').count() as u32;
                Ok(())
            }
        }
        let mut counter = Counter(0);

        self.words(&mut counter)?;
        if counter.0 == 0 {
            return Ok(());
        }
        write!(out, " {}", counter.0)?;
        self.words(out)
    }

    /// Each word with a space before it.
    fn words(&self, out: &mut impl Write) -> fmt::Result {
        let default = Self::default();

        if self.seed != default.seed {
            write!(out, " seed {}", self.seed)?;
        }
        if self.cache != default.cache {
            write!(out, " cache {}", self.cache)?;
        }
        if self.unit != default.unit {
            write!(out, " unit {}", self.unit)?;
        }
        if self.odds != default.odds {
            let [kept, dropped, torn] = self.odds;

            write!(out, " odds {kept} {dropped} {torn}")?;
        }
        if self.lying {
            out.write_str(" lying")?;
        }
        for Failing { kind, rate, range } in self.failing.iter().flatten() {
            let Range { start, len } = range;

            write!(out, " error {} {rate} {start} {len}", kind.letter())?;
        }
        for Range { start, len } in self.bad.iter().flatten() {
            write!(out, " bad {start} {len}")?;
        }
        if self.bad_rate != 0 {
            write!(out, " bad_rate {}", self.bad_rate)?;
        }
        if self.misdirect != 0 {
            write!(out, " misdirect {}", self.misdirect)?;
        }
        for kind in [Kind::Read, Kind::Write, Kind::Flush] {
            let Some(latency) = self.latency(kind) else {
                continue;
            };

            write!(out, " latency {}", kind.letter())?;
            match latency {
                Latency::Fixed(time) => write!(out, " fixed {time}")?,
                Latency::Uniform(from, to) => write!(out, " uniform {from} {to}")?,
                Latency::Long(from, to) => write!(out, " long {from} {to}")?,
            }
        }
        Ok(())
    }
}
