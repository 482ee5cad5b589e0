// SPDX-License-Identifier: GPL-2.0

//! Stripes that fail: how they are counted, told and announced.

use super::STRIPED;
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text, MappedDevice, Suspend};
use dm_rust_tests::lower::{self, Lower};
use dm_rust_tests::twin::{Kind, Side};
use dm_rust_tests::wait;
use rustix::fs::{fadvise, Advice};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Sectors of a chunk.
const CHUNK: u64 = 8;

/// From this sector on each bad device fails.
const BAD: u64 = 64;

pub fn cases() -> Vec<Case> {
    vec![
        case("striped::failing::letters_and_events", letters_and_events),
        case("striped::failing::every_kind_of_request", requests),
        case("striped::failing::read_ahead", read_ahead),
        case("striped::failing::stripes_of_one_device", one_device),
        case("striped::failing::dmsetup_wait", dmsetup_wait),
        case("striped::failing::flaky", flaky),
        case("striped::failing::removed_at_once", removed_at_once),
    ]
}

/// A device whose first sectors are good and whose others fail.
fn bad(side: &Side, lower: &Lower, index: usize) -> Result<MappedDevice> {
    let table = [
        line(0, BAD, "linear", format!("{} 0", lower.node())),
        line(BAD, 1024, "error", ""),
    ];
    let device = MappedDevice::create(&table)?;
    side.alias(device.devno(), format!("BAD{index}"));
    Ok(device)
}

/// Three stripes, of which the second fails from its sector [`BAD`] on.
struct Stripes {
    disk: Disk,
    device: MappedDevice,
    _bad: MappedDevice,
    _lower: Lower,
}

impl Stripes {
    fn new(side: &Side) -> Result<Stripes> {
        let lower = side.lower(Kind::Ram, 0)?;
        let bad = bad(side, &lower, 1)?;
        let node = lower.node();
        let params = format!(
            "3 {CHUNK} {node} 2048 {} 0 {node} 4096",
            bad.path().display()
        );
        let device = side.device(&[line(0, 3 * 512, &side.target, params)])?;
        Ok(Stripes {
            disk: Disk::open(&device.path(), Mode::Direct)?,
            device,
            _bad: bad,
            _lower: lower,
        })
    }

    /// The mapped sector of a chunk of a stripe.
    fn sector(stripe: u64, row: u64) -> u64 {
        (row * 3 + stripe) * CHUNK
    }
}

/// What can be seen of errors.
fn note(side: &Side, key: &str, device: &MappedDevice) -> Result<()> {
    side.note(format!("{key} status"), table_text(&device.status()?));
    side.note(format!("{key} event"), device.info()?.event_nr);
    Ok(())
}

/// Waits for event `number`, which comes from a work item; for one that must not
/// come, as long as they take at most. That is counted in sleeps and not by the clock: a guest
/// that has to wait for its CPUs gets no further meanwhile.
fn settle(device: &MappedDevice, number: u32) -> Result<()> {
    for _ in 0..200 {
        if device.info()?.event_nr >= number {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Each error is an event, up to a number of them.
fn letters_and_events(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let stripes = Stripes::new(side)?;
        let (device, disk) = (&stripes.device, &stripes.disk);
        note(side, "before", device)?;
        for stripe in [0, 2] {
            disk.read(Stripes::sector(stripe, 20), CHUNK)?;
        }
        disk.read(Stripes::sector(1, 0), CHUNK)?;
        note(side, "good reads", device)?;
        for i in 1..=18 {
            let read = disk.read(Stripes::sector(1, 8 + i), CHUNK);
            side.note(format!("read {i}"), outcome(read.map(drop)));
            settle(device, i as u32)?;
            note(side, &format!("error {i}"), device)?;
        }
        let events = device.info()?.event_nr;
        ensure!(
            events == 14,
            "{events} events: not one for each but the last ones"
        );
        // Suspending changes nothing; a new table starts anew.
        device.suspend(Suspend::Flush)?;
        device.resume()?;
        note(side, "resumed", device)?;
        let table = device.table()?;
        let table = [line(0, table[0].len, &side.target, table[0].params.clone())];
        device.swap(&table, Suspend::Flush)?;
        note(side, "reloaded", device)?;
        let read = disk.read(Stripes::sector(1, 9), CHUNK);
        side.note("read", outcome(read.map(drop)));
        settle(device, events + 2)?;
        note(side, "error after reload", device)
    })
}

/// Reads and writes over good and bad chunks, flushes, discards, zeroes.
fn requests(ctx: &Ctx) -> Result<()> {
    use dm_rust_tests::sys::{BLKDISCARD, BLKSECDISCARD, BLKZEROOUT};
    STRIPED.compare(ctx, |side| {
        let stripes = Stripes::new(side)?;
        let (device, disk) = (&stripes.device, &stripes.disk);
        let mut events = 0;
        let mut seen = |key: &str, result: std::io::Result<()>| -> Result<()> {
            side.note(key, outcome(result));
            settle(device, events + 1)?;
            events = device.info()?.event_nr;
            side.note(format!("{key} letters"), table_text(&device.status()?));
            side.note(format!("{key} events"), events > 0);
            Ok(())
        };
        let at = Stripes::sector;
        seen("write good", disk.write(at(2, 9), &pattern(1, 0, CHUNK)))?;
        seen(
            "write a good row",
            disk.write(at(0, 1), &pattern(1, 0, 3 * CHUNK)),
        )?;
        seen("flush", disk.sync())?;
        let range = |ioctl: dm_rust_tests::sys::Ioctl, sector: u64, count: u64| {
            ioctl.range(disk.file(), sector * 512, count * 512)
        };
        seen("discard good", range(BLKDISCARD, at(0, 1), 3 * CHUNK))?;
        seen("discard bad", range(BLKDISCARD, at(0, 9), 6 * CHUNK))?;
        seen("erase bad", range(BLKSECDISCARD, at(0, 9), 6 * CHUNK))?;
        seen("zero bad", range(BLKZEROOUT, at(0, 9), 6 * CHUNK))?;
        seen("write bad", disk.write(at(0, 9), &pattern(1, 0, 3 * CHUNK)))?;
        seen("read bad", disk.read(at(0, 9), 3 * CHUNK).map(drop))
    })
}

/// Readahead that fails costs nothing and is not counted.
fn read_ahead(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let stripes = Stripes::new(side)?;
        let file = stripes.device.open()?;
        fadvise(&file, 0, None, Advice::WillNeed)?;
        settle(&stripes.device, 1)?;
        note(side, "ahead", &stripes.device)?;
        let read = stripes.disk.read(Stripes::sector(1, 9), CHUNK);
        side.note("read", outcome(read.map(drop)));
        settle(&stripes.device, 1)?;
        note(side, "after", &stripes.device)
    })
}

/// All stripes on a device that fails are counted, whichever failed.
fn one_device(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let (first, second) = (bad(side, &lower, 1)?, bad(side, &lower, 2)?);
        let (a, b) = (first.path(), second.path());
        let (a, b) = (a.display(), b.display());
        // The first and the third stripe share a device.
        let params = format!("4 {CHUNK} {a} 0 {} 2048 {a} 512 {b} 0", lower.node());
        let device = side.device(&[line(0, 4 * 256, &side.target, params)])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        note(side, "before", &device)?;
        for (events, stripe) in [(2, 2), (3, 3)] {
            let read = disk.read((12 * 4 + stripe) * CHUNK, CHUNK);
            side.note(format!("read {stripe}"), outcome(read.map(drop)));
            // Two at once may become one event.
            settle(&device, events)?;
            side.note(format!("letters {stripe}"), table_text(&device.status()?));
            side.note("any event", device.info()?.event_nr > 0);
        }
        Ok(())
    })
}

/// Somebody who waits for an event is woken.
fn dmsetup_wait(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let stripes = Stripes::new(side)?;
        let device = &stripes.device;
        let mut wait = Command::new("dmsetup")
            .args(["wait", "--noflush", device.name(), "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start dmsetup")?;
        std::thread::sleep(Duration::from_millis(300));
        let early = wait.try_wait()?;
        let read = stripes.disk.read(Stripes::sector(1, 9), CHUNK);
        side.note("read", outcome(read.map(drop)));
        let ended = wait::until("the event", || Ok(wait.try_wait()?));
        let _ = wait.kill();
        wait.wait()?;
        ensure!(early.is_none(), "it did not wait for an event");
        side.note("status", ended?);
        Ok(())
    })
}

/// A device that comes and goes: in-tree `flakey`, first well, then down.
fn flaky(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let lowers = [side.lower(Kind::Ram, 0)?, side.lower(Kind::Ram, 1)?];
        let flakey = |up, down| {
            line(
                0,
                4096,
                "flakey",
                format!("{} 0 {up} {down}", lowers[0].node()),
            )
        };
        let below = MappedDevice::create(&[flakey(100, 0)])?;
        side.alias(below.devno(), "FLAKEY");
        let params = format!(
            "2 {CHUNK} {} 0 {} 0",
            below.path().display(),
            lowers[1].node()
        );
        let device = side.device(&[line(0, 8192, &side.target, params)])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        let data = pattern(1, 0, 64);
        for (key, table) in [
            ("up", flakey(100, 0)),
            ("down", flakey(0, 100)),
            ("up again", flakey(100, 0)),
        ] {
            below.swap(&[table], Suspend::Flush)?;
            side.note(format!("write {key}"), outcome(disk.write(0, &data)));
            let read = disk.read(0, 64);
            side.note(format!("read {key}"), outcome(read.map(|d| d == data)));
            settle(&device, 2)?;
            side.note(format!("letters {key}"), table_text(&device.status()?));
        }
        Ok(())
    })
}

/// A table that goes away just after an error: its event must not come too late.
fn removed_at_once(ctx: &Ctx) -> Result<()> {
    let target = ctx.env.target(STRIPED.name);
    let lower = lower::ram()?;
    let table = [
        line(0, 64, "linear", format!("{} 0", lower.node())),
        line(64, 64, "error", ""),
    ];
    let below = MappedDevice::create(&table)?;
    let node = below.path().display().to_string();
    let params = format!("2 {CHUNK} {node} 0 {node} 64");
    let table = [line(0, 128, &target, params)];
    let device = MappedDevice::create(&table)?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    for _ in 0..100 {
        ensure!(disk.read(CHUNK, CHUNK).is_err(), "the bad stripe is good");
        device.swap(&table, Suspend::NoFlush)?;
    }
    drop(disk);
    drop(device);
    for _ in 0..10 {
        let device = MappedDevice::create(&table)?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        ensure!(disk.read(CHUNK, CHUNK).is_err(), "the bad stripe is good");
        drop(disk);
        device.remove()?;
    }
    Ok(())
}
