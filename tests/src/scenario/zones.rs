// SPDX-License-Identifier: GPL-2.0

//! Zoned devices: what is reported of the zones, and what can be done to them.

use super::{MIB, ZONED};
use crate::case::{case, Case, Ctx};
use crate::disk::{digest, pattern, Disk, Mode};
use crate::dm::{errno_name, line, outcome, Line, MappedDevice};
use crate::lower::Lower;
use crate::sys::{
    Ioctl, BLKCLOSEZONE, BLKDISCARD, BLKFINISHZONE, BLKGETNRZONES, BLKGETZONESZ, BLKOPENZONE,
    BLKRESETZONE, BLKZEROOUT,
};
use crate::trace::{summary, Trace};
use crate::twin::{Kind, Side, Target};
use crate::zones::{self, Zone};
use crate::SECTOR;
use anyhow::{ensure, Result};
use std::io;

/// Sectors in a zone of every device here.
const ZONE: u64 = 4 * MIB;

const KINDS: &[(&str, Kind)] = &[
    ("null", ZONED),
    (
        "append_emulated",
        Kind::Null(&[
            ("memory_backed", 1),
            ("zoned", 1),
            ("zone_size", 4),
            ("zone_nr_conv", 3),
            ("zone_append_max_sectors", 0),
        ]),
    ),
    (
        "scsi",
        Kind::Scsi(&["zbc=managed", "zone_size_mb=4", "zone_nr_conv=2"]),
    ),
];

/// For a target that can stand on zoned devices.
pub fn cases(target: &'static Target) -> Vec<Case> {
    let name = |name: &str| format!("{}::zones::{name}", target.name);
    let mut cases: Vec<_> = KINDS
        .iter()
        .map(|&(kind_name, kind)| case(name(kind_name), move |ctx| all(ctx, target, kind)))
        .collect();
    cases.push(case(name("misfits"), move |ctx| misfits(ctx, target)));
    cases
}

fn lines(zones: &[Zone]) -> String {
    let lines = zones.iter().map(|z| format!("\n{z:?}"));
    lines.collect::<Vec<_>>().concat()
}

fn report(disk: &Disk, sector: u64) -> String {
    match zones::report(disk.file(), sector, 64) {
        Ok(zones) => lines(&zones),
        Err(e) => errno_name(&e),
    }
}

fn all(ctx: &Ctx, target: &'static Target, kind: Kind) -> Result<()> {
    let fits = |lowers: usize| lowers <= kind.available();
    let shapes = || target.shapes.iter().filter(|s| fits(s.lowers));
    let most = shapes().map(|s| s.lowers).max().unwrap_or(0);
    target.compare(ctx, |side| {
        let lowers = (0..most)
            .map(|i| side.lower(kind, i))
            .collect::<Result<Vec<_>>>()?;
        let mut reported = 0;
        for shape in shapes() {
            let table = (shape.table)(&side.target, &lowers[..shape.lowers]);
            let device = side.empty_device()?;
            let live = device.load(&table).and_then(|()| device.resume());
            side.note(format!("{} load", shape.name), outcome(live));
            side.note_log(&format!("{} log", shape.name), "^device-mapper: ")?;
            if !device.is_active()? {
                continue;
            }
            let note = |what: &str, seen: String| side.note(format!("{} {what}", shape.name), seen);
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let end = table.last().map_or(0, |l| l.start + l.len);
            reports(&disk, end, &note);
            reported += zones::report(disk.file(), 0, 64).map_or(0, |zones| zones.len());
            let devno = device.devno();
            let mut traced: Vec<_> = lowers.iter().map(Lower::devno).collect();
            traced.push(&devno);
            let trace = Trace::start(&traced, &["bio_queue", "bio_remap"])?;
            for step in steps(end) {
                let name = step.name();
                trace.mark(&name)?;
                note(&name, outcome(step.run(&disk)));
                note(&format!("zones after {name}"), around(&disk, step));
            }
            note("zones after all that", report(&disk, 0));
            for (step, events) in trace.stop()? {
                note(&format!("{step} below"), summary(&events));
            }
            for (i, lower) in lowers.iter().enumerate() {
                note_lower(&format!("lower {i}"), &lower.open()?, &note)?;
            }
            let reset = BLKRESETZONE.range(disk.file(), 0, end);
            note("reset of all", outcome(reset));
            note("zones after reset of all", report(&disk, 0));
            for (i, lower) in lowers.iter().enumerate() {
                let below = lower.open()?;
                note(&format!("lower {i} after reset of all"), report(&below, 0));
                BLKRESETZONE.range(below.file(), 0, lower.sectors())?;
            }
        }
        side.note_log("log", "^device-mapper: ")?;
        ensure!(reported > 0, "no zones were reported: nothing was compared");
        Ok(())
    })
}

/// Its zones, and what was written to each.
fn note_lower(key: &str, disk: &Disk, note: &dyn Fn(&str, String)) -> Result<()> {
    let zones = zones::report(disk.file(), 0, 64)?;
    note(&format!("zones of {key}"), lines(&zones));
    let written = zones.iter().map(|z| Ok(digest(disk, z.start, 512)?));
    let written = written.collect::<Result<Vec<_>>>()?;
    note(&format!("contents of {key}"), format!("{written:?}"));
    Ok(())
}

/// Reports from every place, of every length.
fn reports(disk: &Disk, end: u64, note: &dyn Fn(&str, String)) {
    note("zone size", outcome(BLKGETZONESZ.number(disk.file())));
    note("zones", outcome(BLKGETNRZONES.number(disk.file())));
    // Where all of a map is conventional it has no zones to report.
    note("report", report(disk, 0));
    for sector in [
        1,
        ZONE - 1,
        ZONE,
        ZONE + 8,
        end - ZONE,
        end - 1,
        end,
        end + ZONE,
        u64::MAX,
    ] {
        note(&format!("report from {sector}"), report(disk, sector));
    }
    for count in [0, 1, 2, 3] {
        for zone in 0..4 {
            let seen = outcome(zones::report(disk.file(), zone * ZONE, count));
            note(&format!("report of {count} from zone {zone}"), seen);
        }
    }
}

/// The zones that a step was about, and their neighbours.
fn around(disk: &Disk, step: Step) -> String {
    let (Step::Write(sector, _) | Step::Zones(_, sector, _) | Step::Range(_, sector, _)) = step;
    outcome(zones::report(disk.file(), sector.saturating_sub(ZONE), 4))
}

/// What is done to a zoned device, in sectors.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(u64, u64),
    Zones(Ioctl, u64, u64),
    Range(Ioctl, u64, u64),
}

impl Step {
    fn name(self) -> String {
        match self {
            Step::Write(sector, count) => format!("write {sector}+{count}"),
            Step::Zones(ioctl, sector, count) | Step::Range(ioctl, sector, count) => {
                format!("{} {sector}+{count}", ioctl.name)
            }
        }
    }

    fn run(self, disk: &Disk) -> io::Result<()> {
        match self {
            Step::Write(sector, count) => disk.write(sector, &pattern(sector + 1, 0, count)),
            Step::Zones(ioctl, sector, count) => ioctl.range(disk.file(), sector, count),
            Step::Range(ioctl, sector, count) => {
                ioctl.range(disk.file(), sector * SECTOR, count * SECTOR)
            }
        }
    }
}

fn steps(end: u64) -> Vec<Step> {
    use Step::*;
    let mut steps = Vec::new();
    // The first of these are conventional in some tables. Of many zones a few will do.
    let stride = if end > 8 * ZONE { 3 } else { 1 };
    for (i, at) in (0..end).step_by((stride * ZONE) as usize).enumerate() {
        steps.extend([
            Write(at, 8),
            Write(at + 8, 64),
            Write(at + 256, 8),
            Zones(BLKOPENZONE, at, ZONE),
            Zones(BLKCLOSEZONE, at, ZONE),
        ]);
        match i % 3 {
            0 => steps.push(Zones(BLKFINISHZONE, at, ZONE)),
            1 => steps.push(Zones(BLKRESETZONE, at, ZONE)),
            _ => {}
        }
    }
    let last = end - ZONE;
    steps.extend([
        // Up to what a zone can hold, and beyond; over its end into the next one.
        Zones(BLKRESETZONE, last, ZONE),
        // No larger ones: memory decides how many bios those become.
        Write(last, MIB),
        Write(last + MIB, MIB),
        Write(last + 2 * MIB, MIB - 8),
        Write(last + 3 * MIB - 8, 16),
        Write(last + 3 * MIB - 8, 8),
        Write(last + 3 * MIB, 8),
        Write(last - 8, 16),
        Zones(BLKRESETZONE, last + 8, ZONE - 8),
        Zones(BLKRESETZONE, last, 8),
        Zones(BLKRESETZONE, last - ZONE, ZONE + 8),
        Zones(BLKRESETZONE, last, 2 * ZONE),
        Zones(BLKRESETZONE, end, ZONE),
        Zones(BLKRESETZONE, last - ZONE, 2 * ZONE),
        Zones(BLKRESETZONE, 0, 0),
        Range(BLKDISCARD, last, 64),
        Range(BLKZEROOUT, last, 8),
    ]);
    // More open at a time than may be.
    steps.extend((0..end / ZONE).map(|zone| Zones(BLKOPENZONE, zone * ZONE, ZONE)));
    steps
}

/// Tables of targets that take a device and an offset which cut through zones, or
/// that put zones of different kinds together.
fn misfits(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        let zoned = side.lower(ZONED, 0)?;
        let other_size = side.lower(
            Kind::Null(&[("memory_backed", 1), ("zoned", 1), ("zone_size", 2)]),
            1,
        )?;
        let plain = side.lower(Kind::Null(&[("memory_backed", 1)]), 2)?;
        let on = |start: u64, len: u64, lower: &Lower, at: u64| {
            line(start, len, &side.target, format!("{} {at}", lower.node()))
        };
        let attempt = |key: &str, table: &[Line]| -> Result<()> {
            let device: MappedDevice = side.empty_device()?;
            side.note(format!("{key} load"), outcome(device.load(table)));
            side.note(format!("{key} resume"), outcome(device.resume()));
            side.note_log(&format!("{key} log"), "^device-mapper: ")?;
            side.note(format!("{key} active"), device.is_active()?);
            note_zones(side, key, &device)
        };
        for (at, len) in [
            (MIB, ZONE),
            (0, MIB),
            (0, ZONE + 8),
            (8, ZONE - 8),
            (6 * ZONE, 5 * MIB),
            (15 * ZONE, ZONE),
            (5 * ZONE + 8, ZONE),
            (16 * ZONE, ZONE),
        ] {
            attempt(&format!("{at}+{len}"), &[on(0, len, &zoned, at)])?;
        }
        let beside = |other, at| [on(0, ZONE, &zoned, 0), on(ZONE, ZONE, other, at)];
        attempt("zones of another size", &beside(&other_size, 0))?;
        attempt("no zones beside", &beside(&plain, 0))?;
        attempt("a zone twice", &beside(&zoned, 0))?;
        attempt("in another order", &beside(&zoned, 8 * ZONE))?;
        let second = [on(0, ZONE, &plain, 0), on(ZONE, ZONE, &zoned, 0)];
        attempt("zones after none", &second)
    })
}

fn note_zones(side: &Side, key: &str, device: &MappedDevice) -> Result<()> {
    for file in ["zoned", "nr_zones", "chunk_sectors"] {
        let value = crate::sysfs::file(&device.kernel_name(), &format!("queue/{file}"));
        let value = value.unwrap_or_else(|_| "none".into());
        side.note(format!("{key} {file}"), value);
    }
    if device.is_active()? {
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        side.note(format!("{key} zones"), report(&disk, 0));
    }
    Ok(())
}
