// SPDX-License-Identifier: GPL-2.0

//! What is done to a device while instructions are counted.

use crate::clock;
use crate::subject::SECTORS;
use dm_rust_tests::SECTOR;
use memmap2::MmapMut;
use rustix::fs::OFlags;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Read,
    Write,
    /// A write, and a flush after it.
    WriteFlush,
}

/// Where the next I/O is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Sequential,
    Random,
}

/// One kind of I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub op: Op,
    pub order: Order,
    /// Bytes.
    pub size: u64,
}

/// A size in bytes as people write it.
pub fn size_text(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Sequential => "sequential",
            Order::Random => "random",
        };
        let op = match self.op {
            Op::Read => "read",
            Op::Write => "write",
            Op::WriteFlush => "write + flush",
        };
        write!(f, "{} {order} {op}", size_text(self.size))
    }
}

const SIZES: [u64; 3] = [4 << 10, 64 << 10, 1 << 20];
const ORDERS: [Order; 2] = [Order::Random, Order::Sequential];

fn rows(ops: &'static [Op]) -> impl Iterator<Item = Row> {
    SIZES.into_iter().flat_map(move |size| {
        ORDERS.into_iter().flat_map(move |order| {
            let row = move |&op| Row { op, order, size };
            ops.iter().map(row)
        })
    })
}

impl Row {
    /// Whether it is measured where each I/O takes long: there the order tells nothing new.
    pub fn is_one_of_few(&self) -> bool {
        self.order == Order::Random && (self.op != Op::WriteFlush || self.size == SIZES[0])
    }
}

/// The plain rows.
pub fn plain() -> Vec<Row> {
    rows(&[Op::Read, Op::Write]).collect()
}

/// The rows that flush after each write.
pub fn flushing() -> Vec<Row> {
    rows(&[Op::WriteFlush]).collect()
}

/// What a run gave.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// A twentieth took no more. Ticks of the clock, a processor's list of free memory that is
    /// empty, and the like only ever add; so this is what the code takes, and repeats to the
    /// instruction.
    pub low: f64,
    pub median: f64,
    pub mean: f64,
    pub n: u64,
}

impl Figures {
    /// Of some counts, each of which holds `overhead` that is not its own.
    pub fn of(mut counts: Vec<u64>, overhead: u64) -> Figures {
        counts.sort_unstable();
        let n = counts.len();
        let middle = |i: usize| counts.get(i).copied().unwrap_or(0) as f64;
        let median = (middle((n.max(1) - 1) / 2) + middle(n / 2)) / 2.0;
        let sum: u64 = counts.iter().sum();
        Figures {
            low: middle(n / 20) - overhead as f64,
            median: median - overhead as f64,
            mean: sum as f64 / n.max(1) as f64 - overhead as f64,
            n: n as u64,
        }
    }
}

/// A device, opened for direct I/O.
pub struct Device {
    file: File,
    fails: bool,
}

/// The memory of all I/O: one for all devices, since how its pages lie tells in the counts.
static BUFFER: Mutex<Option<MmapMut>> = Mutex::new(None);

fn with_buffer<T>(f: impl FnOnce(&mut [u8]) -> io::Result<T>) -> io::Result<T> {
    let mut buffer = BUFFER.lock().unwrap_or_else(PoisonError::into_inner);
    if buffer.is_none() {
        let mut new = MmapMut::map_anon(1 << 20)?;
        new.fill(0x5a);
        *buffer = Some(new);
    }
    f(buffer.as_mut().ok_or(io::ErrorKind::OutOfMemory)?)
}

impl Device {
    /// Opens it; `fails` says that I/O does, as it should.
    pub fn open(path: &Path, fails: bool) -> io::Result<Device> {
        // Whether the time of access is to be noted depends on when the node was made: a few
        // instructions, and none of the target's.
        let flags = OFlags::DIRECT | OFlags::NOATIME;
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        Ok(Device { file, fails })
    }

    /// Writes all that is measured, so that a device that allocates has done so.
    pub fn fill(&self) -> io::Result<()> {
        with_buffer(|buffer| {
            let mut starts = (0..SECTORS * SECTOR).step_by(1 << 20);
            starts.try_for_each(|at| self.file.write_all_at(buffer, at))
        })?;
        self.file.sync_data()
    }

    #[inline(always)]
    fn once(&self, op: Op, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let done = match op {
            Op::Read => self.file.read_at(buffer, at)?,
            Op::Write => self.file.write_at(buffer, at)?,
            Op::WriteFlush => {
                let done = self.file.write_at(buffer, at)?;
                self.file.sync_data()?;
                done
            }
        };
        if done == buffer.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn expect(&self, result: io::Result<()>) -> io::Result<()> {
        match (result, self.fails) {
            (Err(_), true) => Ok(()),
            (Ok(()), true) => Err(io::Error::other("I/O succeeded where it should fail")),
            (result, false) => result,
        }
    }

    /// Does a row `n` times, and `n / 8` times before, which are not counted. `each` is called
    /// before and after the ones that are.
    fn run(&self, row: Row, n: u64, each: impl FnMut(bool)) -> io::Result<()> {
        with_buffer(|buffer| self.run_with(row, n, &mut buffer[..row.size as usize], each))
    }

    fn run_with(
        &self,
        row: Row,
        n: u64,
        buffer: &mut [u8],
        mut each: impl FnMut(bool),
    ) -> io::Result<()> {
        let places = SECTORS * SECTOR / row.size;
        let mut random = fastrand::Rng::with_seed(row.size);
        let warm = n / 8 + 2;
        for i in 0..warm + n {
            let place = match row.order {
                Order::Sequential => i % places,
                Order::Random => random.u64(..places),
            };
            let counted = i >= warm;
            if counted {
                each(true);
            }
            let result = self.once(row.op, buffer, place * row.size);
            if counted {
                each(false);
            }
            self.expect(result)?;
        }
        Ok(())
    }

    /// Counts the instructions of each of `n` I/Os.
    pub fn count(&self, row: Row, n: u64) -> io::Result<Vec<u64>> {
        let mut counts = Vec::with_capacity(n as usize);
        let mut start = 0;
        self.run(row, n, |before| {
            if before {
                start = clock::now();
            } else {
                counts.push(clock::now() - start);
            }
        })?;
        Ok(counts)
    }

    /// Does `n` I/Os under the eyes of the profiler, in one of its windows.
    pub fn profile(&self, row: Row, n: u64) -> io::Result<()> {
        let mut i = 0;
        self.run(row, n, |before| {
            if before && i == 0 {
                clock::profile_start();
            }
            if !before {
                i += 1;
                if i == n {
                    clock::profile_stop();
                }
            }
        })
    }
}

/// How many I/Os of a size make one of the [`TURNS`].
pub fn enough(size: u64) -> u64 {
    match size {
        0..=16_384 => 50,
        16_385..=131_072 => 12,
        _ => 4,
    }
}

/// How often the devices that are compared take turns in a row. Some state of the kernel changes
/// now and then and costs or saves a few instructions from there on; taking turns, all devices see
/// both.
pub const TURNS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named() {
        let names: Vec<String> = plain()
            .iter()
            .chain(&flushing())
            .map(Row::to_string)
            .collect();
        assert_eq!(names.len(), 18);
        assert_eq!(names[0], "4 KiB random read");
        assert_eq!(names[17], "1 MiB sequential write + flush");
        assert_eq!(size_text(512), "512 B");
    }

    #[test]
    fn a_median_is_taken_of_what_is_left() {
        let odd = Figures::of(vec![9, 1, 5], 1);
        assert_eq!((odd.low, odd.median, odd.mean, odd.n), (0.0, 4.0, 4.0, 3));
        let even = Figures::of(vec![4, 1, 100, 2], 0);
        assert_eq!(even.median, 3.0);
        assert_eq!(Figures::of(vec![], 0).n, 0);
    }
}
