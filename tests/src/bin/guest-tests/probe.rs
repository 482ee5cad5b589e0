// SPDX-License-Identifier: GPL-2.0

//! Tests of the abstraction by targets of a module of their own (`tests/probe`), which do what none of
//! those under test does: they keep with each bio what has a destructor, and send held bios all ways
//! that there are.

use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, skip, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, MappedDevice, Suspend};
use dm_rust_tests::lower::{self, Lower};
use dm_rust_tests::module::Module;
use dm_rust_tests::scenario::ZONED;
use dm_rust_tests::wait;
use dm_rust_tests::zones;
use std::fs;
use std::thread;
use std::time::Duration;

const SECTORS: u64 = 2048;

pub fn cases() -> Vec<Case> {
    vec![
        case("probe::per_bio_data", per_bio_data),
        case("probe::per_bio_data_of_requeued", of_requeued),
        case("probe::zones_twice", zones_twice),
        case("probe::partial_on_zones", partial_on_zones),
        case("probe::held_ram", |ctx| held(ctx, &lower::ram()?, ALL_WAYS)),
        case("probe::held_virtio", |ctx| {
            held(ctx, &lower::virtio()?, WAYS_OF_INTERRUPTS)
        }),
        case("probe::held_and_failed", held_and_failed),
        case("probe::full_shelf", full_shelf),
        case("probe::settled", settled),
        case("probe::put_off", put_off),
        case("probe::two_tables", two_tables),
    ]
}

/// The module, until this is dropped.
struct Probe(Module);

impl Probe {
    fn new(ctx: &Ctx) -> Result<Probe> {
        ctx.module()?;
        let file = ctx.env.probe.join("dm-rust-probe.ko");
        if !file.exists() {
            return Err(skip(format!("there is no {}", file.display())));
        }
        let module = Module::new(&file);
        // What it counts begins with nothing.
        module.ensure_unloaded()?;
        module.ensure_loaded()?;
        Ok(Probe(module))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Err(e) = self.0.ensure_unloaded() {
            dm_rust_tests::cleanup::left_behind("the tests' own module", format!("{e:#}"));
        }
    }
}

/// The numbers of a status line.
fn counts(device: &MappedDevice) -> Result<Vec<u64>> {
    let status = &device.status()?[0].params;
    let numbers: Result<Vec<u64>, _> = status.split(' ').map(str::parse).collect();
    numbers.with_context(|| format!("the status is {status:?}"))
}

/// How many were made. All are dropped, once.
fn made(device: &MappedDevice) -> Result<u64> {
    let counts = counts(device)?;
    ensure!(
        counts[0] == counts[1],
        "{} were made, {} dropped",
        counts[0],
        counts[1]
    );
    ensure!(counts[2] == 0, "{} went wrong", counts[2]);
    Ok(counts[0])
}

fn create(target: &str, lower: &Lower) -> Result<(MappedDevice, Disk)> {
    let device = MappedDevice::create(&[line(0, SECTORS, target, lower.node())])?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    Ok((device, disk))
}

/// The data of a bio are dropped once, whatever becomes of it.
fn per_bio_data(ctx: &Ctx) -> Result<()> {
    let _probe = Probe::new(ctx)?;
    let lower = lower::ram()?;
    let (device, disk) = create("rust-probe", &lower)?;
    let mut before = made(&device)?;
    // What is said, what comes of it, and how many bios one write and one read become at least.
    for (way, wanted, least) in [
        ("remap", "ok", 2),
        ("kill", "EIO", 2),
        ("end", "ok", 2),
        ("fail", "ENODATA", 2),
        // The device is not being suspended.
        ("requeue", "EIO", 2),
        ("requeue_at_end", "EIO", 2),
        ("partial", "ok", 16),
        ("wait", "ok", 2),
        ("remap", "ok", 2),
    ] {
        device.message(0, way)?;
        let sector = 8 * before % SECTORS;
        let data = pattern(before, sector, 8);
        let written = outcome(disk.write(sector, &data));
        let read = disk.read(sector, 8);
        match way {
            "remap" | "partial" | "wait" => {
                lower.open()?.expect_pattern(sector, before, sector, 8)?;
                ensure!(read.as_ref().ok() == Some(&data), "{way}: other data came");
            }
            "end" => ensure!(
                read.as_ref().is_ok_and(|data| data.iter().all(|b| *b == 0)),
                "it was not zeroes that were read"
            ),
            _ => {}
        }
        for said in [written, outcome(read.map(drop))] {
            ensure!(said.starts_with(wanted), "{way}: {said}, not {wanted}");
        }
        let now = made(&device).with_context(|| format!("after {way:?}"))?;
        ensure!(
            now >= before + least,
            "{way}: {} bios, and {least} at least",
            now - before
        );
        before = now;
    }
    ctx.take_log("^device-mapper: ").map(drop)
}

/// A bio that is mapped anew after a suspension has data anew.
fn of_requeued(ctx: &Ctx) -> Result<()> {
    ctx.need_twin("delay")?;
    let _probe = Probe::new(ctx)?;
    let lower = lower::ram()?;
    let params = format!("{} 0 1000", lower.node());
    let slow = MappedDevice::create(&[line(0, SECTORS, "delay", params)])?;
    let table = [line(0, SECTORS, "rust-probe", slow.devno())];
    let device = MappedDevice::create(&table)?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    let before = made(&device)?;
    device.message(0, "requeue_at_end")?;
    thread::scope(|scope| {
        let write = scope.spawn(|| disk.write(8, &pattern(1, 8, 8)));
        // It is below by then, and comes back while the device is being suspended.
        thread::sleep(Duration::from_millis(300));
        device.suspend(Suspend::NoFlush)?;
        device.message(0, "remap")?;
        ensure!(!write.is_finished(), "the write did not wait");
        device.resume()?;
        let written = write.join().expect("a thread that does not panic");
        written.context("the write that was mapped anew")
    })?;
    lower.open()?.expect_pattern(8, 1, 8, 8)?;
    let bios = made(&device)? - before;
    ensure!(bios >= 2, "{bios} bios: it was not mapped anew");
    Ok(())
}

/// However often a target reports zones, there are no more than were asked for: there is memory for so
/// many.
fn zones_twice(ctx: &Ctx) -> Result<()> {
    const COUNT: u32 = 4;
    let _probe = Probe::new(ctx)?;
    let lower = ZONED.make()?;
    let device = MappedDevice::create(&[line(0, lower.sectors(), "rust-probe", lower.node())])?;
    let (disk, below) = (device.open()?, lower.open()?);
    device.message(0, "zones_twice")?;
    for sector in [0, zones::report(below.file(), 0, 2)?[1].start] {
        let zones = zones::report(&disk, sector, COUNT)?;
        ensure!(
            zones == zones::report(below.file(), sector, COUNT)?,
            "from {sector} on: {zones:?}"
        );
    }
    ctx.take_log("^device-mapper: zone: ").map(drop)
}

/// A write to a zoned device is not cut, whatever a target asks for: the kernel stops at that. A read is.
fn partial_on_zones(ctx: &Ctx) -> Result<()> {
    let _probe = Probe::new(ctx)?;
    let lower = ZONED.make()?;
    let device = MappedDevice::create(&[line(0, lower.sectors(), "rust-probe", lower.node())])?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    device.message(0, "partial")?;
    let before = made(&device)?;
    disk.write(0, &pattern(1, 0, 8))?;
    let written = made(&device)? - before;
    disk.expect_pattern(0, 1, 0, 8)?;
    let read = made(&device)? - before - written;
    ensure!(
        written == 1 && read == 8,
        "{written} bios for a write, {read} for a read"
    );
    ctx.take_log("^device-mapper: zone: ").map(drop)
}

/// Letters for what is done with a bio, see `tests/probe/targets/hold.rs`.
const ALL_WAYS: &[&str] = &[
    "b", "t", "qb", "qt", "sb", "pb", "bq", "bs", "bp", "bi", "bqi", "iqb", "qspb", "bqsp",
    "spqbpsqi", "iqtiqspi",
];

/// Where bios complete in interrupts nothing is done on the spot.
const WAYS_OF_INTERRUPTS: &[&str] = &[
    "b", "t", "qb", "sb", "pb", "bq", "bi", "bqs", "bqp", "biqspi",
];

/// Data go all ways, and what is kept with a bio is dropped once.
fn held(ctx: &Ctx, lower: &Lower, ways: &[&str]) -> Result<()> {
    const THREADS: u64 = 4;
    const PART: u64 = SECTORS / THREADS;
    let _probe = Probe::new(ctx)?;
    let (device, disk) = create("rust-probe-hold", lower)?;
    let below = lower.open()?;
    let mut before = made(&device)?;
    let mut parts = counts(&device)?[3];
    for (seed, way) in (1..).zip(ways) {
        device.message(0, &format!("way {way}"))?;
        let one = |first: u64| -> Result<()> {
            for (sector, count) in [(0, 1), (1, 7), (8, 128), (136, 1), (137, 375)] {
                let sector = first + sector;
                disk.write(sector, &pattern(seed, sector, count))?;
                disk.expect_pattern(sector, seed, sector, count)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let all: Vec<_> = (0..THREADS)
                .map(|i| {
                    scope.spawn({
                        let one = &one;
                        move || one(i * PART)
                    })
                })
                .collect();
            all.into_iter()
                .try_for_each(|t| t.join().expect("a thread that does not panic"))
        })
        .with_context(|| format!("way {way}"))?;
        below
            .expect_pattern(0, seed, 0, SECTORS)
            .with_context(|| format!("below, way {way}"))?;
        let now = made(&device).with_context(|| format!("way {way}"))?;
        let bios = now - before;
        ensure!(bios >= 2 * 5 * THREADS, "way {way}: {bios} bios");
        let worked_on = counts(&device)?[3] - parts;
        let wanted = 3 * bios * way.matches('p').count() as u64;
        ensure!(
            worked_on == wanted,
            "way {way}: {worked_on} parts, not {wanted}"
        );
        before = now;
        parts += worked_on;
    }
    Ok(())
}

/// A held bio that fails is dropped as well, wherever that is.
fn held_and_failed(ctx: &Ctx) -> Result<()> {
    let _probe = Probe::new(ctx)?;
    let lower = lower::ram()?;
    let (device, disk) = create("rust-probe-hold", &lower)?;
    for way in [
        "f", "qf", "sf", "pf", "bf", "bqf", "bsf", "bpf", "if", "bif",
    ] {
        let before = made(&device)?;
        device.message(0, &format!("way {way}"))?;
        for said in [
            outcome(disk.write(8, &[1; 4096])),
            outcome(disk.read(8, 8).map(drop)),
        ] {
            ensure!(said == "EIO", "way {way}: {said}");
        }
        ensure!(made(&device)? >= before + 2, "way {way}: no bios");
    }
    Ok(())
}

/// What finds no room on a shelf is worked on all the same: a bio by the queue, and a part of one by
/// who gives the parts out.
fn full_shelf(ctx: &Ctx) -> Result<()> {
    /// More than there is room for.
    const SHARED: u64 = 24;
    let _probe = Probe::new(ctx)?;
    let lower = lower::ram()?;
    lower.open()?.write(0, &pattern(1, 0, SECTORS))?;
    let (device, disk) = create("rust-probe-hold", &lower)?;
    let read = |sector: u64| disk.expect_pattern(sector, 1, sector, 1);
    let parts = counts(&device)?[3];
    thread::scope(|scope| -> Result<()> {
        let mut readers = Vec::new();
        let mut start = |way: &str, count: u64| -> Result<()> {
            device.message(0, &format!("way {way}"))?;
            let wanted = counts(&device)?[0] + count;
            readers.extend((0..count).map(|sector| scope.spawn(move || read(sector))));
            wait::until_true(&format!("{count} bios on way {way}"), || {
                Ok(counts(&device)?[0] >= wanted)
            })
        };
        device.message(0, "gate shut")?;
        let all = start("wb", 1)
            .and_then(|()| start("Sb", SHARED))
            .and_then(|()| {
                device.message(0, "way Pb")?;
                read(SHARED)?;
                let counts = counts(&device)?;
                ensure!(counts[3] == parts + 3, "{} parts", counts[3] - parts);
                // It has taken two off the shelf at most.
                let waiting = counts[0] - counts[1];
                ensure!(waiting > SHARED - 2, "{waiting} bios wait");
                Ok(())
            });
        device.message(0, "gate open")?;
        for reader in readers {
            reader.join().expect("a thread that does not panic")?;
        }
        all
    })?;
    made(&device).map(drop)
}

/// What is settled changes while the device is suspended, and neither before nor after.
fn settled(ctx: &Ctx) -> Result<()> {
    let _probe = Probe::new(ctx)?;
    let lower = lower::ram()?;
    let (device, _) = create("rust-probe-late", &lower)?;
    let change = |wanted: &str| -> Result<()> {
        let said = outcome(device.message(0, "change"));
        ensure!(said.starts_with(wanted), "{said}, not {wanted}");
        Ok(())
    };
    for how in [Suspend::Flush, Suspend::NoFlush] {
        change("EBUSY").context("live")?;
        device.suspend(how)?;
        change("ok").context("suspended")?;
        device.resume()?;
    }
    change("EBUSY").context("resumed")
}

/// What is kept with a bio that is put off is dropped once, whatever becomes of it; and a target may
/// use what it has borrowed until it is gone, be it with its device or because it was refused.
fn put_off(ctx: &Ctx) -> Result<()> {
    const ROUNDS: u64 = 20;
    let _probe = Probe::new(ctx)?;
    let lower = lower::ram()?;
    for round in 0..ROUNDS {
        let (device, disk) = create("rust-probe-late", &lower)?;
        for (way, wanted) in [("submit", "ok"), ("later", "ok"), ("fail", "ENODATA")] {
            let before = made(&device)?;
            device.message(0, way)?;
            for said in [
                outcome(disk.write(8, &pattern(round, 8, 8))),
                outcome(disk.read(8, 8).map(drop)),
            ] {
                ensure!(said.starts_with(wanted), "{way}: {said}, not {wanted}");
            }
            ensure!(made(&device)? >= before + 2, "{way}: no bios");
        }
        lower.open()?.expect_pattern(8, round, 8, 8)?;
        drop(disk);
        ensure!(agenda_threads() == 1, "not one thread for one agenda");
        // The least number that is free: those before have given theirs back.
        let queues = queue_numbers();
        ensure!(queues == ["1"], "the queues have the numbers {queues:?}");
        device.remove()?;
        let refused = MappedDevice::empty()?;
        for (what, errno, message) in [
            ("x", "EINVAL", "Too many arguments"),
            // There would be a trace of sysfs in the log.
            ("twice", "EEXIST", "A second queue"),
            ("long", "EINVAL", "A long name"),
        ] {
            let params = format!("{} {what}", lower.node());
            let loaded = refused.load(&[line(0, SECTORS, "rust-probe-late", params)]);
            ctx.expect_refused(loaded, errno, message)?;
        }
        ensure!(agenda_threads() == 0, "a thread is left");
    }
    // What the last one did at its end.
    let (device, _) = create("rust-probe-late", &lower)?;
    made(&device).map(drop)
}

/// What the names of the queues of `rust-probe-late` end in.
fn queue_numbers() -> Vec<String> {
    let queues = fs::read_dir("/sys/bus/workqueue/devices");
    let names = queues.into_iter().flatten().flatten();
    names
        .filter_map(|queue| queue.file_name().into_string().ok())
        .filter_map(|name| {
            let rest = name.strip_prefix("probe-late-")?;
            Some(rest.rsplit_once("-r")?.1.to_owned())
        })
        .collect()
}

/// How many threads there are for bios that `rust-probe-late` puts off.
fn agenda_threads() -> usize {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.flat_map(|process| fs::read_to_string(process.path().join("comm")));
    names.filter(|name| name.starts_with("probe-late/")).count()
}

/// While one table of a device takes over from another, both have their queues, whose names sysfs
/// takes once only.
fn two_tables(ctx: &Ctx) -> Result<()> {
    let _probe = Probe::new(ctx)?;
    let lower = lower::ram()?;
    for target in ["rust-probe-hold", "rust-probe-late"] {
        let table = [line(0, SECTORS, target, lower.node())];
        let (device, disk) = create(target, &lower)?;
        for round in 0..3 {
            disk.write(8, &pattern(round, 8, 8))?;
            device.load(&table)?;
            device.resume()?;
            disk.expect_pattern(8, round, 8, 8)?;
        }
    }
    Ok(())
}
