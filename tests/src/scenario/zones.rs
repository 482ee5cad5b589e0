// SPDX-License-Identifier: GPL-2.0

//! Zoned devices: what is reported of the zones, and what can be done to them.

use super::{MIB, ZONED};
use crate::case::{case, Case, Ctx};
use crate::disk::{digest, pattern, Disk, Mode};
use crate::dm::{line, outcome, Line, MappedDevice};
use crate::sys::{
    Ioctl, BLKCLOSEZONE, BLKDISCARD, BLKFINISHZONE, BLKGETNRZONES, BLKGETZONESZ, BLKOPENZONE,
    BLKRESETZONE, BLKZEROOUT,
};
use crate::twin::{Kind, Side, Target};
use crate::{zones, SECTOR};
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

fn report(disk: &Disk, sector: u64, count: u32) -> String {
    outcome(zones::report(disk.file(), sector, count))
}

fn all(ctx: &Ctx, target: &'static Target, kind: Kind) -> Result<()> {
    let fits = |lowers: usize| lowers <= kind.available();
    target.compare(ctx, |side| {
        let mut taken = 0;
        for shape in target.shapes.iter().filter(|s| fits(s.lowers)) {
            let lowers = side.lowers(kind, shape)?;
            let table = (shape.table)(&side.target, &lowers);
            let device = side.empty_device()?;
            side.note(
                format!("{} load", shape.name),
                outcome(device.load(&table).and_then(|()| device.resume())),
            );
            side.note_log(&format!("{} log", shape.name), "^device-mapper: ")?;
            if !device.is_active()? {
                continue;
            }
            taken += 1;
            let note = |what: &str, seen: String| side.note(format!("{} {what}", shape.name), seen);
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let end = table.last().map_or(0, |l| l.start + l.len);
            reports(&disk, end, &note)?;
            actions(&disk, end, &note);
            for (i, lower) in lowers.iter().enumerate() {
                let below = lower.open()?;
                note(&format!("zones of lower {i}"), report(&below, 0, 64));
                let contents = digest(&below, 0, lower.sectors().min(10 * ZONE));
                note(&format!("contents of lower {i}"), outcome(contents));
            }
            let reset = BLKRESETZONE.range(disk.file(), 0, end * SECTOR);
            note("reset of all", outcome(reset));
            note("zones after reset of all", report(&disk, 0, 64));
            for (i, lower) in lowers.iter().enumerate() {
                let seen = report(&lower.open()?, 0, 64);
                note(&format!("zones of lower {i} after reset of all"), seen);
            }
        }
        side.note_log("log", "^device-mapper: ")?;
        ensure!(taken > 0, "no table was taken: nothing was compared");
        Ok(())
    })
}

/// Reports from every place, of every length.
fn reports(disk: &Disk, end: u64, note: &dyn Fn(&str, String)) -> Result<()> {
    note("zone size", outcome(BLKGETZONESZ.number(disk.file())));
    note("zones", outcome(BLKGETNRZONES.number(disk.file())));
    let whole = zones::report(disk.file(), 0, 64)?;
    ensure!(!whole.is_empty(), "no zones are reported");
    note("report", format!("{whole:?}"));
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
        note(&format!("report from {sector}"), report(disk, sector, 64));
    }
    for count in [0, 1, 2, 3] {
        for zone in 0..4 {
            let seen = report(disk, zone * ZONE, count);
            note(&format!("report of {count} from zone {zone}"), seen);
        }
    }
    Ok(())
}

/// Writes and zone commands; after each the zones are reported.
fn actions(disk: &Disk, end: u64, note: &dyn Fn(&str, String)) {
    let act = |what: String, result: io::Result<()>| {
        note(&what, outcome(result));
        note(&format!("zones after {what}"), report(disk, 0, 64));
    };
    let write = |sector: u64, count: u64| {
        act(
            format!("write {sector}+{count}"),
            disk.write(sector, &pattern(sector + 1, 0, count)),
        );
    };
    let command = |ioctl: Ioctl, sector: u64, count: u64| {
        act(
            format!("{} {sector}+{count}", ioctl.name),
            ioctl.range(disk.file(), sector * SECTOR, count * SECTOR),
        );
    };
    // The first of these are conventional in some tables.
    for zone in 0..end / ZONE {
        let at = zone * ZONE;
        write(at, 8);
        write(at + 8, 64);
        write(at + 256, 8);
        command(BLKOPENZONE, at, ZONE);
        command(BLKCLOSEZONE, at, ZONE);
        match zone % 3 {
            0 => command(BLKFINISHZONE, at, ZONE),
            1 => command(BLKRESETZONE, at, ZONE),
            _ => {}
        }
    }
    // Up to what a zone can hold, and beyond; over its end into the next one.
    let last = end - ZONE;
    command(BLKRESETZONE, last, ZONE);
    write(last, 3 * MIB - 8);
    write(last + 3 * MIB - 8, 16);
    write(last + 3 * MIB - 8, 8);
    write(last + 3 * MIB, 8);
    write(last - 8, 16);
    for (sector, count) in [
        (last + 8, ZONE - 8),
        (last, 8),
        (last - ZONE, ZONE + 8),
        (last, 2 * ZONE),
        (end, ZONE),
        (last - ZONE, 2 * ZONE),
        (0, 0),
    ] {
        command(BLKRESETZONE, sector, count);
    }
    command(BLKDISCARD, last, 64);
    command(BLKZEROOUT, last, 8);
    // More open at a time than may be.
    for zone in 0..end / ZONE {
        command(BLKOPENZONE, zone * ZONE, ZONE);
    }
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
        let on = |start: u64, len: u64, lower: &crate::lower::Lower, at: u64| {
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
        side.note(format!("{key} zones"), report(&disk, 0, 64));
    }
    Ok(())
}
