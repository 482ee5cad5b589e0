// SPDX-License-Identifier: GPL-2.0

//! Bytes of kernel memory that mapped devices, their tables and their I/O take.

use crate::{device, say, subjects};
use anyhow::{Context, Result};
use dm_rust_bench::subject::{Plan, Subject, SECTORS};
use dm_rust_bench::{Record, Who};
use dm_rust_tests::dm::{line, MappedDevice};
use dm_rust_tests::fio::Fio;
use dm_rust_tests::lower::{ram, Lower};
use dm_rust_tests::module::modprobe;
use std::collections::BTreeMap;
use std::time::Duration;
use std::{fs, thread};

/// Bytes of all objects in all slab caches, of virtual allocations and of memory for each CPU.
fn used() -> Result<i64> {
    // What waits for a grace period, or on a list of a CPU, is given back first.
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(200));
        for cache in fs::read_dir("/sys/kernel/slab")?.flatten() {
            let _ = fs::write(cache.path().join("shrink"), "1");
        }
    }
    in_use()
}

fn in_use() -> Result<i64> {
    let slabs = fs::read_to_string("/proc/slabinfo").context("cannot read /proc/slabinfo")?;
    let slabs = slabs.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        let active: i64 = words.next()?.parse().ok()?;
        let size: i64 = words.nth(1)?.parse().ok()?;
        Some((name.to_owned(), active * size))
    });
    // Caches with the same name are one and the same.
    let slabs: BTreeMap<String, i64> = slabs.collect();
    let memory = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let memory = memory.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        let kib: i64 = words.next()?.parse().ok()?;
        ["VmallocUsed:", "Percpu:"]
            .contains(&name)
            .then_some(kib * 1024)
    });
    Ok(slabs.values().sum::<i64>() + memory.sum::<i64>())
}

fn print(subject: &Subject, what: &str, who: Who, bytes: f64) {
    Record::Memory {
        target: subject.label.to_owned(),
        what: what.to_owned(),
        who,
        bytes,
    }
    .print();
}

/// What a segment takes: the difference between a long table and a short one.
fn segment(subject: &Subject, who: Who, lower: &Lower) -> Result<f64> {
    const FEW: u64 = 64;
    const MANY: u64 = 4160;
    let device = MappedDevice::empty()?;
    let used_by = |segments| -> Result<i64> {
        device.load(&subject.table(who, &lower.node(), segments, 8))?;
        let used = used()?;
        device.clear()?;
        Ok(used)
    };
    // Once to warm up.
    used_by(MANY)?;
    let few = used_by(FEW)?;
    let many = used_by(MANY)?;
    Ok((many - few) as f64 / (MANY - FEW) as f64)
}

/// What a device with one segment takes.
fn mapped_device(subject: &Subject, who: Who, lower: &Lower) -> Result<f64> {
    const N: usize = 32;
    let make = || -> Result<Vec<MappedDevice>> {
        (0..N)
            .map(|_| device(subject, who, Some(lower), SECTORS))
            .collect()
    };
    drop(make()?);
    let before = used()?;
    let devices = make()?;
    let after = used()?;
    drop(devices);
    Ok((after - before) as f64 / N as f64)
}

/// What the I/O of a device takes while a device below holds it up.
fn in_flight(subject: &Subject, who: Who, lower: &Lower) -> Result<f64> {
    const N: i64 = 512;
    // Milliseconds.
    const DELAY: u64 = 5000;
    let params = format!("{} 0 {DELAY}", lower.node());
    let slow = MappedDevice::create(&[line(0, SECTORS, "delay", params)])?;
    let top = match who {
        Who::Floor => None,
        _ => {
            let node = slow.path().display().to_string();
            Some(MappedDevice::create(
                &subject.table(who, &node, 1, SECTORS),
            )?)
        }
    };
    let path = top.as_ref().unwrap_or(&slow).path();
    let depth = format!("iodepth={N}");
    let number = format!("number_ios={N}");
    let options = [
        "rw=randread",
        "bs=4k",
        "ioengine=libaio",
        &depth,
        &number,
        "size=16m",
    ];
    let before = used()?;
    let fio = Fio::start(&path, &options)?;
    // The delayed reads come first in its status line.
    let delayed = || -> Result<i64> {
        let status = slow.status()?;
        let line = status.first().context("a device has a status line")?;
        let reads = line.params.split_ascii_whitespace().next();
        Ok(reads.context("delay tells how many reads wait")?.parse()?)
    };
    // The guest's clock runs ahead while it waits for the machine to read fio.
    let mut tries = 3000;
    while delayed()? < N {
        tries -= 1;
        anyhow::ensure!(tries > 0, "fio has {} of {N} I/Os in flight", delayed()?);
        thread::sleep(Duration::from_millis(20));
    }
    let after = used()?;
    fio.finish()?;
    Ok((after - before) as f64 / N as f64)
}

pub fn run(only: &str) -> Result<()> {
    modprobe("dm-delay", &[])?;
    let lower = ram()?;
    for subject in subjects(only).filter(|s| s.plan == Plan::All) {
        say(&format!("{}: memory", subject.label));
        // The first devices leave behind what the later ones use again.
        mapped_device(subject, Who::C, &lower)?;
        for who in [Who::C, Who::Rust].into_iter().cycle().take(6) {
            print(
                subject,
                "a device",
                who,
                mapped_device(subject, who, &lower)?,
            );
            print(subject, "a segment", who, segment(subject, who, &lower)?);
        }
        if subject.has_lower {
            // The first run fills pools that stay.
            in_flight(subject, Who::Floor, &lower)?;
            let floor = in_flight(subject, Who::Floor, &lower)?;
            for who in [Who::C, Who::Rust].into_iter().cycle().take(6) {
                let all = in_flight(subject, who, &lower)?;
                print(subject, "an I/O in flight", who, all - floor);
            }
        }
    }
    Ok(())
}
