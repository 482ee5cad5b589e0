// SPDX-License-Identifier: GPL-2.0

//! Counts instructions.

use crate::{device, say, subjects};
use anyhow::{ensure, Context, Result};
use devicemapper_sys::{DM_BUFFER_FULL_FLAG, DM_TABLE_LOAD_CMD};
use dm_rust_bench::row::{self, Device, Figures, Op, Order, Row};
use dm_rust_bench::subject::{Plan, Subject, SECTORS};
use dm_rust_bench::{clock, Record, Who};
use dm_rust_tests::dm::{control, encode, line, MappedDevice};
use dm_rust_tests::lower::{pmem, ram, Lower};
use dm_rust_tests::sys::{device_mapper, DmRequest};

/// Something to do I/O on, for as long as it is held.
struct Target {
    who: Who,
    io: Device,
    /// The mapped devices below `io`, removed from the top.
    _stack: Vec<MappedDevice>,
}

impl Target {
    fn lower(lower: &Lower) -> Result<Target> {
        Ok(Target {
            who: Who::Floor,
            io: Device::open(lower.path(), false)?,
            _stack: Vec::new(),
        })
    }

    fn mapped(who: Who, fails: bool, mut stack: Vec<MappedDevice>) -> Result<Target> {
        stack.reverse();
        let top = stack.first().context("a stack has a device")?;
        Ok(Target {
            who,
            io: Device::open(&top.path(), fails)?,
            _stack: stack,
        })
    }
}

/// A group of measurements of one target.
struct Group<'a> {
    name: &'a str,
    subject: &'a Subject,
}

impl Group<'_> {
    fn print(&self, row: String, x: u64, who: Who, figures: Figures) {
        Record::Count {
            group: self.name.to_owned(),
            target: self.subject.label.to_owned(),
            row,
            x,
            who,
            low: figures.low,
            median: figures.median,
            mean: figures.mean,
            n: figures.n,
        }
        .print();
    }

    /// Counts one row on each of the devices.
    fn count(&self, targets: &[Target], row: Row, name: &str, x: u64) -> Result<()> {
        let mut counts = vec![Vec::new(); targets.len()];
        for _ in 0..row::TURNS {
            for (target, counts) in targets.iter().zip(&mut counts) {
                let more = target.io.count(row, row::enough(row.size));
                let what = || format!("{:?} {}: {row}", target.who, self.subject.label);
                counts.extend(more.with_context(what)?);
            }
        }
        for (target, counts) in targets.iter().zip(counts) {
            let figures = Figures::of(counts, clock::overhead());
            self.print(name.to_owned(), x, target.who, figures);
        }
        Ok(())
    }
}

/// The lower device alone, if there is one, the twin and ours.
fn trio(subject: &Subject, lower: &Lower) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    if subject.has_lower {
        targets.push(Target::lower(lower)?);
    }
    for who in [Who::C, Who::Rust] {
        let device = device(subject, who, Some(lower), SECTORS)?;
        targets.push(Target::mapped(who, subject.fails, vec![device])?);
    }
    Ok(targets)
}

/// The I/O that every target is measured by.
fn io(subject: &Subject, lower: &Lower, name: &str, rows: &[Row], quick: bool) -> Result<()> {
    let group = Group { name, subject };
    let targets = trio(subject, lower)?;
    let measured = |row: &&Row| match subject.plan {
        Plan::All => true,
        // The largest take most of the time.
        Plan::Counts if quick => row.is_one_of_few() && row.size < 1 << 20,
        _ => row.is_one_of_few(),
    };
    for &row in rows.iter().filter(measured) {
        group.count(&targets, row, &row.to_string(), row.size)?;
    }
    Ok(())
}

const READ: Row = Row {
    op: Op::Read,
    order: Order::Random,
    size: 4096,
};

/// Reads of growing size.
fn sizes(subject: &Subject, lower: &Lower) -> Result<()> {
    let group = Group {
        name: "size",
        subject,
    };
    let targets = trio(subject, lower)?;
    for shift in 9..=20 {
        let row = Row {
            size: 1 << shift,
            ..READ
        };
        group.count(&targets, row, &row.to_string(), row.size)?;
    }
    Ok(())
}

/// Reads through a stack of mapped devices.
fn depths(subject: &Subject, lower: &Lower) -> Result<()> {
    let group = Group {
        name: "depth",
        subject,
    };
    for depth in 1..=8 {
        let mut targets = vec![Target::lower(lower)?];
        for who in [Who::C, Who::Rust] {
            let mut stack: Vec<MappedDevice> = Vec::new();
            for _ in 0..depth {
                let below = stack
                    .last()
                    .map_or(lower.path().to_owned(), MappedDevice::path);
                let below = below.display().to_string();
                stack.push(MappedDevice::create(
                    &subject.table(who, &below, 1, SECTORS),
                )?);
            }
            targets.push(Target::mapped(who, subject.fails, stack)?);
        }
        let name = format!("4 KiB random read, {depth} deep");
        group.count(&targets, READ, &name, depth)?;
    }
    Ok(())
}

/// Reads from a growing number of stripes.
fn stripes(subject: &Subject, lower: &Lower) -> Result<()> {
    let group = Group {
        name: "stripes",
        subject,
    };
    for stripes in [1_u64, 2, 3, 4, 6, 8, 16, 32, 64] {
        let mut targets = vec![Target::lower(lower)?];
        // As much as divides evenly, in chunks of 4 KiB.
        let width = SECTORS / stripes / 8 * 8;
        for who in [Who::C, Who::Rust] {
            let places = (0..stripes).map(|i| format!(" {} {}", lower.node(), i * width));
            let params = format!("{stripes} 8{}", places.collect::<String>());
            let whole = line(0, width * stripes, &who.target(subject.name), params);
            // The rest, so that the device has the size that is read.
            let mut table = vec![whole];
            if width * stripes < SECTORS {
                let params = format!("{} 0", lower.node());
                let rest = SECTORS - width * stripes;
                table.push(line(width * stripes, rest, "linear", params));
            }
            let device = MappedDevice::create(&table)?;
            targets.push(Target::mapped(who, false, vec![device])?);
        }
        let name = format!("4 KiB random read, {stripes} stripes");
        group.count(&targets, READ, &name, stripes)?;
    }
    Ok(())
}

/// Sectors of each segment of a table that is loaded.
const SEGMENT: u64 = 8;

/// Loads of tables, and status lines.
fn tables(subject: &Subject, lower: &Lower, quick: bool) -> Result<()> {
    let group = Group {
        name: "table",
        subject,
    };
    let node = lower.node();
    let control = control()?;
    let devices = [Who::C, Who::Rust].map(|who| (who, MappedDevice::empty()));
    let most = if quick { 100 } else { 10_000 };
    for (segments, times) in [(1, 9), (100, 5), (10_000, 1)] {
        for (who, device) in devices.iter().filter(|_| segments <= most) {
            let device = device.as_ref().map_err(|e| anyhow::anyhow!("{e:#}"))?;
            let data = encode(&subject.table(*who, &node, segments, SEGMENT));
            let request = DmRequest {
                name: device.name(),
                targets: segments as u32,
                data: &data,
                ..DmRequest::default()
            };
            let mut counts = Vec::new();
            for _ in 0..times {
                let start = clock::now();
                let answer = device_mapper(&control, DM_TABLE_LOAD_CMD, &request);
                counts.push(clock::now() - start);
                answer.with_context(|| format!("{} segments of {}", segments, subject.name))?;
                device.clear()?;
            }
            let name = match segments {
                1 => "load a table of 1 segment".to_owned(),
                n => format!("load a table of {n} segments"),
            };
            group.print(name, segments, *who, Figures::of(counts, clock::overhead()));
        }
    }
    for (table, name) in [(false, "status"), (true, "status of the table")] {
        for who in [Who::C, Who::Rust] {
            let device = device(subject, who, Some(lower), SECTORS)?;
            let mut counts = Vec::new();
            for _ in 0..9 {
                let start = clock::now();
                let answer = device.status_into(table, 512)?;
                counts.push(clock::now() - start);
                ensure!(
                    !answer.has(DM_BUFFER_FULL_FLAG),
                    "a status of more than 512 bytes"
                );
            }
            group.print(
                name.to_owned(),
                0,
                who,
                Figures::of(counts, clock::overhead()),
            );
        }
    }
    Ok(())
}

pub fn run(only: &str, repeats: u64, quick: bool) -> Result<()> {
    clock::check()?;
    let lower = ram()?;
    let flushed = pmem()?;
    for lower in [&lower, &flushed] {
        Device::open(lower.path(), false)?.fill()?;
    }
    for repeat in 1..=repeats {
        for subject in subjects(only).filter(|s| s.plan.counts()) {
            say(&format!("{}, repeat {repeat} of {repeats}", subject.label));
            io(subject, &lower, "io", &row::plain(), quick)?;
            if subject.has_lower {
                io(subject, &flushed, "flush", &row::flushing(), quick)?;
            }
            if subject.plan == Plan::All {
                tables(subject, &lower, quick || repeat > 1)?;
            }
            if quick || subject.plan != Plan::All {
                continue;
            }
            sizes(subject, &lower)?;
            if subject.has_lower {
                depths(subject, &lower)?;
            }
            if subject.name == "striped" {
                stripes(subject, &lower)?;
            }
        }
    }
    Ok(())
}
