// SPDX-License-Identifier: GPL-2.0

//! What ours writes the in-tree target reads, and the other way round: both over
//! one lower device. Encryption of a sector can be undone in one way only, so
//! that the bytes on the disk are the same too.

use super::{Params, CRYPT};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{expect_equal, pattern, Disk, Mode};
use dm_rust_tests::dm::MappedDevice;
use dm_rust_tests::lower::Lower;
use dm_rust_tests::scenario::MIB;
use dm_rust_tests::twin::Kind;
use dm_rust_tests::{sys, SECTOR};
use memmap2::MmapMut;
use std::io::{IoSlice, IoSliceMut};

/// Ciphers with a length of the key, by what is tried with them.
const CIPHERS: &[(&str, &[(&str, usize)])] = &[
    (
        "plain64",
        &[
            ("aes-xts-plain64", 32),
            ("aes-xts-plain64", 64),
            ("aes-cbc-plain64", 16),
            ("aes-cbc-plain64", 24),
            ("aes-cbc-plain64", 32),
            ("aes-ctr-plain64", 32),
            ("aes-lrw-plain64", 48),
            ("aes:2-xts-plain64", 128),
            ("aes:4-cbc-plain64", 64),
            ("capi:xts(aes)-plain64", 64),
            ("capi:adiantum(xchacha12,aes)-plain64", 32),
        ],
    ),
    (
        "plain",
        &[
            ("aes", 32),
            ("aes-plain", 16),
            ("aes-cbc-plain", 32),
            ("aes-xts-plain", 64),
            ("aes-xts-plain64be", 64),
            ("aes-cbc-plain64be", 32),
        ],
    ),
    (
        "essiv",
        &[
            ("aes-cbc-essiv:sha256", 32),
            ("aes-cbc-essiv:sha256", 16),
            ("aes-cbc-essiv:md5", 16),
            ("capi:cbc(aes)-essiv:sha256", 32),
            ("aes:2-cbc-essiv:sha256", 64),
            ("serpent-cbc-essiv:sha256", 32),
        ],
    ),
    (
        "other_iv_modes",
        &[
            ("aes-cbc-benbi", 32),
            ("aes-lrw-benbi", 48),
            ("des3_ede-cbc-benbi", 24),
            ("aes-cbc-null", 32),
            ("aes-ecb", 32),
            ("aes-ecb-plain64", 32),
            ("aes-cbc-eboiv", 32),
            ("capi:cbc(aes)-eboiv", 16),
            ("aes-cbc-elephant", 32),
            ("aes-cbc-elephant", 64),
        ],
    ),
    (
        "of_512_bytes_only",
        &[
            ("aes-cbc-lmk", 16),
            ("aes:64-cbc-lmk", 1024),
            ("aes:64-cbc-lmk", 1040),
            ("capi:cbc(aes)-lmk", 1040),
            ("aes-cbc-tcw", 64),
            ("aes-cbc-tcw", 48),
            ("des3_ede-cbc-tcw", 48),
        ],
    ),
    (
        "other_ciphers",
        &[
            ("serpent-xts-plain64", 64),
            ("twofish-xts-plain64", 64),
            ("twofish-cbc-plain64", 32),
            ("camellia-xts-plain64", 64),
            ("cast5-cbc-plain64", 16),
            ("cast6-xts-plain64", 64),
            ("blowfish-cbc-plain64", 56),
            ("des3_ede-cbc-plain64", 24),
            ("cipher_null-ecb", 0),
            ("capi:ecb(cipher_null)", 0),
        ],
    ),
];

/// IV offset, start and options.
const PLACES: &[(u64, u64, &str)] = &[
    (0, 0, ""),
    ((1 << 32) - 9, 7, "1 iv_large_sectors"),
    (
        u64::MAX - 20,
        2048,
        "2 no_read_workqueue no_write_workqueue",
    ),
];

/// The same for larger sectors.
const LARGE: &[(u64, u64, &str)] = &[
    ((1 << 32) - 16, 8, "2 sector_size:4096 iv_large_sectors"),
    (
        u64::MAX - 39,
        24,
        "3 sector_size:2048 no_read_workqueue no_write_workqueue",
    ),
    (0, 0, "1 sector_size:4096"),
    (2, 6, "2 sector_size:1024 iv_large_sectors"),
];

/// Options that change how the work is done, not what is written.
const WAYS: &[&str] = &[
    "",
    "1 same_cpu_crypt",
    "1 submit_from_crypt_cpus",
    "1 high_priority",
    "1 no_read_workqueue",
    "1 no_write_workqueue",
    "2 no_read_workqueue no_write_workqueue",
    "3 no_read_workqueue no_write_workqueue submit_from_crypt_cpus",
    "3 same_cpu_crypt submit_from_crypt_cpus high_priority",
    "4 sector_size:4096 iv_large_sectors no_read_workqueue no_write_workqueue",
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, ciphers) in CIPHERS {
        // Another cipher is another argument to the crypto API, and no more.
        let few = if name == "other_ciphers" {
            1
        } else {
            PLACES.len()
        };
        let few_large = few.min(2);
        cases.push(
            case(format!("crypt::on_disk::{name}"), move |ctx| {
                all(
                    ctx,
                    ciphers,
                    &PLACES[..if ctx.env.long { PLACES.len() } else { few }],
                )
            })
            .limit(240),
        );
        if name != "of_512_bytes_only" {
            cases.push(
                case(
                    format!("crypt::on_disk::{name}_large_sectors"),
                    move |ctx| {
                        all(
                            ctx,
                            ciphers,
                            &LARGE[..if ctx.env.long { LARGE.len() } else { few_large }],
                        )
                    },
                )
                .limit(240),
            );
        }
    }
    cases.push(case("crypt::on_disk::ways", ways).limit(240));
    cases.push(case("crypt::on_disk::memory_in_pieces", pieces));
    cases.push(case("crypt::on_disk::wrong_keys_are_seen", wrong));
    cases
}

/// Sectors of the mapped devices of these tests.
const LENGTH: u64 = 2 * MIB;

/// The same table of both targets, over one device.
struct Pair {
    ours: MappedDevice,
    theirs: MappedDevice,
}

impl Pair {
    fn new(ctx: &Ctx, lower: &Lower, params: &Params) -> Result<Pair> {
        let device = |target: &str| {
            MappedDevice::create(&[params.over(target, lower, LENGTH)])
                .with_context(|| format!("with target {target}"))
        };
        Ok(Pair {
            theirs: device(CRYPT.name)?,
            ours: device(&ctx.env.target(CRYPT.name))?,
        })
    }

    /// Writer and reader, in both roles.
    fn each(&self) -> [(&'static str, &MappedDevice, &MappedDevice); 2] {
        [
            ("written by ours", &self.ours, &self.theirs),
            ("written in-tree", &self.theirs, &self.ours),
        ]
    }
}

fn all(ctx: &Ctx, ciphers: &[(&str, usize)], places: &[(u64, u64, &str)]) -> Result<()> {
    let lower = Kind::Ram.make()?;
    for &(cipher, key) in ciphers {
        for &(iv_offset, start, options) in places {
            let params = Params {
                cipher,
                key,
                iv_offset,
                start,
                options,
            };
            both_ways(ctx, &lower, &params).with_context(|| format!("{params:?}"))?;
        }
    }
    // An IV mode for a cipher without IVs, such as `aes-ecb-plain64`, is only warned of.
    ctx.take_log("crypt: Selected cipher does not support IVs")?;
    Ok(())
}

/// Sectors and lengths that are written, in units of 8 sectors.
const UNITS: &[(u64, u64)] = &[(0, 1), (1, 3), (5, 32), (40, 17), (LENGTH / 8 - 1, 1)];

fn both_ways(ctx: &Ctx, lower: &Lower, params: &Params) -> Result<()> {
    let pair = Pair::new(ctx, lower, params)?;
    let below = lower.open()?;
    for (seed, (key, writer, reader)) in (1..).zip(pair.each()) {
        let [writer, reader] = [writer, reader].map(|d| Disk::open(&d.path(), Mode::Direct));
        let (writer, reader) = (writer?, reader?);
        let before = below.read(params.start, 512)?;
        for &(at, units) in UNITS {
            let (sector, count) = (at * 8, units * 8);
            let data = pattern(seed, sector, count);
            writer.write(sector, &data).context(key)?;
            let check = || -> Result<()> {
                expect_equal(&reader.read(sector, count)?, &data, sector)?;
                expect_equal(&writer.read(sector, count)?, &data, sector)
            };
            check().with_context(|| format!("{key}, {count} sectors at {sector}"))?;
            let found = below.read(params.start + sector, count)?;
            ensure!(
                found != data || params.cipher.contains("null"),
                "{key}: it is not encrypted at all"
            );
        }
        // Nothing beside what was written.
        let after = below.read(params.start, 512)?;
        for sector in 0..512 {
            let unit = sector / 8;
            let written = UNITS
                .iter()
                .any(|(at, units)| (*at..at + units).contains(&unit));
            let at = (sector * SECTOR) as usize..((sector + 1) * SECTOR) as usize;
            ensure!(
                written || before[at.clone()] == after[at],
                "{key}: sector {sector} changed"
            );
        }
    }
    Ok(())
}

/// Requests of all sizes, up to those that are split, in each way of working.
fn ways(ctx: &Ctx) -> Result<()> {
    let lower = Kind::Ram.make()?;
    for options in WAYS {
        let params = Params {
            options,
            ..Params::new("aes-xts-plain64", 64)
        };
        let pair = Pair::new(ctx, &lower, &params)?;
        for (seed, (key, writer, reader)) in (1..).zip(pair.each()) {
            let writer = Disk::open(&writer.path(), Mode::Direct)?;
            let reader = Disk::open(&reader.path(), Mode::Direct)?;
            let check = |sector: u64, count: u64| -> Result<()> {
                let data = pattern(seed, sector, count);
                writer.write(sector, &data)?;
                expect_equal(&reader.read(sector, count)?, &data, sector)
            };
            for (sector, count) in [(0, 2048), (8, 3000), (96, 1000), (0, LENGTH)] {
                check(sector, count)
                    .with_context(|| format!("{options}: {key}, {count} sectors at {sector}"))?;
            }
        }
    }
    Ok(())
}

/// Requests whose memory is many pieces, none of which ends where a page does.
fn pieces(ctx: &Ctx) -> Result<()> {
    let lower = Kind::Ram.make()?;
    for options in ["", "2 no_read_workqueue no_write_workqueue"] {
        let params = Params {
            options,
            ..Params::new("aes-xts-plain64", 64)
        };
        let pair = Pair::new(ctx, &lower, &params)?;
        for (key, writer, reader) in pair.each() {
            let writer = Disk::open(&writer.path(), Mode::Direct)?;
            let reader = Disk::open(&reader.path(), Mode::Direct)?;
            let mut memory = MmapMut::map_anon(1 << 20)?;
            let lengths = [512, 1536, 4096, 7680, 512, 65536, 1024, 3584];
            let total: usize = lengths.iter().sum();
            let data = pattern(total as u64, 0, total as u64 / SECTOR);
            let mut rest = &mut memory[512..];
            let mut from = &data[..];
            let mut slices = Vec::new();
            for len in lengths {
                let (piece, after) = std::mem::take(&mut rest).split_at_mut(len);
                piece.copy_from_slice(&from[..len]);
                from = &from[len..];
                // Two sectors are left out between them.
                rest = &mut after[1024..];
                slices.push(piece);
            }
            let pieces: Vec<_> = slices.iter().map(|s| IoSlice::new(s)).collect();
            let written = rustix::io::pwritev(writer.file(), &pieces, 3 * SECTOR)?;
            ensure!(written == total, "{key}: {written} bytes of {total}");
            expect_equal(&reader.read(3, total as u64 / SECTOR)?, &data, 3).context(key)?;
            for slice in &mut slices {
                slice.fill(0);
            }
            let mut pieces: Vec<_> = slices.iter_mut().map(|s| IoSliceMut::new(s)).collect();
            let read = rustix::io::preadv(reader.file(), &mut pieces, 3 * SECTOR)?;
            ensure!(read == total, "{key}: {read} bytes of {total}");
            let found: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
            expect_equal(&found, &data, 3).context(key)?;
            // What was written from there is not changed by it.
            let shared = sys::map_shared(&reader_file(&reader, &pair)?, 1 << 16)?;
            ensure!(shared[3 * 512..][..total.min(60_000)] == data[..total.min(60_000)]);
        }
    }
    Ok(())
}

/// A file of the device that is read through the page cache.
fn reader_file(_: &Disk, pair: &Pair) -> Result<std::fs::File> {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(pair.ours.path())?;
    sys::BLKFLSBUF.read(&file)?;
    Ok(file)
}

/// Any part of the table that is another makes other data: these tests can fail.
fn wrong(ctx: &Ctx) -> Result<()> {
    let lower = Kind::Ram.make()?;
    let right = Params::new("aes-cbc-essiv:sha256", 32);
    let writer = MappedDevice::create(&[right.over(&ctx.env.target(CRYPT.name), &lower, LENGTH)])?;
    let data = pattern(1, 0, 8);
    Disk::open(&writer.path(), Mode::Direct)?.write(8, &data)?;
    let read = |params: &Params| -> Result<bool> {
        let reader = MappedDevice::create(&[params.over(CRYPT.name, &lower, LENGTH)])?;
        let found = Disk::open(&reader.path(), Mode::Direct)?.read(8, 8)?;
        Ok(found == data)
    };
    ensure!(read(&right)?, "the right table reads something else");
    for wrong in [
        Params {
            cipher: "aes-cbc-plain64",
            ..right
        },
        Params {
            cipher: "twofish-cbc-essiv:sha256",
            ..right
        },
        Params { key: 16, ..right },
        Params {
            iv_offset: 1,
            ..right
        },
        Params { start: 1, ..right },
        Params {
            options: "1 sector_size:1024",
            ..right
        },
    ] {
        ensure!(!read(&wrong)?, "{wrong:?} reads the same");
    }
    Ok(())
}
