// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-delay`.

use anyhow::{ensure, Error, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text, Suspend};
use dm_rust_tests::scenario::refusal::{arguments, Arguments};
use dm_rust_tests::scenario::{self, MIB};
use dm_rust_tests::ticks::Ticks;
use dm_rust_tests::twin::{Kind, Shape, Target};
use dm_rust_tests::{fio, sysfs, wait};
use std::thread;
use std::time::{Duration, Instant};

/// How much later than due a request may end.
const LATE: Duration = Duration::from_millis(500);

/// `rust-delay` and `delay`: `<device> <offset> <delay>`, once, twice or three times.
pub static DELAY: Target = Target {
    name: "delay",
    shapes: &[
        Shape {
            name: "not_at_all",
            lowers: 1,
            table: |target, lowers| {
                let lower = &lowers[0];
                let params = format!("{} 0 0", lower.node());
                vec![line(0, lower.sectors(), target, params)]
            },
        },
        Shape {
            name: "writes_and_flushes",
            lowers: 1,
            table: |target, lowers| {
                let way = format!("{} {}", lowers[0].node(), 8 * MIB);
                let params = format!("{way} 0 {way} 1 {way} 1");
                vec![line(0, 12 * MIB, target, params)]
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
        "{} 0 0 0",
        "{} 0 0 {}",
        "{} 0 0 {} 0",
        "{} 0 0 {} 0 0 {}",
        "{} 0 0 {} 0 0 {} 0",
        "{} 0 0 {} 0 0 {} 0 0 0",
        "{} 0 0 {} 0 0 {} 0 0 {} 0 0",
        "{} x 0",
        "{} -1 0",
        "{} 0 x",
        "{} 0 -1",
        "{} 0 +1",
        "{} 0 1x",
        "{} 0 0x1",
        "{} 0 \\ 1",
        "{} 0 4294967295",
        "{} 0 4294967296",
        "{} 0 4294967297",
        "{} 0 18446744073709551616",
        "{} 0 1 {} x 1",
        "{} 0 1 {} 0 x",
        "{} 0 1 {} 0 1 {} x 1",
        "{} 0 1 {} 0 1 {} 0 x",
        "{} 0 1 {} 0 1 /dev/none 0 0",
        "{} 0 1 /dev/none 0 1 {} 0 0",
        "/dev/none 0 1",
        "/dev/none x x",
        "/dev/none 0 x",
        "{} 36028797018963968 0",
        "{} 65536 0",
        "{} 0 0 {} 65536 0",
        "{} 0 0 {} 0 0 {} 65536 0",
        "{} 0 49 {} 0 50 {} 0 51",
        "{} 007 010",
    ],
)];

/// Each kind of request goes to the device that the table names for it.
fn ways(ctx: &Ctx) -> Result<()> {
    DELAY.compare(ctx, |side| {
        let lowers = [0, 1, 2].map(|i| side.lower(Kind::Ram, i));
        let [a, b, c] = lowers;
        let (a, b, c) = (a?, b?, c?);
        let table = format!("{} 8 1 {} 16 2 {} 24 60", a.node(), b.node(), c.node());
        for words in [3, 6, 9] {
            let words: Vec<_> = table.split(' ').take(words).collect();
            let device = side.device(&[line(0, 4096, &side.target, words.join(" "))])?;
            let key = words.len();
            side.note(format!("{key} table"), table_text(&device.table()?));
            side.note(format!("{key} deps"), format!("{:?}", device.deps()?.len()));
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            disk.write(0, &pattern(key as u64, 0, 64))?;
            side.note(format!("{key} flush"), outcome(disk.sync()));
            for (i, lower) in [&a, &b, &c].into_iter().enumerate() {
                let digest = dm_rust_tests::disk::digest(&lower.open()?, 0, 256)?;
                side.note(format!("{key} on {i}"), digest);
            }
            let read = disk.read(0, 64)?;
            side.note(format!("{key} read"), format!("{:?}", &read[..64]));
            side.note(format!("{key} status"), table_text(&device.status()?));
        }
        Ok(())
    })
}

/// Requests take as long as they should, alone and many at a time; the status counts them meanwhile.
fn timing(ctx: &Ctx, delay: u64) -> Result<()> {
    DELAY.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let node = lower.node();
        // Writes are delayed twice as long, flushes not at all.
        let params = format!("{node} 0 {delay} {node} 0 {} {node} 0 0", 2 * delay);
        let device = side.device(&[line(0, 4096, &side.target, params)])?;
        let path = device.path();
        let disk = Disk::open(&path, Mode::Direct)?;
        let check = |what: &str, millis: u64, run: &dyn Fn() -> Result<()>| -> Result<()> {
            let wanted = Duration::from_millis(millis);
            wait::quick(what, wanted + wanted / 4 + LATE, || {
                let begin = Ticks::now();
                run()?;
                let took = begin.elapsed();
                // C counts whole ticks, the first of which has begun already.
                ensure!(
                    took + Ticks::TICK >= wanted,
                    "{what} took {took:?}, not {wanted:?}"
                );
                Ok(())
            })
        };
        check("a read", delay, &|| Ok(disk.read(0, 8).map(drop)?))?;
        check("a write", 2 * delay, &|| Ok(disk.write(0, &[1; 512])?))?;
        check("a flush", 0, &|| Ok(disk.sync()?))?;
        let eight = || -> Result<bool> {
            thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|i| {
                        let path = &path;
                        scope.spawn(move || -> Result<()> {
                            let disk = Disk::open(path, Mode::Direct)?;
                            match i < 4 {
                                true => Ok(disk.read(i * 8, 8).map(drop)?),
                                false => Ok(disk.write(i * 8, &[2; 4096])?),
                            }
                        })
                    })
                    .collect();
                let mut counted = false;
                while !counted && threads.iter().any(|thread| !thread.is_finished()) {
                    counted = device.status()?[0].params == "4 4 0";
                }
                for thread in threads {
                    thread.join().expect("does not panic")?;
                }
                Ok(counted)
            })
        };
        check("eight at once", 2 * delay, &|| eight().map(drop))?;
        // They may not all be on their way before the first is back.
        let counted = (0..10).try_fold(false, |counted, _| Ok::<_, Error>(counted || eight()?))?;
        ensure!(
            counted || delay < 200,
            "the status never had them all: {:?}",
            device.status()?
        );
        side.note("status after", table_text(&device.status()?));
        Ok(())
    })
}

/// None of many requests that are put off for different times is lost, though they come while others
/// are served.
fn many(ctx: &Ctx) -> Result<()> {
    DELAY.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let node = lower.node();
        let params = format!("{node} 0 2 {node} 0 5");
        let device = side.device(&[line(0, 16384, &side.target, params)])?;
        let jobs = ["numjobs=2", "size=4M", "offset_increment=4M", "bs=4k"];
        let load = [
            "rw=randrw",
            "ioengine=libaio",
            "iodepth=32",
            "verify=crc32c",
        ];
        let report = fio::run(&device.path(), &[jobs, load].concat())?;
        side.note("done", report.read + report.written);
        let left = &device.status()?[0].params;
        // In-tree counts up and down under two different locks, and loses some.
        ensure!(
            left == "0 0 0" || side.target == DELAY.name,
            "{left:?} are held back"
        );
        Ok(())
    })
}

/// Nobody waits for requests that are held back when the device is suspended.
fn suspend(ctx: &Ctx, how: Suspend) -> Result<()> {
    DELAY.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        for delay in [300_000, 3_000_000_000_u64] {
            let params = format!("{} 0 {delay}", lower.node());
            let device = side.device(&[line(0, 4096, &side.target, params)])?;
            let path = device.path();
            thread::scope(|scope| -> Result<()> {
                let writer = scope.spawn(|| -> Result<()> {
                    let disk = Disk::open(&path, Mode::Direct)?;
                    disk.write(0, &pattern(delay, 0, 64))?;
                    disk.write(64, &pattern(delay, 64, 64))?;
                    Ok(())
                });
                let look = || -> Result<()> {
                    wait::until_true("a write that is held back", || {
                        Ok(device.status()?[0].params == "0 1 0")
                    })?;
                    let begin = Instant::now();
                    device.suspend(how)?;
                    side.note(format!("{delay} status"), table_text(&device.status()?));
                    let took = begin.elapsed();
                    ensure!(took.as_secs() < 200, "suspended in {took:?}");
                    lower.open()?.expect_pattern(0, delay, 0, 64)
                };
                let seen = look();
                // The second write waits until the table below it does not delay.
                let params = format!("{} 0 0", lower.node());
                device.load(&[line(0, 4096, &side.target, params)])?;
                device.resume()?;
                writer.join().expect("does not panic")?;
                seen
            })?;
            lower.open()?.expect_pattern(64, delay, 64, 64)?;
            side.note(format!("{delay} after"), table_text(&device.status()?));
        }
        Ok(())
    })
}

/// What is resumed delays again.
fn resumed(ctx: &Ctx) -> Result<()> {
    DELAY.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.device(&[line(
            0,
            4096,
            &side.target,
            format!("{} 0 300", lower.node()),
        )])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        for how in [Suspend::Flush, Suspend::NoFlush] {
            device.suspend(how)?;
            device.resume()?;
            let begin = Ticks::now();
            disk.write(0, &[1; 512])?;
            let delayed = begin.elapsed() >= Duration::from_millis(250);
            side.note("waited", delayed);
        }
        Ok(())
    })
}

/// I/O is put down to the mapped device from when it is sent on, whoever held it back.
fn accounting(ctx: &Ctx) -> Result<()> {
    DELAY.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        for delay in [0, 4, 60] {
            let params = format!("{} 0 {delay}", lower.node());
            let device = side.device(&[line(0, 4096, &side.target, params)])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let stat = || -> Result<Vec<u64>> {
                let stat = sysfs::dir(&device.kernel_name(), "")?
                    .into_iter()
                    .find(|(file, _)| file == "stat");
                let text = stat.map(|(_, text)| text).unwrap_or_default();
                Ok(text
                    .split_whitespace()
                    .map_while(|w| w.parse().ok())
                    .collect())
            };
            let before = stat()?;
            for i in 0..4 {
                disk.write(i * 8, &[1; 4096])?;
                disk.read(i * 8, 8)?;
            }
            let after = stat()?;
            let counts: Vec<_> = [0, 2, 4, 6]
                .map(|i| after.get(i).zip(before.get(i)).map(|(a, b)| a - b))
                .into();
            side.note(format!("{delay}"), format!("{counts:?}"));
        }
        Ok(())
    })
}

pub fn cases(long: bool) -> Vec<Case> {
    let mut cases = vec![
        case("delay::arguments", |ctx| arguments(ctx, &DELAY, BAD)),
        case("delay::ways", ways),
        case("delay::timing_of_16_ms", |ctx| timing(ctx, 16)),
        case("delay::timing_of_300_ms", |ctx| timing(ctx, 300)),
        case("delay::many", many),
        case("delay::suspend", |ctx| suspend(ctx, Suspend::Flush)),
        case("delay::suspend_noflush", |ctx| {
            suspend(ctx, Suspend::NoFlush)
        }),
        case("delay::resumed", resumed),
        case("delay::accounting", accounting),
    ];
    let mut common = scenario::queued_cases(&DELAY);
    common.extend(scenario::zones::cases(&DELAY));
    cases.extend(scenario::unless_long(long, common));
    cases
}
