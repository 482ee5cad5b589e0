// SPDX-License-Identifier: GPL-2.0

//! All that can happen to devices, at once and in no order.

use crate::case::{asked_seconds, case, is_watched, Case, Ctx};
use crate::disk::{Disk, Mode};
use crate::dm::{Line, MappedDevice, Suspend};
use crate::fio::Fio;
use crate::lower;
use crate::twin::Target;
use crate::SECTOR;
use anyhow::{ensure, Context, Result};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How many seconds it takes, if `RACE_SECONDS` does not say.
const SECONDS: u64 = 6;

/// What the kernel says of bad tables and of messages to targets that take none.
const PROVOKED: &str = "^device-mapper: table: .*: (Invalid|Not enough|Requires exactly|No arguments|Couldn't parse|unknown target|Device lookup)\
    |^device-mapper: ioctl: (error adding target|Target type does not support)\
    |^device-mapper: (rust-)?crypt: unrecognised message received";

/// For any target; `stores` tells whether it keeps what is written.
pub fn cases(target: &'static Target, stores: bool) -> Vec<Case> {
    let seconds = seconds();
    let name = format!("{}::concurrency::all_at_once", target.name);
    let all = case(name, move |ctx| all_at_once(ctx, target, stores, seconds));
    vec![all.limit(60 + seconds)]
}

/// How many seconds a test of races takes.
pub fn seconds() -> u64 {
    let usual = if is_watched() { 5 * SECONDS } else { SECONDS };
    asked_seconds("RACE_SECONDS").unwrap_or(usual)
}

/// How often each thread does what it does, at least.
const LEAST: u32 = 4;

/// What the threads share.
struct Stage {
    end: Instant,
    /// Tables of our target.
    tables: Vec<Vec<Line>>,
    /// Those of the in-tree one, in the same order.
    twins: Vec<Vec<Line>>,
    steady: MappedDevice,
}

fn all_at_once(ctx: &Ctx, target: &'static Target, stores: bool, seconds: u64) -> Result<()> {
    let most = target.shapes.iter().map(|s| s.lowers).max().unwrap_or(0);
    let lowers = (0..most)
        .map(|_| lower::ram())
        .collect::<Result<Vec<_>>>()?;
    let of = |name: &str| -> Vec<Vec<Line>> {
        let table = |s: &crate::twin::Shape| (s.table)(name, &lowers[..s.lowers]);
        target.shapes.iter().map(table).collect()
    };
    let tables = of(&ctx.env.target(target.name));
    let stage = Stage {
        end: Instant::now() + Duration::from_secs(seconds),
        steady: MappedDevice::create(&tables[0])?,
        tables,
        twins: of(target.name),
    };
    let fio = stores.then(|| {
        let runtime = format!("runtime={}", seconds.max(2) - 1);
        // The first half is verified; strays of the others go to the second.
        let options = [
            "rw=randwrite",
            "bsrange=512-64k",
            "size=4m",
            "iodepth=8",
            "ioengine=libaio",
            "verify=crc32c",
            "verify_backlog=8",
            "verify_fatal=1",
            "time_based=1",
            &runtime,
        ];
        Fio::start(&stage.steady.path(), &options)
    });
    let fio = fio.transpose()?;
    let counts = [const { AtomicU32::new(0) }; 5];
    type Work = fn(&Stage, &mut fastrand::Rng) -> Result<()>;
    let works: [Work; 5] = [live, live, change, look, fail];
    thread::scope(|scope| {
        let each = |(i, work): (usize, &Work)| {
            let (stage, counts, work) = (&stage, &counts, *work);
            scope.spawn(move || -> Result<()> {
                let mut rng = fastrand::Rng::with_seed(i as u64);
                // A guest that is slow takes longer, but each does something.
                while Instant::now() < stage.end || counts[i].load(Relaxed) < LEAST {
                    work(stage, &mut rng)?;
                    counts[i].fetch_add(1, Relaxed);
                }
                Ok(())
            })
        };
        let threads: Vec<_> = works.iter().enumerate().map(each).collect();
        // There is more to read than the log holds.
        while Instant::now() < stage.end {
            ctx.take_log(PROVOKED)?;
            thread::sleep(Duration::from_millis(100));
        }
        let results = threads
            .into_iter()
            .map(|t| t.join().expect("threads do not panic"));
        results
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<()>>()
    })?;
    if let Some(fio) = fio {
        let report = fio.finish().context("I/O under all of this")?;
        ensure!(report.read > 0 && report.written > 0, "fio: {report:?}");
    }
    ctx.take_log(PROVOKED).map(drop)
}

fn suspend(rng: &mut fastrand::Rng) -> Suspend {
    rng.choice([Suspend::Flush, Suspend::NoFlush, Suspend::NoLockFs])
        .expect("there are three")
}

/// A device from its creation to its removal, with I/O that may fail on it.
fn live(stage: &Stage, rng: &mut fastrand::Rng) -> Result<()> {
    let device = MappedDevice::empty()?;
    let pick = |rng: &mut fastrand::Rng| &stage.tables[rng.usize(..stage.tables.len())];
    device.load(pick(rng))?;
    if rng.u8(..8) == 0 {
        // It never gets to live.
        return Ok(());
    }
    device.resume()?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    let end = disk.sectors()?;
    for _ in 0..rng.u32(1..6) {
        // In the second half, which fio leaves alone.
        let sector = rng.u64(end / 2..end - 64);
        let _ = match rng.bool() {
            true => disk.write(sector, &vec![7; 64 * SECTOR as usize]),
            false => disk.read(sector, 64).map(drop),
        };
    }
    let how = suspend(rng);
    device.suspend(how)?;
    device.resume()?;
    drop(disk);
    let how = suspend(rng);
    device.swap(pick(rng), how)?;
    Ok(())
}

/// The device under I/O changes its table, to the twin's and back.
fn change(stage: &Stage, rng: &mut fastrand::Rng) -> Result<()> {
    let tables = if rng.bool() {
        &stage.tables
    } else {
        &stage.twins
    };
    let how = suspend(rng);
    stage.steady.load(&tables[0])?;
    if rng.u8(..6) == 0 {
        return Ok(stage.steady.clear()?);
    }
    stage.steady.suspend(how)?;
    if rng.bool() {
        thread::sleep(Duration::from_millis(rng.u64(..5)));
    }
    Ok(stage.steady.resume()?)
}

/// Everything that can be asked.
fn look(stage: &Stage, rng: &mut fastrand::Rng) -> Result<()> {
    let device = &stage.steady;
    match rng.u8(..6) {
        0 => drop(device.table()?),
        1 => drop(device.status()?),
        2 => drop(device.inactive_table()?),
        3 => drop(device.deps()?),
        4 => drop(device.status_into(rng.bool(), rng.usize(..200))?),
        _ => drop(device.message(rng.u64(..100), "no such message")),
    }
    thread::sleep(Duration::from_millis(1));
    Ok(())
}

/// Constructors that fail early or late, or that are undone by a line after them.
fn fail(stage: &Stage, rng: &mut fastrand::Rng) -> Result<()> {
    let device = MappedDevice::empty()?;
    let mut table = stage.tables[rng.usize(..stage.tables.len())].clone();
    let last = table.last_mut().context("an empty table")?;
    match rng.u8(..3) {
        0 => last.params += " surplus",
        1 => last.params += "x",
        _ => last.params = "\\ ".into(),
    }
    if rng.bool() {
        let start = last.start + last.len;
        table.push(crate::dm::line(start, 8, "no-such-target", ""));
    }
    // `error` takes any arguments.
    let _ = device.load(&table);
    Ok(())
}
