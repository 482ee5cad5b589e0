// SPDX-License-Identifier: GPL-2.0

//! Lower devices that fail: the same errors to the same requests, and nothing
//! that is stuck.

use super::{Params, CRYPT};
use anyhow::{ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, MappedDevice, Suspend};
use dm_rust_tests::module::modprobe;
use dm_rust_tests::twin::{Kind, Side};

/// Ways of working.
const OPTIONS: &[&str] = &[
    "",
    "2 no_read_workqueue no_write_workqueue",
    "1 submit_from_crypt_cpus",
    "2 sector_size:4096 iv_large_sectors",
];

pub fn cases() -> Vec<Case> {
    vec![
        case("crypt::faults::bad_sectors", bad_sectors).limit(120),
        case("crypt::faults::flakey", flakey).limit(120),
        case("crypt::faults::lower_gone", lower_gone),
        case("crypt::faults::many_at_once", many_at_once),
    ]
}

fn params(options: &str) -> Params<'_> {
    Params {
        options,
        ..Params::new("aes-xts-plain64", 64)
    }
}

/// Ranges that hold the bad sectors, end there, or are beside them.
const RANGES: &[(u64, u64)] = &[
    (0, 8),
    (1016, 8),
    (1024, 8),
    (1032, 8),
    (1016, 16),
    (1024, 16),
    (1000, 64),
    (0, 2048),
    (512, 4096),
];

/// Eight sectors in the middle that cannot be read or written.
fn bad_sectors(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        for options in OPTIONS {
            let lower = side.lower(Kind::Ram, 0)?;
            let node = lower.node();
            let below = MappedDevice::create(&[
                line(0, 1024, "linear", format!("{node} 0")),
                line(1024, 8, "error", ""),
                line(1032, 7160, "linear", format!("{node} 1032")),
            ])?;
            let table =
                params(options).line(&side.target, &below.path().display().to_string(), 8192);
            let device = side.device(&[table])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            for &(sector, count) in RANGES {
                let key = format!("{options} {sector}+{count}");
                let data = pattern(1, sector, count);
                side.note(format!("{key} write"), outcome(disk.write(sector, &data)));
                let read = disk.read(sector, count).map(|found| found == data);
                side.note(format!("{key} read"), outcome(read));
            }
            side.note("fsync", outcome(disk.sync()));
            side.note("good", outcome(disk.read(2048, 64).map(drop)));
            let buffered = Disk::open(&device.path(), Mode::Buffered)?;
            side.note("buffered", outcome(buffered.read(1024, 8).map(drop)));
            side.note("before", outcome(buffered.read(1008, 8).map(drop)));
        }
        Ok(())
    })
}

/// A device that fails for a while, in many ways.
fn flakey(ctx: &Ctx) -> Result<()> {
    modprobe("dm-flakey", &[])?;
    CRYPT.compare(ctx, |side| {
        for options in OPTIONS {
            let lower = side.lower(Kind::Ram, 0)?;
            let node = lower.node();
            let working = [line(0, 4096, "linear", format!("{node} 0"))];
            let below = MappedDevice::create(&working)?;
            let table =
                params(options).line(&side.target, &below.path().display().to_string(), 4096);
            let device = side.device(&[table])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let data = pattern(1, 0, 4096);
            disk.write(0, &data)?;
            for failing in [
                "",
                "1 error_reads",
                "1 error_writes",
                "1 drop_writes",
                "5 corrupt_bio_byte 32 r 7 0",
                "5 corrupt_bio_byte 224 w 9 0",
            ] {
                let bad = format!("{node} 0 0 1000 {failing}");
                below.swap(&[line(0, 4096, "flakey", bad.trim_end())], Suspend::Flush)?;
                let other = pattern(2, 64, 64);
                side.note(
                    format!("{options} {failing} write"),
                    outcome(disk.write(64, &other)),
                );
                let read = disk
                    .read(64, 64)
                    .map(|found| (found == other, found == data[64 * 512..128 * 512]));
                side.note(format!("{options} {failing} read"), outcome(read));
                side.note("fsync", outcome(disk.sync()));
                below.swap(&working, Suspend::Flush)?;
                // It works again at once.
                let read = disk.read(64, 64)?;
                side.note("afterwards", format!("{}", read == other));
                disk.write(64, &data[64 * 512..128 * 512])?;
                ensure!(
                    disk.read(0, 4096)? == data,
                    "{options} {failing}: other data are left"
                );
            }
            side.note_log("log", "^device-mapper: (rust-)?crypt")?;
            side.ctx().take_log("^device-mapper: flakey")?;
        }
        Ok(())
    })
}

/// The lower device is taken away.
fn lower_gone(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side: &Side| {
        let lower = side.lower(Kind::Null(&[("memory_backed", 1)]), 0)?;
        let device = side.device(&[params("").over(&side.target, &lower, 4096)])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        let data = pattern(1, 0, 64);
        disk.write(0, &data)?;
        let power = format!("/sys/kernel/config/nullb/{}/power", lower.kernel_name());
        std::fs::write(&power, "0")?;
        side.note("read", outcome(disk.read(0, 64).map(drop)));
        side.note("write", outcome(disk.write(0, &data)));
        side.note("fsync", outcome(disk.sync()));
        side.note("suspend", outcome(device.suspend(Suspend::Flush)));
        side.note("resume", outcome(device.resume()));
        let table = device.table()?.len();
        side.note("lines", table);
        drop(disk);
        drop(device);
        std::fs::write(&power, "1")?;
        Ok(())
    })
}

/// Many requests that fail while others succeed: each gets its own answer.
fn many_at_once(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        for options in OPTIONS {
            let lower = side.lower(Kind::Ram, 0)?;
            let node = lower.node();
            // Every other KiB is bad.
            let table: Vec<_> = (0..64)
                .map(|i| match i % 2 {
                    0 => line(i * 8, 8, "linear", format!("{node} {}", i * 8)),
                    _ => line(i * 8, 8, "error", ""),
                })
                .collect();
            let below = MappedDevice::create(&table)?;
            let table =
                params(options).line(&side.target, &below.path().display().to_string(), 512);
            let device = side.device(&[table])?;
            let each = |thread: u64| -> Result<Vec<bool>> {
                let disk = Disk::open(&device.path(), Mode::Direct)?;
                let rounds = (0..64).map(|i| (i + thread * 7) % 64);
                let tried = rounds.map(|i| {
                    let data = pattern(i, 0, 8);
                    let ok = disk.write(i * 8, &data).is_ok();
                    let read = disk.read(i * 8, 8);
                    let right = read.is_ok_and(|found| found == data);
                    ok == (i % 2 == 0) && right == ok
                });
                Ok(tried.collect())
            };
            let results = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|t| scope.spawn(move || each(t))).collect();
                let joined = threads.into_iter().map(|t| t.join().expect("no panic"));
                joined.collect::<Result<Vec<_>>>()
            })?;
            let wrong = results.concat().iter().filter(|right| !**right).count();
            side.note(format!("{options} wrong"), wrong);
            ensure!(
                wrong == 0,
                "{options}: {wrong} requests got another's answer"
            );
        }
        Ok(())
    })
}
