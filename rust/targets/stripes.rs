// SPDX-License-Identifier: GPL-2.0

//! The arithmetic of stripes: which stripe a sector lies on, and where.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

/// What is divided by often: by shifting where it is a power of two.
#[derive(Clone, Copy, Debug)]
struct Divisor {
    value: u32,
    /// The exponent of a power of two.
    shift: Option<u32>,
}

impl Divisor {
    /// Nothing if `value` is zero.
    fn new(value: u32) -> Option<Self> {
        (value != 0).then_some(Self {
            value,
            shift: value.is_power_of_two().then_some(value.trailing_zeros()),
        })
    }

    /// Quotient and remainder.
    #[inline(always)]
    fn div_rem(self, n: u64) -> (u64, u32) {
        match self.shift {
            // The mask leaves shifts of at most 31 bits, as they are.
            Some(shift) => (n >> (shift & 31), n as u32 & self.value.wrapping_sub(1)),
            None => {
                let value = u64::from(self.value);

                // The value is not zero; the remainder is smaller, so it fits.
                (
                    n.checked_div(value).unwrap_or(0),
                    n.checked_rem(value).unwrap_or(0) as u32,
                )
            }
        }
    }

    /// The product, for a quotient that [`div_rem`](Self::div_rem) gave, which does not overflow.
    #[inline(always)]
    fn mul(self, quotient: u64) -> u64 {
        match self.shift {
            Some(shift) => quotient << (shift & 31),
            None => quotient.wrapping_mul(u64::from(self.value)),
        }
    }
}

/// How sectors are dealt out: chunk by chunk, to one stripe after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stripes {
    count: Divisor,
    chunk: Divisor,
}

impl Stripes {
    /// `count` stripes, in chunks of `chunk` sectors. Nothing if either is zero.
    pub(crate) fn new(count: u32, chunk: u32) -> Option<Self> {
        Some(Self {
            count: Divisor::new(count)?,
            chunk: Divisor::new(chunk)?,
        })
    }

    /// How many stripes.
    pub(crate) fn count(&self) -> u32 {
        self.count.value
    }

    /// How many sectors in a chunk.
    pub(crate) fn chunk(&self) -> u32 {
        self.chunk.value
    }

    /// The stripe that a sector lies on, and the sector there.
    #[inline(always)]
    pub(crate) fn map(&self, sector: u64) -> (u32, u64) {
        let (chunk, offset) = self.chunk.div_rem(sector);
        let (row, stripe) = self.count.div_rem(chunk);

        // No more than `sector`, so this does not overflow.
        (stripe, self.chunk.mul(row).wrapping_add(u64::from(offset)))
    }

    /// The first sector of `stripe` that holds `sector` or what follows it.
    fn at_or_after(&self, sector: u64, stripe: u32) -> u64 {
        let (on, at) = self.map(sector);

        if on == stripe {
            return at;
        }
        let (row, _) = self.chunk.div_rem(at);
        let row = if stripe < on {
            row.wrapping_add(1)
        } else {
            row
        };
        self.chunk.mul(row)
    }

    /// The part of the range from `start` to `end` that lies on `stripe`: its start and end there.
    /// Nothing if there is none.
    pub(crate) fn map_range(&self, start: u64, end: u64, stripe: u32) -> Option<(u64, u64)> {
        let start = self.at_or_after(start, stripe);
        let end = self.at_or_after(end, stripe);

        (start < end).then_some((start, end))
    }

    /// The smallest and the best size of a request in bytes: a chunk, and a chunk of each stripe.
    /// Nothing if either does not fit.
    pub(crate) fn io_sizes(&self) -> Option<(u32, u32)> {
        let min = self.chunk().checked_mul(512)?;

        Some((min, min.checked_mul(self.count())?))
    }

    /// The largest discard, where each stripe takes at most `max` sectors in one.
    pub(crate) fn max_discard(&self, max: u32) -> u32 {
        if max < self.chunk() {
            return max;
        }
        let Some(all) = max.checked_mul(self.count()) else {
            return u32::MAX >> 9;
        };
        // A row of chunks is no larger than `all`, so it fits.
        let row = self.chunk().wrapping_mul(self.count());
        all.wrapping_sub(all.checked_rem(row).unwrap_or(0))
    }
}
