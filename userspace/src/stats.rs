// SPDX-License-Identifier: GPL-2.0

//! Counters of I/O for each target of a device, by device-mapper's own statistics.
//!
//! A region is set up for each line of the table, and taken down when [`Watch`] is dropped. One
//! that was left by a process that was killed is taken down by the next watch on the device.

use std::path::Path;

use crate::{
    dm::{DeviceId, Dm, Info, Slot},
    error::{Action, Error, Result},
};

/// By which this program knows its regions.
const PROGRAM: &str = "dmrs";

/// What was counted for a target since it is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads that are done.
    pub reads: u64,
    /// Sectors (of 512 bytes) that were read.
    pub sectors_read: u64,
    /// The time that reads took, added up, in nanoseconds.
    pub read_ns: u64,
    /// Writes that are done.
    pub writes: u64,
    /// Sectors (of 512 bytes) that were written.
    pub sectors_written: u64,
    /// The time that writes took, added up, in nanoseconds.
    pub write_ns: u64,
    /// Requests that are under way.
    pub in_flight: u64,
    /// The time in which any request was under way, in nanoseconds.
    pub busy_ns: u64,
}

/// A line of a table that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The first sector.
    pub start: u64,
    /// The number of sectors.
    pub length: u64,
    /// The target's name.
    pub target: String,
    region: u64,
}

/// A device whose targets' I/O is counted.
#[derive(Debug)]
pub struct Watch<'a> {
    dm: &'a Dm,
    id: DeviceId,
    /// The device as it was when the watch began.
    pub info: Info,
    /// What is counted.
    pub lines: Vec<Watched>,
}

impl<'a> Watch<'a> {
    /// Begins to count.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], or [`Error::Refused`] if the kernel cannot count.
    pub fn new(dm: &'a Dm, id: &DeviceId) -> Result<Watch<'a>> {
        let (info, table) = dm.table(id, Slot::Live)?;
        let mut watch = Watch {
            dm,
            id: DeviceId::Number(info.device),
            info,
            lines: Vec::new(),
        };
        watch.remove_left()?;
        for target in &table.targets {
            let (start, length) = (target.start, target.length);
            let pid = std::process::id();
            let answer = watch.message(&format!(
                "@stats_create {start}+{length} /1 1 precise_timestamps {PROGRAM} {pid}"
            ))?;
            watch.lines.push(Watched {
                start,
                length,
                target: target.name.clone(),
                region: answer.trim().parse().map_err(|_| malformed())?,
            });
        }
        Ok(watch)
    }

    fn message(&self, message: &str) -> Result<String> {
        Ok(self.dm.message(&self.id, 0, message)?.unwrap_or_default())
    }

    /// Takes down what is left of processes that are gone.
    fn remove_left(&self) -> Result<()> {
        let list = self.message(&format!("@stats_list {PROGRAM}"))?;
        for (region, pid) in list.lines().filter_map(listed) {
            if !Path::new("/proc").join(pid).exists() {
                self.message(&format!("@stats_delete {region}"))?;
            }
        }
        Ok(())
    }

    /// What was counted so far, for each of [`Watch::lines`].
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], among others if the device is gone.
    pub fn read(&self) -> Result<Vec<Counters>> {
        let read = |line: &Watched| {
            let answer = self.message(&format!("@stats_print {}", line.region))?;
            counters(&answer).ok_or_else(malformed)
        };
        self.lines.iter().map(read).collect()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        for line in &self.lines {
            // The device may be gone, and its regions with it.
            let _ = self.message(&format!("@stats_delete {}", line.region));
        }
    }
}

fn malformed() -> Error {
    Error::Malformed(Action::Message)
}

/// `REGION: START+LENGTH STEP PROGRAM AUX ...`, as region and AUX.
fn listed(line: &str) -> Option<(u64, &str)> {
    let (region, rest) = line.split_once(": ")?;
    Some((region.parse().ok()?, rest.split_whitespace().nth(3)?))
}

/// `START+LENGTH` and the counters of `/proc/diskstats`, with two more.
fn counters(line: &str) -> Option<Counters> {
    let mut words = line.lines().next()?.split_whitespace();
    words.next()?;
    let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    let &[reads, _, sectors_read, read_ns, writes, _, sectors_written, write_ns, in_flight, busy_ns, ..] =
        &numbers[..]
    else {
        return None;
    };
    Some(Counters {
        reads,
        sectors_read,
        read_ns,
        writes,
        sectors_written,
        write_ns,
        in_flight,
        busy_ns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_prints_is_read() {
        let line = "0+64 1 2 3 4 5 6 7 8 9 10 11 12 13\n";
        let counters = counters(line).unwrap();
        assert_eq!((counters.reads, counters.sectors_read), (1, 3));
        assert_eq!((counters.read_ns, counters.writes), (4, 5));
        assert_eq!((counters.sectors_written, counters.write_ns), (7, 8));
        assert_eq!((counters.in_flight, counters.busy_ns), (9, 10));
        assert_eq!(super::counters(""), None);
        assert_eq!(super::counters("0+64 1 2"), None);
    }

    #[test]
    fn regions_are_listed() {
        assert_eq!(
            listed("3: 0+64 64 dmrs 1234 precise_timestamps"),
            Some((3, "1234"))
        );
        assert_eq!(listed("nothing"), None);
    }
}
