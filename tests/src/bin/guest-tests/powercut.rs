// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-powercut`. It has no in-tree twin: what is on the device is compared with what a
//! disk with a volatile cache may have.

use anyhow::{bail, ensure, Context, Result};
use dm_rust_tests::case::{case, skip, Case, Ctx};
use dm_rust_tests::disk::{digest, pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text, MappedDevice, Suspend};
use dm_rust_tests::fs::{self, Mounted};
use dm_rust_tests::lower::{self, Lower};
use dm_rust_tests::module::modprobe;
use dm_rust_tests::process;
use dm_rust_tests::scenario::{self, MIB};
use dm_rust_tests::setting::Setting;
use dm_rust_tests::ticks::Ticks;
use dm_rust_tests::twin::{Shape, Target};
use dm_rust_tests::wait;
use fastrand::Rng;
use rustix::io::ReadWriteFlags;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// For what is tested of one target as of another: there is no `powercut` to compare it with.
pub static POWERCUT: Target = Target {
    name: "powercut",
    shapes: &[
        Shape {
            name: "whole",
            lowers: 1,
            table: |target, lowers| {
                let lower = &lowers[0];
                vec![line(
                    0,
                    lower.sectors(),
                    target,
                    format!("{} 0", lower.node()),
                )]
            },
        },
        Shape {
            name: "options",
            lowers: 1,
            table: |target, lowers| {
                let node = lowers[0].node();
                let options = "12 seed 5 cache 65536 bad 300 4 latency w uniform 2 3";
                let params = format!("{node} {} {options}", 4 * MIB);
                vec![line(0, 8 * MIB, target, params)]
            },
        },
    ],
};

const TARGET: &str = "rust-powercut";
const SECTORS: u64 = 2048;

fn create(lower: &Lower, len: u64, options: &str) -> Result<MappedDevice> {
    let count = options.split_whitespace().count();
    let params = match count {
        0 => format!("{} 8", lower.node()),
        _ => format!("{} 8 {count} {options}", lower.node()),
    };
    MappedDevice::create(&[line(0, len, TARGET, params)])
}

fn open(device: &MappedDevice) -> Result<Disk> {
    Ok(Disk::open(&device.path(), Mode::Direct)?)
}

/// A number of the status line.
fn count(device: &MappedDevice, name: &str) -> Result<u64> {
    let status = device.status()?[0].params.clone();
    let mut words = status.split(' ').skip_while(|word| *word != name).skip(1);
    let word = words
        .next()
        .with_context(|| format!("no {name} in {status:?}"))?;
    Ok(word.split('/').next().unwrap_or(word).parse()?)
}

fn expect(device: &MappedDevice, counts: &[(&str, u64)]) -> Result<()> {
    for (name, wanted) in counts {
        let found = count(device, name)?;
        ensure!(
            found == *wanted,
            "{name} is {found}, not {wanted}: {}",
            table_text(&device.status()?)
        );
    }
    Ok(())
}

fn fails_with<T: std::fmt::Debug>(
    what: &str,
    result: std::io::Result<T>,
    wanted: &str,
) -> Result<()> {
    let said = outcome(result);
    ensure!(said == wanted, "{what}: {said}, not {wanted}");
    Ok(())
}

fn tables(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let all =
        "seed 5 cache 65536 unit 8 odds 1 2 3 lying error r 1 0 8 bad 3 4 bad_rate 9 misdirect 6 \
               latency r fixed 1 latency w uniform 2 3 latency f long 4 5";
    let device = create(&lower, SECTORS, all)?;
    let words = all.split_whitespace().count();
    let wanted = format!("0 {SECTORS} {TARGET} {} 8 {words} {all}\n", lower.devno());
    let found = table_text(&device.table()?);
    ensure!(
        found.split_whitespace().eq(wanted.split_whitespace()),
        "the table is {found}"
    );
    drop(device);
    for (params, errno, reason) in [
        ("", "EINVAL", "Invalid argument count"),
        ("{}", "EINVAL", "Invalid argument count"),
        ("{} x", "EINVAL", "Invalid device sector"),
        ("{} 0 1", "EINVAL", "Invalid number of option words"),
        (
            "{} 0 1 lying lying",
            "EINVAL",
            "Invalid number of option words",
        ),
        ("{} 0 1 seed", "EINVAL", "Invalid seed"),
        ("{} 0 1 nothing", "EINVAL", "Unrecognised option"),
        ("/dev/none 0", "ENOENT", "Device lookup failed"),
    ] {
        let device = MappedDevice::empty()?;
        let params = params.replace("{}", &lower.node());
        let loaded = device.load(&[line(0, 8, TARGET, params.as_str())]);
        ctx.expect_refused(loaded, errno, reason)
            .with_context(|| format!("{params:?}"))?;
        dm_rust_tests::disk::expect_released(lower.path())?;
    }
    let device = create(&lower, SECTORS, "")?;
    for message in [
        "x",
        "restore",
        "powercut now",
        "powercut after",
        "powercut after x",
        "powercut after 1 2",
        "restore now",
    ] {
        fails_with(message, device.message(0, message), "EINVAL")?;
    }
    device.message(0, "powercut")?;
    for message in ["powercut", "powercut after 1"] {
        fails_with(message, device.message(0, message), "EINVAL")?;
    }
    device.message(0, "restore")?;
    Ok(())
}

/// What is read, and what is below, before and after a flush.
fn caching(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let device = create(&lower, SECTORS, "")?;
    let (disk, below) = (open(&device)?, lower.open()?);
    let zeroes = vec![0; 64 * 512];
    disk.write(0, &pattern(1, 0, 64))?;
    disk.expect_pattern(0, 1, 0, 64)?;
    ensure!(below.read(8, 64)? == zeroes, "a write went past the cache");
    // Parts of it from the cache, parts from below, with what overlaps newest.
    below.write(8 + 100, &pattern(2, 100, 100))?;
    disk.write(110, &pattern(3, 110, 20))?;
    disk.write(120, &pattern(4, 120, 1))?;
    disk.write(125, &pattern(5, 125, 30))?;
    let mut wanted = pattern(2, 100, 100);
    for (seed, first, len) in [(3, 110, 20), (4, 120, 1), (5, 125, 30)] {
        let at = (first - 100) * 512;
        wanted[at..at + len * 512].copy_from_slice(&pattern(seed, first as u64, len as u64));
    }
    for (first, len) in [
        (100, 100),
        (111, 3),
        (119, 3),
        (109, 2),
        (124, 2),
        (154, 5),
        (190, 10),
    ] {
        let at = (first as usize - 100) * 512;
        let found = disk.read(first, len)?;
        ensure!(
            found == wanted[at..at + len as usize * 512],
            "{len} sectors from {first} on differ"
        );
    }
    expect(&device, &[("writes", 4), ("written_back", 0)])?;
    disk.sync()?;
    below.expect_pattern(8, 1, 0, 64)?;
    ensure!(below.read(108, 100)? == wanted, "not what was flushed");
    expect(
        &device,
        &[("cached", 0), ("written_back", 4), ("flushes", 1)],
    )?;
    disk.write(300, &pattern(6, 300, 8))?;
    // What is suspended or removed in order has lost nothing.
    device.suspend(Suspend::Flush)?;
    below.expect_pattern(308, 6, 300, 8)?;
    device.resume()?;
    disk.write(500, &pattern(8, 500, 8))?;
    drop(disk);
    drop(device);
    below.expect_pattern(508, 8, 500, 8)
}

/// FUA: that write, and what it overlaps, but nothing else. The kernel flushes after such a write all
/// the same, so that fails here.
fn fua(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let device = create(&lower, SECTORS, "error f 1000000000 0 1")?;
    let (disk, below) = (open(&device)?, lower.open()?);
    disk.write(300, &pattern(6, 300, 8))?;
    disk.write(400, &pattern(6, 400, 8))?;
    let write = disk.write_with(404, &pattern(7, 404, 8), ReadWriteFlags::DSYNC);
    fails_with("a flush", write, "EIO")?;
    below.expect_pattern(8 + 400, 6, 400, 4)?;
    below.expect_pattern(8 + 404, 7, 404, 8)?;
    let untouched = below.read(308, 8)?.iter().all(|byte| *byte == 0);
    ensure!(untouched, "another write went along");
    disk.expect_pattern(300, 6, 300, 8)?;
    ctx.take_log("I/O error").map(drop)
}

/// The cache never takes more than it may, and writes back in an order that the seed decides.
fn bound(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let mut orders = Vec::new();
    for seed in [1, 1, 2] {
        let lower = lower::ram()?;
        let device = create(&lower, SECTORS, &format!("seed {seed} cache 50000"))?;
        let (disk, below) = (open(&device)?, lower.open()?);
        let mut order = Vec::new();
        for i in 0..40 {
            disk.write(i * 16, &pattern(9, i * 16, 8))?;
            let cached = count(&device, "cached")?;
            ensure!(cached <= 50_000, "{cached} bytes are cached");
            let there: Vec<_> = (0..40)
                .filter(|i| {
                    below
                        .read(8 + i * 16, 1)
                        .is_ok_and(|d| d == pattern(9, i * 16, 1))
                })
                .collect();
            order.push(there);
        }
        ensure!(order[9].is_empty() && order[39].len() > 20, "{order:?}");
        for i in 0..40 {
            disk.expect_pattern(i * 16, 9, i * 16, 8)?;
        }
        orders.push(order);
    }
    // Writes that do not fit go through.
    let lower = lower::ram()?;
    let device = create(&lower, SECTORS, "cache 0")?;
    open(&device)?.write(1024, &pattern(9, 1024, 512))?;
    lower.open()?.expect_pattern(8 + 1024, 9, 1024, 512)?;
    ensure!(orders[0] == orders[1], "the same seed gave another order");
    ensure!(orders[0] != orders[2], "another seed gave the same order");
    Ok(())
}

/// Random writes, flushes and cuts against a model: what was flushed stays, what was not is one of
/// what was written since, sector by sector.
fn model(ctx: &Ctx, seed: u64, rounds: u32) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let device = create(&lower, SECTORS, &format!("seed {seed} cache 200000"))?;
    let disk = open(&device)?;
    let mut rng = Rng::with_seed(seed);
    // What each sector may hold; the last is the newest. Sector contents are told by a number.
    let mut may: Vec<Vec<u64>> = vec![vec![0]; SECTORS as usize];
    let content = |tag: u64, sector: u64| match tag {
        0 => vec![0; 512],
        _ => pattern(tag, sector, 1),
    };
    let (mut tag, mut lost, mut torn) = (0, 0, 0);
    for _ in 0..rounds {
        for _ in 0..rng.u32(5..60) {
            let len = rng.u64(1..=24);
            let first = rng.u64(0..200.min(SECTORS - len));
            tag += 1;
            match rng.u32(..12) {
                0 => {
                    disk.sync()?;
                    for values in &mut may {
                        values.drain(..values.len() - 1);
                    }
                }
                kind => {
                    let data = pattern(tag, first, len);
                    let fua = kind == 1;
                    match fua {
                        true => drop(disk.write_with(first, &data, ReadWriteFlags::DSYNC)?),
                        false => disk.write(first, &data)?,
                    }
                    for values in &mut may[first as usize..][..len as usize] {
                        if fua {
                            values.clear();
                        }
                        values.push(tag);
                    }
                }
            }
        }
        let whole = disk.read(0, 256)?;
        for (sector, values) in (0..).zip(&may).take(256) {
            let newest = *values.last().context("never empty")?;
            let found = &whole[sector as usize * 512..][..512];
            ensure!(
                found == content(newest, sector),
                "sector {sector} before the cut"
            );
        }
        for _ in 0..20 {
            let first = rng.u64(0..240);
            let len = rng.u64(1..=16);
            let found = disk.read(first, len)?;
            let at = first as usize * 512;
            ensure!(
                found == whole[at..at + found.len()],
                "{len} sectors from {first} on differ"
            );
        }
        device.message(0, "powercut")?;
        fails_with("a read without power", disk.read(0, 1).map(drop), "EIO")?;
        fails_with("a write without power", disk.write(0, &[0; 512]), "EIO")?;
        fails_with("a flush without power", disk.sync(), "EIO")?;
        device.message(0, "restore")?;
        let whole = disk.read(0, SECTORS)?;
        for (sector, values) in (0..).zip(&mut may) {
            let found = &whole[sector as usize * 512..][..512];
            let Some(at) = values
                .iter()
                .rposition(|tag| content(*tag, sector) == found)
            else {
                bail!("sector {sector} holds none of {values:?} after a cut");
            };
            lost += u32::from(at + 1 != values.len());
            *values = vec![values[at]];
        }
        torn = count(&device, "torn")?;
        ctx.take_log("I/O error")?;
    }
    ensure!(
        lost > 0 && torn > 0,
        "{lost} sectors lost, {torn} writes torn: the cuts cut nothing"
    );
    expect(&device, &[("cuts", rounds.into()), ("cached", 0)])
}

/// What becomes of writes with each of the odds alone.
fn odds(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    for (odds, name) in [("1 0 0", "kept"), ("0 1 0", "dropped"), ("0 0 1", "torn")] {
        let lower = lower::ram()?;
        let device = create(&lower, SECTORS, &format!("odds {odds} unit 4"))?;
        let disk = open(&device)?;
        for i in 0..20 {
            disk.write(i * 64, &pattern(1, i * 64, 16))?;
        }
        device.message(0, "powercut")?;
        device.message(0, "restore")?;
        expect(&device, &[(name, 20)])?;
        for i in 0..20 {
            let found = disk.read(i * 64, 16)?;
            let wanted = pattern(1, i * 64, 16);
            let there: Vec<_> = (0..16)
                .map(|s| found[s * 512..][..512] == wanted[s * 512..][..512])
                .collect();
            let changes: Vec<_> = (1..16).filter(|s| there[s - 1] != there[*s]).collect();
            let right = match name {
                "kept" => there.iter().all(|t| *t),
                "dropped" => there.iter().all(|t| !t),
                _ => changes.len() == 1 && changes[0] % 4 == 0,
            };
            ensure!(right, "{name}: {there:?}");
        }
    }
    ctx.take_log("I/O error").map(drop)
}

/// The power is cut at just that write.
fn after(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let device = create(&lower, SECTORS, "odds 0 1 0")?;
    let disk = open(&device)?;
    for n in [1, 5, 17] {
        disk.write(1000, &[0; 512])?;
        device.message(0, "powercut after 3")?;
        device.message(0, "powercut after 0")?;
        for _ in 0..4 {
            disk.write(1000, &[0; 512])?;
        }
        device.message(0, &format!("powercut after {n}"))?;
        for i in 1..n {
            disk.write(i * 8, &[1; 512])?;
            disk.read(i * 8, 1)?;
        }
        fails_with("the last write", disk.write(0, &[1; 512]), "EIO")?;
        fails_with("a read after it", disk.read(0, 1).map(drop), "EIO")?;
        device.message(0, "restore")?;
    }
    expect(&device, &[("cuts", 3)])?;
    ctx.take_log("I/O error").map(drop)
}

/// The same requests on a new device: what survives, as a digest, and the status line.
fn survivors(lower: &Lower, seed: u64, requests: u64) -> Result<(u64, String)> {
    let below = lower.open()?;
    dm_rust_tests::sys::BLKZEROOUT.range(below.file(), 0, (SECTORS + 8) * 512)?;
    let options =
        format!("seed {seed} cache 100000 misdirect 50000000 error w 20000000 0 {SECTORS}");
    let device = create(lower, SECTORS, &options)?;
    let disk = open(&device)?;
    let mut rng = Rng::with_seed(requests);
    device.message(0, "powercut after 60")?;
    for _ in 0..200 {
        let len = rng.u64(1..=32);
        let first = rng.u64(0..SECTORS - len);
        // What fails by chance is part of it.
        let _ = match rng.u32(..16) {
            0 => disk.sync(),
            1 => disk
                .write_with(first, &pattern(first, first, len), ReadWriteFlags::DSYNC)
                .map(drop),
            2 => disk.read(first, len).map(drop),
            _ => disk.write(first, &pattern(len, first, len)),
        };
        if count(&device, "cuts")? > 0 {
            break;
        }
    }
    device.message(0, "restore")?;
    drop(disk);
    // Whoever looked at the device when it was made has read of it; that does not matter.
    let status = device.status()?[0].params.replace("reads", "");
    let status = status.split(' ').skip(4).collect::<Vec<_>>().join(" ");
    drop(device);
    Ok((digest(&below, 0, SECTORS + 8)?, status))
}

fn replay(ctx: &Ctx, times: u64) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let first = survivors(&lower, 11, 1)?;
    for time in 0..times {
        let again = survivors(&lower, 11, 1)?;
        ensure!(
            again.0 == first.0,
            "run {time} left other bytes: {again:?}, not {first:?}"
        );
    }
    for (seed, requests) in [(12, 1), (11, 2)] {
        let other = survivors(&lower, seed, requests)?;
        ensure!(
            other.0 != first.0,
            "seed {seed} and requests {requests} made no difference"
        );
    }
    ctx.take_log("I/O error").map(drop)
}

/// A disk that says it has flushed, and has not.
fn lying(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let device = create(&lower, SECTORS, "lying odds 0 1 0")?;
    let disk = open(&device)?;
    disk.write(0, &[1; 4096])?;
    disk.sync()?;
    disk.write_with(64, &[1; 4096], ReadWriteFlags::DSYNC)?;
    device.message(0, "powercut")?;
    device.message(0, "restore")?;
    expect(&device, &[("dropped", 2)])?;
    ensure!(
        count(&device, "lied")? >= 2,
        "no lies: {}",
        table_text(&device.status()?)
    );
    ensure!(
        disk.read(0, 128)?.iter().all(|byte| *byte == 0),
        "something was kept"
    );
    Ok(())
}

fn trouble(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    // Errors by kind, rate and range.
    let device = create(
        &lower,
        SECTORS,
        "error r 1000000000 8 8 error w 500000000 64 1000",
    )?;
    let disk = open(&device)?;
    fails_with("a read of the range", disk.read(15, 4).map(drop), "EIO")?;
    disk.read(16, 4)?;
    disk.write(0, &[1; 16384])?;
    let failed = (0..100)
        .filter(|_| disk.write(70, &[1; 512]).is_err())
        .count() as u64;
    ensure!((20..80).contains(&failed), "{failed} of 100 writes failed");
    let errors = count(&device, "errors")?;
    ensure!(
        errors > failed,
        "{errors} errors were counted, {failed} writes failed"
    );
    drop(disk);
    drop(device);
    let device = create(&lower, SECTORS, "error f 1000000000 0 1")?;
    let disk = open(&device)?;
    fails_with("a flush", disk.sync(), "EIO")?;
    drop(disk);
    drop(device);
    // Bad sectors.
    let device = create(&lower, SECTORS, "bad 100 2 bad_rate 60000000")?;
    let disk = open(&device)?;
    fails_with("a bad sector", disk.read(96, 8).map(drop), "ENODATA")?;
    let bad: Vec<_> = (0..256).filter(|s| disk.read(*s, 1).is_err()).collect();
    ensure!(bad.contains(&100) && bad.contains(&101), "{bad:?}");
    ensure!((6..40).contains(&bad.len()), "{} bad sectors", bad.len());
    let again: Vec<_> = (0..256).filter(|s| disk.read(*s, 1).is_err()).collect();
    ensure!(bad == again, "other sectors are bad the second time");
    drop(disk);
    drop(device);
    // Writes that go elsewhere.
    let device = create(&lower, SECTORS, "misdirect 1000000000")?;
    let disk = open(&device)?;
    let place = 1200;
    disk.write(place, &pattern(77, 0, 8))?;
    disk.sync()?;
    expect(&device, &[("misdirected", 1)])?;
    let whole = lower.open()?.read(8, SECTORS)?;
    let places: Vec<_> = (0..SECTORS as usize / 8)
        .filter(|i| whole[i * 4096..][..4096] == pattern(77, 0, 8))
        .collect();
    ensure!(
        places.len() == 1 && places[0] as u64 * 8 != place,
        "{places:?}"
    );
    ctx.take_log("I/O error|medium error|critical").map(drop)
}

fn latency(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let options =
        "latency r fixed 1000000 latency w uniform 1000 80000 latency f long 20000 400000";
    let device = create(&lower, SECTORS, options)?;
    let disk = open(&device)?;
    let time = |run: &dyn Fn() -> std::io::Result<()>| -> Result<Duration> {
        let begin = Ticks::now();
        run()?;
        Ok(begin.elapsed() + Ticks::TICK)
    };
    let read = time(&|| disk.read(0, 8).map(drop))?;
    ensure!(read >= Duration::from_secs(1), "a read took {read:?}");
    let writes: Vec<_> = (0..12)
        .map(|_| time(&|| disk.write(0, &[1; 512])))
        .collect::<Result<_>>()?;
    ensure!(
        writes.iter().max() > Some(&Duration::from_millis(25)),
        "{writes:?}"
    );
    let flush = time(&|| disk.sync())?;
    ensure!(flush >= Duration::from_millis(20), "a flush took {flush:?}");
    // Requests wait at the same time: one after the other, eight would take eight seconds.
    let path = device.path();
    wait::quick("eight reads", Duration::from_secs(4), || {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Disk::open(&path, Mode::Direct).and_then(|disk| disk.read(0, 8)));
            }
        });
        Ok(())
    })
}

/// `dmrs powercut`: cuts, restores and checks, until a check fails.
fn tool(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let dmrs = ctx.env.dmrs.as_ref();
    let dmrs = dmrs.ok_or_else(|| skip("started without --dmrs"))?;
    let dmrs = dmrs.to_string_lossy().into_owned();
    let lower = lower::ram()?;
    let device = create(&lower, SECTORS, "seed 9")?;
    let name = device.name().to_owned();
    let run = |args: &[&str]| {
        let all: Vec<_> = ["powercut", &name].iter().chain(args).copied().collect();
        process::output(&dmrs, &all)
    };
    let check = "dd if=$DEVICE of=/dev/null count=1 2>/dev/null";
    let out = run(&["--loop", "3", "--check", check])?;
    ensure!(out.status.success(), "{out:?}");
    expect(&device, &[("cuts", 3)])?;
    // The second cut is the first after which the check fails.
    let check = "[ ! -e /tmp/powercut-failed ] && touch /tmp/powercut-failed";
    let out = run(&["--loop", "5", "--check", check])?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let told = said.contains("cut 2 of 5") && said.contains("seed 9");
    ensure!(out.status.code() == Some(1) && told, "{out:?}");
    expect(&device, &[("cuts", 5)])?;
    std::fs::remove_file("/tmp/powercut-failed")?;
    run(&["--leave-off"])?;
    let disk = open(&device)?;
    fails_with("a read", disk.read(0, 1).map(drop), "EIO")?;
    let other = MappedDevice::create(&[line(0, 8, "linear", format!("{} 4096", lower.node()))])?;
    let out = process::output(&dmrs, &["powercut", other.name()])?;
    ensure!(out.status.code() == Some(1), "{out:?}");
    ctx.take_log("I/O error").map(drop)
}

/// Files, and how long each is, that were flushed with their names.
#[derive(Default)]
struct Files(HashMap<String, usize>);

impl Files {
    /// Writes some until the power goes.
    fn write(&mut self, dir: &Path, round: u64, cut: impl Fn() -> bool) -> Result<()> {
        // Those of earlier rounds stay for a while.
        if self.0.len() > 60 {
            self.0.clear();
            for entry in std::fs::read_dir(dir)? {
                let path = entry?.path();
                if path.is_file() {
                    std::fs::remove_file(path)?;
                }
            }
        }
        for i in 0..200 {
            let name = format!("{round}-{i}");
            let size = 1000 + (i as usize * 7919) % 30_000;
            let write = || -> std::io::Result<()> {
                let mut file = File::create(dir.join(&name))?;
                file.write_all(&contents(&name, size))?;
                file.sync_all()?;
                // The name is only there when that is flushed.
                File::open(dir)?.sync_all()
            };
            if write().is_err() || cut() {
                break;
            }
            self.0.insert(name, size);
        }
        Ok(())
    }

    fn are_there(&self, dir: &Path) -> bool {
        self.0.iter().all(|(name, size)| {
            std::fs::read(dir.join(name)).is_ok_and(|found| found == contents(name, *size))
        })
    }
}

fn contents(name: &str, size: usize) -> Vec<u8> {
    let seed = name.bytes().fold(7, |n: u64, c| n * 31 + u64::from(c));
    let mut contents = vec![0; size];
    Rng::with_seed(seed).fill(&mut contents);
    contents
}

/// Transactions, each of which is told once SQLite says that it is there, and what is found of them.
const SQLITE: &str = r#"
import sqlite3, sys
journal, synchronous = sys.argv[1].split("/")
def content(n):
    return bytes([n % 251]) * (200 + n * 37 % 4000)
def work(command, path, first):
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("pragma journal_mode=" + journal)
        db.execute("pragma synchronous=" + synchronous)
        db.execute("create table if not exists t (n integer primary key, x blob)")
        if command == "write":
            for n in range(first, first + 200):
                db.execute("begin")
                db.execute("insert into t values (?, ?)", (n, content(n)))
                db.execute("commit")
                print(n)
        else:
            assert db.execute("pragma integrity_check").fetchone() == ("ok",)
            for n, x in db.execute("select n, x from t order by n"):
                assert x == content(n), n
                print(n)
    finally:
        db.close()
for line in sys.stdin:
    command, path, first = line.split()
    try:
        work(command, path, int(first))
        print("done", flush=True)
    except Exception as e:
        print("failed", e, flush=True)
"#;

/// The modes of SQLite, how it keeps its journal and how synchronous it is, in which a transaction
/// that was told stays. In the others the last ones may be undone, and nothing else.
const DURABLE: [&str; 2] = ["delete/extra", "wal/full"];

/// A process that works on a database, and what it said was there.
struct Sqlite {
    process: Child,
    answers: BufReader<ChildStdout>,
    durable: bool,
    told: Vec<u64>,
}

impl Sqlite {
    fn start(mode: &str) -> Result<Sqlite> {
        let mut process = Command::new("python3")
            .args(["-c", SQLITE, mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start python3")?;
        let answers = process.stdout.take().context("no output")?;
        Ok(Sqlite {
            process,
            answers: BufReader::new(answers),
            durable: DURABLE.contains(&mode),
            told: Vec::new(),
        })
    }

    /// The numbers it tells, and whether it came to the end.
    fn ask(&mut self, command: &str, path: &Path, first: u64) -> Result<(Vec<u64>, bool)> {
        let requests = self.process.stdin.as_mut().context("no input")?;
        writeln!(requests, "{command} {} {first}", path.display())?;
        let mut numbers = Vec::new();
        loop {
            let mut line = String::new();
            let n = self.answers.read_line(&mut line)?;
            ensure!(n != 0, "python3 ended");
            match line.trim().parse() {
                Ok(number) => numbers.push(number),
                Err(_) => return Ok((numbers, line.starts_with("done"))),
            }
        }
    }

    /// Transactions until the power goes.
    fn write(&mut self, dir: &Path, round: u64) -> Result<()> {
        if self.told.len() > 150 {
            self.told.clear();
            for file in ["db", "db-journal", "db-wal", "db-shm"] {
                match std::fs::remove_file(dir.join(file)) {
                    Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
                    _ => {}
                }
            }
        }
        let (told, _) = self.ask("write", &dir.join("db"), round * 1000)?;
        self.told.extend(told);
        Ok(())
    }

    fn is_there(&mut self, dir: &Path) -> Result<bool> {
        let (found, done) = self.ask("read", &dir.join("db"), 0)?;
        let first_undone = self.told.iter().position(|n| !found.contains(n));
        let undone = self.told.split_off(first_undone.unwrap_or(self.told.len()));
        let allowed =
            undone.is_empty() || !self.durable && !undone.iter().any(|n| found.contains(n));
        Ok(done && allowed)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(e) = ended {
            dm_rust_tests::cleanup::left_behind("python3", e);
        }
    }
}

/// What is done to a file system, and what must be there after a cut.
enum Workload {
    Files(Files),
    Sqlite(Sqlite),
}

impl Workload {
    /// Files, or SQLite in a mode.
    fn new(sqlite: Option<&str>) -> Result<Workload> {
        Ok(match sqlite {
            Some(mode) => Workload::Sqlite(Sqlite::start(mode)?),
            None => Workload::Files(Files::default()),
        })
    }

    fn write(&mut self, dir: &Path, round: u64, cut: impl Fn() -> bool) -> Result<()> {
        match self {
            Workload::Files(files) => files.write(dir, round, cut),
            Workload::Sqlite(sqlite) => sqlite.write(dir, round),
        }
    }

    fn is_there(&mut self, dir: &Path) -> Result<bool> {
        match self {
            Workload::Files(files) => Ok(files.are_there(dir)),
            Workload::Sqlite(sqlite) => sqlite.is_there(dir),
        }
    }
}

/// Cuts again and again below a file system with a workload; returns after how many cuts something
/// was lost that had been flushed.
fn below_fs(
    ctx: &Ctx,
    kind: &str,
    sqlite: Option<&str>,
    options: &str,
    cuts: u64,
) -> Result<Vec<u64>> {
    ctx.module()?;
    let lower = lower::file(lower::Loop {
        // XFS takes no less than 300 MiB.
        sectors: if kind == "xfs" { 320 } else { 128 } * 2048,
        block: 512,
        read_only: false,
    })?;
    let mut losses = Vec::new();
    let _quiet = if kind == "xfs" {
        // Where it finds a corruption it would print where it was.
        modprobe("xfs", &[])?;
        Some(Setting::new("/proc/sys/fs/xfs/error_level", "0")?)
    } else {
        None
    };
    let device = create(&lower, lower.sectors() - 8, &format!("seed 1 {options}"))?;
    let mut rng = Rng::with_seed(1);
    let mut state = None;
    for round in 0..cuts {
        if state.is_none() {
            fs::make(&device.path(), kind)?;
        }
        let mut workload = match state.take() {
            Some(workload) => workload,
            None => Workload::new(sqlite)?,
        };
        let before = count(&device, "cuts")?;
        let cut = || count(&device, "cuts").is_ok_and(|cuts| cuts > before);
        {
            let mounted = Mounted::new(&device.path(), kind, "")?;
            device.message(0, &format!("powercut after {}", rng.u32(30..400)))?;
            let written = workload.write(mounted.path(), round, cut);
            if !cut() {
                written?;
                device.message(0, "powercut")?;
            }
        }
        device.message(0, "restore")?;
        let there = match Mounted::new(&device.path(), kind, "") {
            Err(_) => false,
            Ok(mounted) => workload.is_there(mounted.path())?,
        };
        let sound = match kind {
            // It takes as long as the rest.
            "xfs" if round % 10 != 9 => true,
            _ => fs::check(&device.path(), kind).is_ok(),
        };
        if there && sound {
            state = Some(workload);
        } else {
            // Of what is broken nothing more can be expected: the next one is made anew.
            losses.push(round + 1);
        }
        ctx.take_log("device-mapper: |I/O error")?;
    }
    Ok(losses)
}

/// What was flushed is there on an honest disk; on a lying one, not always.
fn proof(ctx: &Ctx, kind: &str, sqlite: Option<&str>, cuts: u64) -> Result<()> {
    let honest = below_fs(ctx, kind, sqlite, "", cuts)?;
    let lies = cuts.min(50);
    let lying = below_fs(ctx, kind, sqlite, "lying odds 1 2 1", lies)?;
    println!(
        "\n  {kind}{}: {} of {cuts} cuts lost data on an honest disk, {} of {lies} on a lying one",
        sqlite.map_or(String::new(), |mode| format!(", SQLite {mode}")),
        honest.len(),
        lying.len()
    );
    ensure!(
        honest.is_empty(),
        "after these cuts of {cuts} something was lost that had been flushed: {honest:?}"
    );
    ensure!(
        !lying.is_empty(),
        "no cut of {lies} lost anything on a disk that lies"
    );
    Ok(())
}

const LONG: &[&str] = &[
    "::xfs",
    "::sqlite_full",
    "::sqlite_extra",
    "::sqlite_wal_full",
    "::sqlite_wal_normal",
];

pub fn cases(long: bool) -> Vec<Case> {
    let name = |name: &str| format!("powercut::{name}");
    let (times, cuts, limit) = if long { (1000, 500, 7200) } else { (3, 1, 120) };
    let mut cases = vec![
        case(name("tables"), tables),
        case(name("caching"), caching),
        case(name("fua"), fua),
        case(name("bound"), bound),
        case(name("odds"), odds),
        case(name("after"), after),
        case(name("lying"), lying),
        case(name("trouble"), trouble),
        case(name("latency"), latency),
        case(name("tool"), tool),
        case(name("replay"), move |ctx| replay(ctx, times)).limit(limit),
    ];
    cases.extend((0..if long { 20 } else { 1 }).map(|seed| {
        case(name(&format!("model_{seed}")), move |ctx| {
            model(ctx, seed, 4)
        })
    }));
    let proofs = [
        ("ext4", "ext4", None),
        ("xfs", "xfs", None),
        ("sqlite_full", "ext4", Some("delete/full")),
        ("sqlite_extra", "ext4", Some("delete/extra")),
        ("sqlite_wal_full", "ext4", Some("wal/full")),
        ("sqlite_wal_normal", "ext4", Some("wal/normal")),
    ];
    let proofs = proofs.into_iter().map(|(title, kind, sqlite)| {
        case(name(title), move |ctx| proof(ctx, kind, sqlite, cuts)).limit(limit)
    });
    cases.extend(scenario::long_ones(proofs, LONG));
    cases
}
