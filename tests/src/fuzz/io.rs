// SPDX-License-Identifier: GPL-2.0

//! Random I/O.

use super::tokens::pick;
use crate::dm::Line;
use fastrand::Rng;
use std::fmt;

/// What is done with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads it.
    Read,
    /// Reads it if that can be done without waiting (`RWF_NOWAIT`).
    ReadNoWait,
    /// Writes to it.
    Write,
    /// Writes to it, through caches (`RWF_DSYNC`; with direct I/O a FUA write).
    WriteSync,
    /// Flushes the device; the range does not matter.
    Flush,
    /// `BLKDISCARD`.
    Discard,
    /// `BLKSECDISCARD`.
    SecureErase,
    /// `BLKZEROOUT`: writes zeroes where the device cannot do so by itself.
    ZeroOut,
    /// `fallocate` to punch a hole: only what the device can do by itself.
    PunchHole,
    /// `BLKRESETZONE`.
    ResetZones,
}

impl Action {
    /// Whether it can change data.
    pub fn changes(self) -> bool {
        !matches!(self, Action::Read | Action::ReadNoWait | Action::Flush)
    }
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// What is done.
    pub action: Action,
    /// With `O_DIRECT`.
    pub direct: bool,
    /// First sector.
    pub sector: u64,
    /// Length in sectors.
    pub count: u64,
    /// Bytes by which the memory is off a page.
    pub skew: usize,
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.direct { "direct" } else { "buffered" };
        let Io { sector, count, .. } = self;
        write!(f, "{mode} {:?} {count} sectors at {sector}", self.action)?;
        match self.skew {
            0 => Ok(()),
            skew => write!(f, ", memory {skew} bytes off a page"),
        }
    }
}

/// The most sectors that one operation touches: it has to end some time, however
/// large the device is.
pub const MOST: u64 = 1024;

/// What to do with a device that has this table, if it takes it.
pub fn generate(rng: &mut Rng, table: &[Line]) -> Vec<Io> {
    let end = table
        .last()
        .map_or(0, |l| l.start.saturating_add(l.len))
        // What is larger is no device.
        .min(1 << 54);
    let unit = pick(rng, &[1, 8]);
    let mut io = Vec::new();
    for _ in 0..rng.u32(2..=12) {
        use Action::*;
        let action = pick(
            rng,
            &[
                Read,
                Read,
                Read,
                Read,
                Read,
                ReadNoWait,
                Write,
                Write,
                Write,
                Write,
                Write,
                WriteSync,
                WriteSync,
                Flush,
                Discard,
                Discard,
                SecureErase,
                ZeroOut,
                PunchHole,
                ResetZones,
            ],
        );
        let count = match rng.u32(..8) {
            0 => 1,
            1 => rng.u64(1..=MOST),
            2 => rng.u64(1..=256),
            _ => rng.u64(1..=40),
        };
        let sector = match (rng.u32(..10), table) {
            // Around a border between lines, or the end.
            (0..4, [_, ..]) => {
                let line = &table[rng.usize(..table.len())];
                let border = if rng.bool() { line.start } else { end };
                border.saturating_sub(rng.u64(..count + 2))
            }
            _ => rng.u64(0..end.max(1)),
        };
        // Some are not aligned to the blocks of the device.
        let unit = if rng.u32(..12) == 0 { 1 } else { unit };
        io.push(Io {
            action,
            // What is in the page cache is a matter of chance.
            direct: action == ReadNoWait || rng.u32(..3) > 0,
            sector: sector / unit * unit,
            count: count.next_multiple_of(unit).min(MOST),
            skew: pick(rng, &[0, 0, 0, 0, 512, 64, 4]),
        });
    }
    io
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm::line;

    #[test]
    fn operations_stay_about_the_device() {
        let mut rng = Rng::with_seed(1);
        let table = [line(0, 64, "zero", ""), line(64, 64, "error", "")];
        let all: Vec<_> = (0..500).flat_map(|_| generate(&mut rng, &table)).collect();
        assert!(all
            .iter()
            .all(|io| io.sector <= 128 && io.count <= MOST && io.count > 0));
        assert!(all.iter().any(|io| io.sector + io.count > 128));
        assert!(all
            .iter()
            .any(|io| io.sector < 64 && io.sector + io.count > 64));
        let huge = [line(u64::MAX, u64::MAX, "zero", "")];
        for _ in 0..500 {
            generate(&mut rng, &huge);
            generate(&mut rng, &[]);
        }
    }
}
