// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-zero`.

use anyhow::{ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome};
use dm_rust_tests::fio;
use dm_rust_tests::scenario::refusal::{arguments, attempt};
use dm_rust_tests::scenario::{self, concurrency, MIB};
use dm_rust_tests::sys::{self, BLKDISCARD, BLKSECDISCARD, BLKZEROOUT};
use dm_rust_tests::trace::{self, Trace};
use dm_rust_tests::twin::{Shape, Side, Target};
use rustix::fs::{fadvise, Advice};
use std::os::unix::fs::FileExt;

/// `rust-zero` and `zero`: no arguments.
pub static ZERO: Target = Target {
    name: "zero",
    shapes: &[
        Shape {
            name: "small",
            lowers: 0,
            table: |target, _| vec![line(0, 16 * MIB, target, "")],
        },
        Shape {
            name: "three_lines",
            lowers: 0,
            table: |target, _| {
                vec![
                    line(0, MIB, target, ""),
                    line(MIB, 3 * MIB, target, ""),
                    line(4 * MIB, 2 * MIB, target, ""),
                ]
            },
        },
    ],
};

/// Larger than any disk: an exabyte less one sector.
const HUGE: u64 = (1 << 51) - 1;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("zero::arguments", |ctx| {
            const BAD: &[&str] = &[
                "x",
                "0",
                "{} 0",
                "\\ ",
                "a b c d e f",
                "\\\n",
                " ",
                "   x   ",
            ];
            arguments(ctx, &ZERO, &[(64, BAD)])
        }),
        case("zero::lengths", lengths),
        case("zero::reads_as_zeroes", zeroes),
        case("zero::read_ahead", read_ahead),
        case("zero::other_requests", requests),
        case("zero::fio", verified),
    ];
    cases.extend(scenario::cases_without_data(&ZERO));
    // There is nothing of its own that could be in the way of another.
    cases.extend(concurrency::cases(&ZERO, false).into_iter().map(Case::long));
    cases
}

fn lengths(ctx: &Ctx) -> Result<()> {
    ZERO.compare(ctx, |side| {
        for len in [1, 7, 8, HUGE, 1 << 54, 1 << 55, 1 << 60, u64::MAX] {
            attempt(
                side,
                &format!("{len}"),
                &[line(0, len, &side.target, "")],
                &[],
            )?;
        }
        Ok(())
    })
}

/// Whatever is written, everywhere, by all ways of reading.
fn zeroes(ctx: &Ctx) -> Result<()> {
    ZERO.compare(ctx, |side| {
        let device = side.device(&[line(0, HUGE, &side.target, "")])?;
        for mode in [Mode::Direct, Mode::Buffered] {
            let disk = Disk::open(&device.path(), mode)?;
            for sector in [0, 1, 4096, HUGE / 2, HUGE - 2048] {
                for count in [1, 3, 8, 255, 2048] {
                    side.note("write", outcome(disk.write(sector, &pattern(1, 0, count))));
                    disk.sync()?;
                    let read = match mode {
                        // Past the page cache: there it is what was written.
                        Mode::Buffered => Disk::open(&device.path(), Mode::Direct)?,
                        _ => Disk::open(&device.path(), Mode::Buffered)?,
                    }
                    .read(sector, count)?;
                    let direct = Disk::open(&device.path(), Mode::Direct)?.read(sector, count)?;
                    ensure!(
                        direct.iter().all(|b| *b == 0),
                        "not zeroes at {sector}+{count}"
                    );
                    side.note("read", read.iter().all(|b| *b == 0));
                }
            }
        }
        let memory = sys::map_shared(Disk::open(&device.path(), Mode::Buffered)?.file(), 1 << 20)?;
        side.note("mapped", memory.iter().filter(|b| **b != 0).count());
        Ok(())
    })
}

/// What is read ahead is refused, as it would only fill the page cache; what is
/// wanted is then read after all.
fn read_ahead(ctx: &Ctx) -> Result<()> {
    ZERO.compare(ctx, |side| {
        let device = side.device(&[line(0, 4 * MIB, &side.target, "")])?;
        let devno = device.devno();
        let trace = Trace::start(&[&devno], trace::BIOS)?;
        let file = device.open()?;
        trace.mark("ahead")?;
        fadvise(
            &file,
            0,
            std::num::NonZeroU64::new(1 << 20),
            Advice::WillNeed,
        )?;
        trace.mark("in order")?;
        let mut data = vec![1; 64 * 1024];
        for at in (0..1 << 20).step_by(data.len()) {
            file.read_exact_at(&mut data, at)?;
            ensure!(data.iter().all(|b| *b == 0), "not zeroes at byte {at}");
        }
        for (key, events) in trace.stop()? {
            side.note(key, trace::summary(&events));
        }
        Ok(())
    })
}

fn requests(ctx: &Ctx) -> Result<()> {
    ZERO.compare(ctx, |side| {
        let device = side.device(&[line(0, HUGE, &side.target, "")])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        let devno = device.devno();
        let trace = Trace::start(&[&devno], trace::BIOS)?;
        for ioctl in [BLKDISCARD, BLKZEROOUT, BLKSECDISCARD] {
            for (sector, count) in [(0, 8), (1, 1), (3, 4093), (HUGE - 8, 8), (HUGE - 8, 16)] {
                let key = format!("{} {sector}+{count}", ioctl.name);
                trace.mark(&key)?;
                let done = ioctl.range(disk.file(), sector * 512, count * 512);
                side.note(key, outcome(done));
            }
        }
        trace.mark("flush")?;
        side.note("flush", outcome(disk.sync()));
        for (key, events) in trace.stop()? {
            side.note(format!("{key} traced"), trace::summary(&events));
        }
        Ok(())
    })
}

/// All zeroes is just what is there.
fn verified(ctx: &Ctx) -> Result<()> {
    let check = |side: &Side| -> Result<()> {
        let device = side.device(&(ZERO.shapes[1].table)(&side.target, &[]))?;
        let report = fio::run(
            &device.path(),
            &[
                "rw=randrw",
                "bsrange=4k-512k",
                "io_size=32m",
                "ioengine=io_uring",
                "iodepth=16",
                "nowait=1",
                "zero_buffers=1",
                "verify=pattern",
                "verify_pattern=0x00",
            ],
        )?;
        ensure!(report.read > 0 && report.written > 0, "no I/O: {report:?}");
        side.note("all zeroes", true);
        Ok(())
    };
    ZERO.compare(ctx, check)
}
