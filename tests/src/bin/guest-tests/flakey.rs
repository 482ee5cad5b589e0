// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-flakey`.

use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text};
use dm_rust_tests::scenario::refusal::{arguments, Arguments};
use dm_rust_tests::scenario::{self, MIB};
use dm_rust_tests::sys::{BLKDISCARD, BLKZEROOUT};
use dm_rust_tests::ticks::Ticks;
use dm_rust_tests::trace::{self, Trace};
use dm_rust_tests::twin::{Kind, Shape, Target};
use rustix::io::ReadWriteFlags;
use std::io::IoSliceMut;
use std::time::Duration;

/// `rust-flakey` and `flakey`: `<device> <offset> <up> <down> [<count> <feature>...]`.
pub static FLAKEY: Target = Target {
    name: "flakey",
    shapes: &[
        Shape {
            name: "up",
            lowers: 1,
            table: |target, lowers| {
                let lower = &lowers[0];
                let params = format!("{} 0 3600 0", lower.node());
                vec![line(0, lower.sectors(), target, params)]
            },
        },
        Shape {
            name: "down_without_effect",
            lowers: 1,
            table: |target, lowers| {
                let node = lowers[0].node();
                let at = |offset| format!("{node} {offset} 0 1 2 random_read_corrupt 1");
                vec![
                    line(0, 8 * MIB, target, at(16 * MIB)),
                    line(8 * MIB, 4 * MIB, target, at(4 * MIB)),
                ]
            },
        },
    ],
};

const BAD: Arguments = &[(
    64,
    &[
        "",
        "{}",
        "{} 0",
        "{} 0 1",
        "{} x 1 1",
        "{} -1 1 1",
        "{} 0 x 1",
        "{} 0 1 x",
        "{} 0 -1 1",
        "{} 0 1 -1",
        "{} 0 0 0",
        "{} 0 1 0",
        "{} 0 0 1",
        "{} 0 4294967295 0",
        "{} 0 4294967295 1",
        "{} 0 4294967295 2",
        "{} 0 4294967294 1",
        "{} 0 4294967296 1",
        "{} 0 4294967296 4294967296",
        "/dev/none 0 1 1",
        "/dev/none 0 1 1 1 x",
        "/dev/none x 1 1",
        "{} 0 1 1 0",
        "{} 0 1 1 0 x y",
        "{} 0 1 1 x",
        "{} 0 1 1 12",
        "{} 0 1 1 1",
        "{} 0 1 1 -1 x",
        "{} 0 1 1 1 x",
        "{} 0 1 1 2 error_reads",
        "{} 0 1 1 1 error_reads error_writes",
        "{} 0 1 1 2 error_reads error_reads",
        "{} 0 1 1 2 error_reads ERROR_WRITES",
        "{} 0 1 1 2 drop_writes error_reads",
        "{} 0 1 1 2 drop_writes error_writes",
        "{} 0 1 1 2 error_writes drop_writes",
        "{} 0 1 1 2 drop_writes drop_writes",
        "{} 0 1 1 2 error_writes error_writes",
        "{} 0 1 1 3 error_writes error_writes drop_writes",
        "{} 0 1 1 1 corrupt_bio_byte",
        "{} 0 1 1 4 corrupt_bio_byte 1 r 0",
        "{} 0 1 1 5 corrupt_bio_byte 1 r 0 0",
        "{} 0 1 1 5 corrupt_bio_byte 0 r 0 0",
        "{} 0 1 1 5 corrupt_bio_byte 4294967295 R 255 4294967295",
        "{} 0 1 1 5 corrupt_bio_byte 4294967296 r 0 0",
        "{} 0 1 1 5 corrupt_bio_byte 4294967297 r 0 0",
        "{} 0 1 1 5 corrupt_bio_byte 1 x 0 0",
        "{} 0 1 1 5 corrupt_bio_byte 1 rw 0 0",
        "{} 0 1 1 5 corrupt_bio_byte 1 W 256 0",
        "{} 0 1 1 5 corrupt_bio_byte 1 W -1 0",
        "{} 0 1 1 5 corrupt_bio_byte 1 W 0 x",
        "{} 0 1 1 5 corrupt_bio_byte x W 0 0",
        "{} 0 1 1 10 corrupt_bio_byte 1 w 0 0 corrupt_bio_byte 1 r 0 0",
        "{} 0 1 1 6 corrupt_bio_byte 1 w 0 0 error_reads",
        "{} 0 1 1 6 corrupt_bio_byte 1 w 0 0 drop_writes",
        "{} 0 1 1 6 corrupt_bio_byte 1 w 0 0 error_writes",
        "{} 0 1 1 6 corrupt_bio_byte 1 r 0 0 error_reads",
        "{} 0 1 1 6 corrupt_bio_byte 1 r 0 0 drop_writes",
        "{} 0 1 1 6 corrupt_bio_byte 1 r 0 0 error_writes",
        "{} 0 1 1 6 drop_writes corrupt_bio_byte 1 r 0 0",
        "{} 0 1 1 1 random_read_corrupt",
        "{} 0 1 1 2 random_read_corrupt 0",
        "{} 0 1 1 2 random_read_corrupt 1000000000",
        "{} 0 1 1 2 random_read_corrupt 1000000001",
        "{} 0 1 1 2 random_read_corrupt x",
        "{} 0 1 1 4 random_read_corrupt 0 random_read_corrupt 5",
        "{} 0 1 1 4 random_read_corrupt 5 random_read_corrupt 0",
        "{} 0 1 1 1 random_write_corrupt",
        "{} 0 1 1 2 random_write_corrupt 7",
        "{} 0 1 1 4 random_write_corrupt 7 random_write_corrupt 7",
        "{} 0 1 1 3 random_write_corrupt 7 drop_writes",
        "{} 0 1 1 3 random_write_corrupt 0 drop_writes",
        "{} 0 1 1 3 random_write_corrupt 7 error_writes",
        "{} 0 1 1 3 random_read_corrupt 7 error_reads",
        "{} 0 1 1 3 random_read_corrupt 7 error_writes",
        "{} 0 1 1 9 corrupt_bio_byte 3 w 4 5 random_read_corrupt 7 random_write_corrupt 8",
        "{} 0 1 1 11 corrupt_bio_byte 3 w 4 5 random_read_corrupt 7 random_write_corrupt 8 x y",
        "{} 65536 1 1",
    ],
)];

/// What is done while the device is down, and what is on it afterwards.
fn down(ctx: &Ctx, features: &'static [&'static str]) -> Result<()> {
    FLAKEY.compare(ctx, |side| {
        for features in features {
            let lower = side.lower(Kind::Ram, 0)?;
            lower.open()?.write(0, &pattern(9, 0, 2048))?;
            let params = format!("{} 8 0 1 {features}", lower.node());
            let device = side.device(&[line(0, 1024, &side.target, params)])?;
            let key = |what: &str| format!("{features:?} {what}");
            side.note(key("table"), table_text(&device.table()?));
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let sums = |data: Vec<u8>| {
                let differ: Vec<_> = memchr::memchr_iter(0xa5, &data).collect();
                (
                    data.len(),
                    differ.len(),
                    differ.first().copied(),
                    differ.last().copied(),
                )
            };
            let trace = Trace::start(&[lower.devno()], trace::BIOS)?;
            for (sector, count) in [(0, 1), (0, 8), (1, 9), (16, 64), (128, 300)] {
                trace.mark(&format!("write {sector}"))?;
                let write = disk.write(sector, &vec![0x5a; count * 512]);
                side.note(key(&format!("write {sector}+{count}")), outcome(write));
                let flags = ReadWriteFlags::DSYNC;
                let write = disk.write_with(sector, &vec![0x5b; count * 512], flags);
                side.note(key(&format!("sync write {sector}+{count}")), outcome(write));
                trace.mark(&format!("read {sector}"))?;
                let read = disk.read(sector, count as u64).map(sums);
                side.note(key(&format!("read {sector}+{count}")), outcome(read));
            }
            trace.mark("rest")?;
            side.note(key("flush"), outcome(disk.sync()));
            side.note(
                key("discard"),
                outcome(BLKDISCARD.range(disk.file(), 4096, 4096)),
            );
            side.note(
                key("zeroes"),
                outcome(BLKZEROOUT.range(disk.file(), 8192, 4096)),
            );
            for (name, events) in trace.stop()? {
                side.note(key(&name), trace::summary(&events));
            }
            // What is on the device, but for what was corrupted by chance.
            let whole = lower.open()?.read(0, 2048)?;
            let marks: Vec<_> = memchr::memchr_iter(0xa5, &whole).collect();
            side.note(key("marks"), format!("{marks:?}"));
            let digest = dm_rust_tests::disk::digest(&lower.open()?, 0, 2048)?;
            side.note(key("digest"), digest);
            side.note_log(&key("log"), "I/O error|^device-mapper: ")?;
        }
        Ok(())
    })
}

/// Up and down in turns, on time.
fn turns(ctx: &Ctx) -> Result<()> {
    FLAKEY.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let begin = Ticks::now();
        let params = format!("{} 0 1 1 1 error_reads", lower.node());
        let device = side.device(&[line(0, 8, &side.target, params)])?;
        let loaded = begin.elapsed();
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        let (mut downs, mut ups) = (0, 0);
        while begin.elapsed() < Duration::from_millis(2600) {
            let before = begin.elapsed().saturating_sub(loaded);
            let fails = disk.read(0, 8).is_err();
            let after = begin.elapsed();
            // Not where it may be either, since the moment of loading is not known exactly, and a
            // guest may have to wait for its CPUs.
            let margin = 2 * Ticks::TICK;
            let early = before.saturating_sub(margin);
            if early.as_secs() == (after + margin).as_secs() {
                let wanted = after.as_secs() % 2 == 1;
                ensure!(
                    fails == wanted,
                    "at {before:?} to {after:?}: down is {fails}"
                );
                *(if fails { &mut downs } else { &mut ups }) += 1;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        ensure!(downs > 10 && ups > 10, "{downs} failed, {ups} did not");
        side.note_log("log", "I/O error").ok();
        side.note("turns", "as they should be");
        Ok(())
    })
}

/// How often a byte is corrupted, and that it is one.
fn by_chance(ctx: &Ctx) -> Result<()> {
    FLAKEY.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let rounds = 200;
        let differences = |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a != b).count();
        for (feature, writes) in [
            ("random_read_corrupt", false),
            ("random_write_corrupt", true),
        ] {
            let params = format!("{} 0 0 1 2 {feature} 500000000", lower.node());
            let device = side.device(&[line(0, 4096, &side.target, params)])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let below = lower.open()?;
            let mut corrupted = 0;
            let mut places = std::collections::BTreeSet::new();
            for round in 0..rounds {
                let data = pattern(round, 0, 16);
                (if writes { &disk } else { &below }).write(0, &data)?;
                let found = (if writes { &below } else { &disk }).read(0, 16)?;
                let count = differences(&data, &found);
                ensure!(count <= 1, "{count} bytes differ");
                corrupted += count;
                places.extend((0..data.len()).find(|i| data[*i] != found[*i]));
            }
            // Half of 200, less one of 256 that are overwritten with what they were.
            ensure!(
                (60..140).contains(&corrupted),
                "{feature}: {corrupted} of {rounds}"
            );
            ensure!(places.len() > 50, "{feature}: only {} places", places.len());
            side.note(feature, "as often as it should be");
        }
        Ok(())
    })
}

/// A write that is larger than what is copied at once, from memory at an odd place.
fn large(ctx: &Ctx) -> Result<()> {
    FLAKEY.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        for (byte, direction) in [
            (1, 'r'),
            (1, 'w'),
            (4097, 'w'),
            (65_537, 'r'),
            (1 << 20, 'w'),
        ] {
            let features = format!("5 corrupt_bio_byte {byte} {direction} 165 0");
            let params = format!("{} 0 0 1 {features}", lower.node());
            let device = side.device(&[line(0, 16 * MIB, &side.target, params)])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            disk.write(3, &vec![0x5a; 5 << 20])?;
            let read = disk.read(3, 10240)?;
            let below = lower.open()?.read(3, 10240)?;
            for (what, data) in [("read", read), ("below", below)] {
                let marks: Vec<_> = memchr::memchr_iter(165, &data).collect();
                side.note(format!("{features} {what}"), format!("{marks:?}"));
            }
        }
        Ok(())
    })
}

/// A read that the table cuts in two: the second part begins somewhere in the memory of the whole.
fn cut(ctx: &Ctx) -> Result<()> {
    const PARTS: usize = 16;
    FLAKEY.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        lower.open()?.write(0, &vec![0x5a; 1 << 20])?;
        for byte in [1, 512, 513, 4096, 4097, 30_000, 54_784, 54_785] {
            let features = format!("5 corrupt_bio_byte {byte} r 165 0");
            let node = lower.node();
            let device = side.device(&[
                line(0, 24, &side.target, format!("{node} 0 3600 0")),
                line(24, 1000, &side.target, format!("{node} 24 0 1 {features}")),
            ])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            // Every second page, so that none of them continues another.
            let mut memory = memmap2::MmapMut::map_anon(2 * PARTS * 4096)?;
            let mut pages: Vec<_> = memory
                .chunks_exact_mut(8192)
                .map(|two| IoSliceMut::new(&mut two[..4096]))
                .collect();
            let read = rustix::io::preadv(disk.file(), &mut pages, 3 * 512)?;
            ensure!(read == PARTS * 4096, "{read} bytes were read");
            let marks: Vec<_> = memchr::memchr_iter(165, &memory).collect();
            let rest = memory.iter().filter(|byte| **byte == 0x5a).count();
            side.note(
                features,
                format!("{marks:?}, {rest} bytes as on the device"),
            );
        }
        Ok(())
    })
}

/// The page that every process shares is not written to, nor is what a program writes from.
fn source_is_kept(ctx: &Ctx) -> Result<()> {
    let lower = dm_rust_tests::lower::ram()?;
    let target = ctx.env.target(FLAKEY.name);
    let params = format!("{} 0 0 1 5 corrupt_bio_byte 1 w 165 0", lower.node());
    let device = dm_rust_tests::dm::MappedDevice::create(&[line(0, 4096, &target, params)])?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    // Written from the kernel's page of zeroes.
    BLKZEROOUT.range(disk.file(), 0, 65536)?;
    let zeroes = memmap2::MmapMut::map_anon(4096)?;
    ensure!(
        zeroes.iter().all(|b| *b == 0),
        "the zero page was written to"
    );
    use std::os::unix::fs::FileExt;
    let mut source = memmap2::MmapMut::map_anon(4096)?;
    source.fill(0x5a);
    disk.file().write_all_at(&source, 65536).context("write")?;
    ensure!(
        source.iter().all(|b| *b == 0x5a),
        "the source was written to"
    );
    ensure!(
        lower.open()?.read(128, 1)?[0] == 165,
        "it was not corrupted"
    );
    Ok(())
}

pub fn cases(long: bool) -> Vec<Case> {
    let mut cases = vec![
        case("flakey::arguments", |ctx| arguments(ctx, &FLAKEY, BAD)),
        case("flakey::errors", |ctx| {
            down(
                ctx,
                &[
                    "",
                    "1 error_reads",
                    "1 error_writes",
                    "1 drop_writes",
                    "2 error_reads drop_writes",
                ],
            )
        }),
        case("flakey::corruption", |ctx| {
            down(
                ctx,
                &[
                    "5 corrupt_bio_byte 1 r 165 0",
                    "5 corrupt_bio_byte 1 w 165 0",
                    "5 corrupt_bio_byte 32768 w 165 0",
                    // Writes that are synchronous, and all that are writes.
                    "5 corrupt_bio_byte 2 w 165 2048",
                    "5 corrupt_bio_byte 3 w 165 1",
                    "6 corrupt_bio_byte 3 r 165 0 drop_writes",
                    "6 corrupt_bio_byte 3 w 165 0 error_reads",
                    // Every bio has a byte that changes, to what it is in most.
                    "5 corrupt_bio_byte 5 w 90 0",
                ],
            )
        }),
        case("flakey::turns", turns),
        case("flakey::by_chance", by_chance),
        case("flakey::large", large),
        case("flakey::cut", cut),
        case("flakey::source_is_kept", source_is_kept),
    ];
    let mut common = scenario::cases(&FLAKEY);
    common.extend(scenario::zones::cases(&FLAKEY));
    cases.extend(scenario::unless_long(long, common));
    cases
}
