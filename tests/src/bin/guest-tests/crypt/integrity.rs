// SPDX-License-Identifier: GPL-2.0

//! Authenticated encryption, over dm-integrity, which stores the tags.

use super::{fill, Params, CRYPT};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{expect_equal, pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text, MappedDevice};
use dm_rust_tests::fio;
use dm_rust_tests::integrity::Integrity;
use dm_rust_tests::module::modprobe;
use dm_rust_tests::scenario::refusal::attempt;
use dm_rust_tests::scenario::{memory, MIB};
use dm_rust_tests::twin::{Kind, Side};
use dm_rust_tests::SECTOR;
use std::time::Duration;

/// Ciphers, the lengths of their keys, bytes of metadata that they need, and options.
const CIPHERS: &[(&str, usize, u32, &str)] = &[
    ("capi:gcm(aes)-random", 32, 28, "1 integrity:28:aead"),
    ("capi:gcm(aes)-plain64", 32, 16, "1 integrity:16:aead"),
    (
        "capi:rfc7539(chacha20,poly1305)-random",
        32,
        28,
        "2 integrity:28:aead no_read_workqueue",
    ),
    (
        "capi:aegis128-random",
        16,
        32,
        "2 integrity:32:aead sector_size:4096",
    ),
    (
        "capi:authenc(hmac(sha256),xts(aes))-random",
        96,
        48,
        "1 integrity:48:aead",
    ),
    (
        "capi:authenc(hmac(sha256),xts(aes))-plain64",
        96,
        32,
        "3 integrity:32:aead sector_size:4096 iv_large_sectors",
    ),
    (
        "capi:authenc(hmac(sha256),xts(aes))-plain64",
        80,
        32,
        "2 integrity:32:aead integrity_key_size:16",
    ),
    (
        "capi:authenc(hmac(sha256),cbc(aes))-essiv:sha256",
        64,
        32,
        "2 integrity:32:aead no_write_workqueue",
    ),
    // No authentication, but room for the vector.
    ("aes-xts-random", 64, 16, "1 integrity:16:none"),
    (
        "aes-cbc-random",
        32,
        16,
        "2 integrity:16:none sector_size:4096",
    ),
    // More room than is needed.
    ("capi:gcm(aes)-random", 16, 40, "1 integrity:28:aead"),
];

pub fn cases() -> Vec<Case> {
    vec![
        case("crypt::integrity::on_disk", on_disk).limit(180),
        // It leaves the cipher asynchronous for whoever asks for it later.
        case("crypt::integrity::asynchronous", asynchronous).last(),
        case("crypt::integrity::starts_no_io", starts_no_io_for_memory),
        case("crypt::integrity::lines", lines),
        case("crypt::integrity::refused", refused),
        case("crypt::integrity::never_written", never_written),
        case("crypt::integrity::tampered", tampered).limit(120),
        case(
            "crypt::integrity::changed_by_another_reader",
            changed_by_another_reader,
        )
        .limit(120),
    ]
}

/// The size of a sector that the options ask for.
fn sector_size(options: &str) -> u64 {
    let size = options
        .split(' ')
        .find_map(|o| o.strip_prefix("sector_size:"));
    size.and_then(|s| s.parse().ok()).unwrap_or(SECTOR)
}

fn on_disk(ctx: &Ctx) -> Result<()> {
    CIPHERS.iter().try_for_each(|&c| both_ways(ctx, c, c.0))
}

/// A cipher whose requests other threads compute: they complete later.
fn asynchronous(ctx: &Ctx) -> Result<()> {
    let gcm = CIPHERS[0];
    // The kernel knows the driver once somebody has asked for the cipher.
    both_ways(ctx, gcm, gcm.0)?;
    modprobe("pcrypt", &[])?;
    let driver = driver("gcm(aes)")?;
    let cipher = format!("capi:pcrypt({driver})-random");
    // The in-tree target submits what was encrypted right where that completes: here no place to
    // sleep, as a kernel says that watches for it. So that one has the cipher as it is.
    let theirs = format!("capi:{driver}-random");
    for options in [
        "1 integrity:28:aead",
        "3 integrity:28:aead no_read_workqueue no_write_workqueue",
        "2 integrity:28:aead sector_size:4096",
    ] {
        both_ways(ctx, (&cipher, gcm.1, gcm.2, options), &theirs)?;
    }
    let all = std::fs::read_to_string("/proc/crypto")?;
    let mut ours = all.split("\n\n").filter(|entry| entry.contains("pcrypt("));
    ensure!(
        ours.any(|entry| field(entry, "async").as_deref() == Some("yes")),
        "the cipher is not asynchronous: {all}"
    );
    Ok(())
}

/// A field of an entry of `/proc/crypto`.
fn field(entry: &str, name: &str) -> Option<String> {
    let mut fields = entry.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

/// The name of the driver of a cipher that is in use.
fn driver(cipher: &str) -> Result<String> {
    let all = std::fs::read_to_string("/proc/crypto")?;
    let entries = all
        .split("\n\n")
        .filter(|entry| field(entry, "name").as_deref() == Some(cipher));
    let drivers = entries.filter_map(|entry| {
        let priority: u32 = field(entry, "priority")?.parse().ok()?;
        Some((priority, field(entry, "driver")?))
    });
    let best = drivers
        .filter(|(_, name)| !name.starts_with("pcrypt"))
        .max();
    Ok(best.with_context(|| format!("{cipher} is not in {all}"))?.1)
}

/// What each target writes, the other reads. The in-tree one has `theirs`, which computes the same.
fn both_ways(
    ctx: &Ctx,
    (cipher, key, tag, options): (&str, usize, u32, &str),
    theirs: &str,
) -> Result<()> {
    let lower = Kind::Ram.make()?;
    let below = Integrity::new(&lower, tag, sector_size(options))?;
    let device = |target: &str, cipher: &str| {
        let params = Params {
            options,
            ..Params::new(cipher, key)
        };
        MappedDevice::create(&[params.line(target, &below.node(), below.sectors)])
    };
    let theirs = device(CRYPT.name, theirs)?;
    let ours = device(&ctx.env.target(CRYPT.name), cipher)?;
    for (seed, (who, writer, reader)) in
        (1..).zip([("ours", &ours, &theirs), ("in-tree", &theirs, &ours)])
    {
        let writer = Disk::open(&writer.path(), Mode::Direct)?;
        let reader = Disk::open(&reader.path(), Mode::Direct)?;
        for (sector, count) in [(0, 8), (8, 200), (96, 2048), (below.sectors - 8, 8)] {
            let data = pattern(seed, sector, count);
            writer.write(sector, &data)?;
            let check = || -> Result<()> {
                expect_equal(&reader.read(sector, count)?, &data, sector)?;
                expect_equal(&writer.read(sector, count)?, &data, sector)
            };
            check().with_context(|| {
                format!("{cipher} {options}: written by {who}, {count} sectors at {sector}")
            })?;
        }
    }
    Ok(())
}

/// As [`memory::starts_no_io`] for tags, requests and clones.
fn starts_no_io_for_memory(ctx: &Ctx) -> Result<()> {
    let target = ctx.env.target(CRYPT.name);
    for &(cipher, key, tag, options) in CIPHERS {
        let lower = Kind::Ram.make()?;
        let below = Integrity::new(&lower, tag, sector_size(options))?;
        let params = Params {
            options,
            ..Params::new(cipher, key)
        };
        let table = [params.line(&target, &below.node(), below.sectors)];
        memory::starts_no_io(&table).with_context(|| format!("{cipher} {options}"))?;
    }
    Ok(())
}

fn lines(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        for &(cipher, key, tag, options) in CIPHERS {
            let lower = side.lower(Kind::Ram, 0)?;
            let below = Integrity::new(&lower, tag, sector_size(options))?;
            side.alias(below.device.devno(), "BELOW");
            let params = Params {
                options,
                ..Params::new(cipher, key)
            };
            let device = side.device(&[params.line(&side.target, &below.node(), below.sectors)])?;
            side.note(cipher, table_text(&device.table()?));
            side.note("status", table_text(&device.status()?));
            for file in [
                "max_hw_sectors_kb",
                "max_segments",
                "logical_block_size",
                "dma_alignment",
            ] {
                let path = format!("queue/{file}");
                let value = dm_rust_tests::sysfs::file(&device.kernel_name(), &path);
                side.note(format!("{cipher} {file}"), value.unwrap_or_default());
            }
            drop(device);
        }
        Ok(())
    })
}

/// Profiles that do not fit, or are no place for tags.
fn refused(ctx: &Ctx) -> Result<()> {
    const TRIED: &[&str] = &[
        "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:28:aead",
        "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:29:aead",
        "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:27:aead",
        "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:12:aead",
        "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:11:aead",
        "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:16:aead",
        "capi:gcm(aes)-plain64 <32> 0 {} 0 1 integrity:28:aead",
        "capi:gcm(aes)-plain64 <32> 0 {} 0 1 integrity:12:aead",
        "capi:gcm(aes)-random <32> 0 {} 0 2 integrity:28:aead sector_size:4096",
        "capi:gcm(aes)-random <32> 0 {} x 1 integrity:29:aead",
        "capi:authenc(hmac(sha256),xts(aes))-plain64 <96> 0 {} 0 1 integrity:28:aead",
        "capi:authenc(hmac(sha256),xts(aes))-plain64 <96> 0 {} 0 1 integrity:32:aead",
        "capi:authenc(hmac(sha256),xts(aes))-random <96> 0 {} 0 1 integrity:28:aead",
        "aes-xts-random <64> 0 {} 0",
        "aes-xts-random <64> 0 {} 0 1 integrity:16:none",
        "aes-xts-random <64> 0 {} 0 1 integrity:28:none",
        "aes-xts-random <64> 0 {} 0 1 integrity:29:none",
        "aes-xts-random <64> 0 {} 0 1 sector_size:4096",
        "aes-xts-plain64 <64> 0 {} 0 1 integrity:29:none",
    ];
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let below = Integrity::new(&lower, 28, SECTOR)?;
        side.alias(below.device.devno(), "BELOW");
        side.alias(below.device.kernel_name(), "BELOW");
        tries(side, "integrity", &below.node(), TRIED)?;
        drop(below);
        // Metadata that are the block layer's own.
        let scsi = side.lower(Kind::Scsi(&["dif=1", "dix=1"]), 1)?;
        tries(side, "scsi", &scsi.node(), TRIED)
    })
}

fn tries(side: &Side, key: &str, node: &str, tried: &[&str]) -> Result<()> {
    for template in tried {
        let params = fill(template, node);
        let table = [line(0, 64, &side.target, params)];
        attempt(side, &format!("{key} {template}"), &table, &[])?;
    }
    Ok(())
}

/// The log says it, but ten times in five seconds at most.
const REPORT: &str = "^device-mapper: (rust-)?crypt: .*INTEGRITY AEAD ERROR";

/// What was never written has no tag: it cannot be read, and says so; what is
/// beside it can.
fn never_written(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        std::thread::sleep(Duration::from_millis(5500));
        for &(cipher, key, tag, options) in &CIPHERS[..8] {
            let lower = side.lower(Kind::Ram, 0)?;
            let below = Integrity::new(&lower, tag, sector_size(options))?;
            side.alias(below.device.kernel_name(), "BELOW");
            let params = Params {
                options,
                ..Params::new(cipher, key)
            };
            let device = side.device(&[params.line(&side.target, &below.node(), below.sectors)])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            if cipher == CIPHERS[0].0 {
                side.note("first", outcome(disk.read(16, 8).map(drop)));
                side.note_log("report", REPORT)?;
            }
            let data = pattern(1, 0, 8);
            disk.write(64, &data)?;
            for (sector, count) in [(0, 8), (64, 8), (56, 8), (56, 16), (64, 16), (0, 2048)] {
                let read = disk.read(sector, count).map(|found| found == data);
                side.note(format!("{cipher} {sector}+{count}"), outcome(read));
            }
        }
        side.ctx().take_log(REPORT).map(drop)
    })
}

/// One byte of the disk that is changed: the sector that it belongs to cannot be
/// read, all others can.
fn tampered(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        for &(cipher, key, tag, options) in &CIPHERS[..8] {
            let lower = side.lower(Kind::Ram, 0)?;
            let below = Integrity::new(&lower, tag, sector_size(options))?;
            let params = Params {
                options,
                ..Params::new(cipher, key)
            };
            let device = side.device(&[params.line(&side.target, &below.node(), below.sectors)])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let data = pattern(1, 0, 256);
            disk.write(0, &data)?;
            side.note(cipher, disk.read(0, 256)? == data);
            // Where the ciphertext of sector 32 is on the raw disk.
            let above = Disk::open(&below.device.path(), Mode::Direct)?;
            let wanted = above.read(32, sector_size(options) / SECTOR);
            let wanted = wanted.context("the ciphertext cannot be read below")?;
            let wanted = &wanted[..SECTOR as usize];
            let raw = lower.open()?;
            let at = find(&raw, lower.sectors(), wanted).context("no ciphertext on the disk")?;
            let mut sector = raw.read(at, 1)?;
            for byte in [0, 1, 15, 16, 300, 511] {
                sector[byte] ^= 1;
                raw.write(at, &sector)?;
                for (from, count) in [(24, 8), (32, 8), (40, 8), (0, 64), (0, 256), (48, 208)] {
                    let read = disk
                        .read(from, count)
                        .map(|d| d == data[(from * SECTOR) as usize..][..d.len()]);
                    side.note(format!("byte {byte}, {from}+{count}"), outcome(read));
                }
                sector[byte] ^= 1;
                raw.write(at, &sector)?;
                side.note("undone", disk.read(0, 256)? == data);
            }
            // Two sectors that change places.
            let other = at + sector_size(options) / SECTOR;
            let [one, two] = [raw.read(at, 1)?, raw.read(other, 1)?];
            raw.write(at, &two)?;
            raw.write(other, &one)?;
            side.note("exchanged", outcome(disk.read(32, 8).map(drop)));
            side.note("and", outcome(disk.read(40, 8).map(drop)));
        }
        side.ctx().take_log(REPORT).map(drop)
    })
}

/// Two read into the same memory: what one decrypts there is not what it has read, when the other's
/// data have come meanwhile. Nobody has tampered with the disk, and so nobody is told that.
fn changed_by_another_reader(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        let (cipher, key, tag, options) = CIPHERS[0];
        let lower = side.lower(Kind::Ram, 0)?;
        let below = Integrity::new(&lower, tag, sector_size(options))?;
        let params = Params {
            options,
            ..Params::new(cipher, key)
        };
        let device = side.device(&[params.line(&side.target, &below.node(), below.sectors)])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        disk.write(0, &pattern(1, 0, 2 * MIB))?;
        for (size, times) in [("4k", 2000), ("64k", 200), ("256k", 50)] {
            let memory = tempfile::NamedTempFile::new_in("/dev/shm")?;
            memory.as_file().set_len(1 << 20)?;
            let report = fio::run(
                &device.path(),
                &[
                    "rw=randread",
                    "ioengine=psync",
                    // Threads would give the name of the memory back twice.
                    "thread=0",
                    "numjobs=2",
                    "size=2m",
                    "norandommap",
                    &format!("bs={size}"),
                    &format!("number_ios={times}"),
                    &format!("mem=mmapshared:{}", memory.path().display()),
                ],
            )?;
            side.note(size, report.read);
        }
        side.note("reports", side.ctx().take_log(REPORT)?.len());
        Ok(())
    })
}

/// The sector of a disk that holds these bytes.
fn find(disk: &Disk, sectors: u64, wanted: &[u8]) -> Option<u64> {
    const STEP: u64 = 2048;
    (0..sectors).step_by(STEP as usize).find_map(|start| {
        let data = disk.read(start, STEP.min(sectors - start)).ok()?;
        let mut found = data.chunks(SECTOR as usize);
        found.position(|s| s == wanted).map(|i| start + i as u64)
    })
}
