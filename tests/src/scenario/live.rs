// SPDX-License-Identifier: GPL-2.0

//! Tables that change while I/O runs: nothing is lost, nothing hangs.

use crate::case::{case, Case, Ctx};
use crate::disk::{Disk, Mode};
use crate::dm::{errno_name, line, Line, MappedDevice, Suspend};
use crate::fio::Fio;
use crate::fs::{self, Mounted};
use crate::lower::Lower;
use crate::twin::{Kind, Shape, Target};
use crate::{process, wait};
use anyhow::{ensure, Context, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Verified random I/O for a few seconds; each block is read back.
const FIO: &[&str] = &[
    "rw=randwrite",
    "bsrange=4k-64k",
    "size=8m",
    "ioengine=libaio",
    "iodepth=8",
    "verify=crc32c",
    "verify_fatal=1",
    "verify_backlog=8",
    "time_based=1",
    "runtime=2",
];

pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let name = |name: &str| format!("{}::live::{name}", target.name);
    let swap = |what: &'static str, how: Suspend, mixed: bool| {
        case(name(what), move |ctx| {
            swap_under_io(ctx, target, how, mixed)
        })
        .limit(90)
    };
    vec![
        swap("reload", Suspend::Flush, false),
        swap("reload_noflush", Suspend::NoFlush, false),
        swap("reload_ours_and_in_tree", Suspend::Flush, true),
        swap("reload_ours_and_in_tree_noflush", Suspend::NoFlush, true),
        case(name("reload_below_a_file_system"), move |ctx| {
            below_fs(ctx, target)
        }),
        case(name("resize"), move |ctx| resize(ctx, target)),
        case(name("rename"), move |ctx| rename(ctx, target)),
        case(name("suspended_io_waits"), move |ctx| {
            suspended(ctx, target)
        }),
        case(name("remove_force"), move |ctx| remove_force(ctx, target)),
        case(name("error_table"), move |ctx| error_table(ctx, target)),
    ]
}

/// The tables of a shape for each of the targets to alternate between.
fn tables(
    ctx: &Ctx,
    target: &Target,
    shape: &Shape,
    lowers: &[Lower],
    mixed: bool,
) -> Vec<Vec<Line>> {
    let ours = ctx.env.target(target.name);
    let names = if mixed {
        vec![ours.as_str(), target.name]
    } else {
        vec![ours.as_str()]
    };
    names
        .into_iter()
        .map(|n| (shape.table)(n, lowers))
        .collect()
}

/// Sets up what the largest shape needs.
fn lowers_of(target: &Target) -> Result<(&Shape, Vec<Lower>)> {
    let shape = target
        .shapes
        .iter()
        .max_by_key(|s| s.lowers)
        .context("a target without shapes")?;
    let lowers = (0..shape.lowers)
        .map(|_| Kind::Ram.make())
        .collect::<Result<_>>()?;
    Ok((shape, lowers))
}

fn swap_under_io(ctx: &Ctx, target: &Target, how: Suspend, mixed: bool) -> Result<()> {
    let (shape, lowers) = lowers_of(target)?;
    let tables = tables(ctx, target, shape, &lowers, mixed);
    let device = MappedDevice::create(&tables[0])?;
    let mut swaps = 0;
    // Once, unless the guest is slow.
    while swaps < 10 {
        let mut fio = Fio::start(&device.path(), FIO)?;
        while fio.is_running()? {
            swaps += 1;
            device.swap(&tables[swaps % tables.len()], how)?;
            // Long enough that I/O is on its way again at the next one.
            thread::sleep(Duration::from_millis(15));
        }
        let report = fio.finish()?;
        ensure!(
            report.written > 0 && report.read > 0,
            "no verified I/O: {report:?}"
        );
    }
    Ok(())
}

/// A file system is frozen by the suspend, goes on after it, and is whole.
fn below_fs(ctx: &Ctx, target: &Target) -> Result<()> {
    let (shape, lowers) = lowers_of(target)?;
    let tables = tables(ctx, target, shape, &lowers, true);
    let device = MappedDevice::create(&tables[0])?;
    fs::make(&device.path(), "ext4")?;
    let mounted = Mounted::new(&device.path(), "ext4", "")?;
    let stop = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let n = written.fetch_add(1, Ordering::Relaxed);
                let path = mounted.path().join(format!("{n}"));
                std::fs::write(&path, vec![n as u8; 100_000])?;
                std::fs::File::open(&path)?.sync_all()?;
                if n >= 50 {
                    std::fs::remove_file(mounted.path().join(format!("{}", n - 50)))?;
                }
            }
            Ok(())
        });
        let swapped = (0..30).try_for_each(|i| {
            let how = [Suspend::Flush, Suspend::NoFlush, Suspend::NoLockFs][i % 3];
            thread::sleep(Duration::from_millis(20));
            device.swap(&tables[(i + 1) % tables.len()], how)
        });
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer does not panic")?;
        swapped.context("swapping tables")
    })?;
    let count = written.load(Ordering::Relaxed);
    ensure!(count > 5, "only {count} files were written meanwhile");
    for n in count.saturating_sub(50)..count {
        let found = std::fs::read(mounted.path().join(format!("{n}")))?;
        ensure!(
            found == vec![n as u8; 100_000],
            "file {n} does not hold what was written"
        );
    }
    drop(mounted);
    fs::check(&device.path(), "ext4")
}

/// Growing and shrinking, with the size seen by whoever has it open.
fn resize(ctx: &Ctx, target: &Target) -> Result<()> {
    target.compare(ctx, |side| {
        let lowers = side.lowers_for(target, Kind::Ram)?;
        let shapes = || target.shapes.iter().chain(target.shapes.iter().rev());
        let device = side.device(&(target.shapes[0].table)(&side.target, &lowers))?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        for shape in shapes() {
            device.swap(
                &(shape.table)(&side.target, &lowers[..shape.lowers]),
                Suspend::Flush,
            )?;
            let sectors = disk.sectors()?;
            side.note(format!("{} sectors", shape.name), sectors);
            disk.write(sectors - 8, &[7; 4096])?;
            side.note(
                "beyond",
                crate::dm::outcome(disk.write(sectors, &[7; 4096])),
            );
        }
        Ok(())
    })
}

fn rename(ctx: &Ctx, target: &Target) -> Result<()> {
    let (shape, lowers) = lowers_of(target)?;
    let tables = tables(ctx, target, shape, &lowers, false);
    let mut device = MappedDevice::create(&tables[0])?;
    let mut fio = Fio::start(&device.path(), FIO)?;
    let mut renames = 0;
    while fio.is_running()? {
        renames += 1;
        let name = format!("dmr-test-renamed-{renames}");
        device.rename(&name)?;
        ensure!(
            !device.table()?.is_empty(),
            "the renamed device lost its table"
        );
        thread::sleep(Duration::from_millis(50));
    }
    fio.finish()?;
    ensure!(renames >= 5, "renamed {renames} times only");
    Ok(())
}

/// I/O to a suspended device waits, then completes; without a table it fails.
fn suspended(ctx: &Ctx, target: &Target) -> Result<()> {
    let (shape, lowers) = lowers_of(target)?;
    let tables = tables(ctx, target, shape, &lowers, false);
    for how in [Suspend::Flush, Suspend::NoFlush] {
        let device = MappedDevice::create(&tables[0])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        device.suspend(how)?;
        let done = AtomicBool::new(false);
        thread::scope(|scope| -> Result<()> {
            let writer = scope.spawn(|| {
                let result = disk.write(0, &[9; 4096]);
                done.store(true, Ordering::SeqCst);
                result
            });
            thread::sleep(Duration::from_millis(300));
            let waited = !done.load(Ordering::SeqCst);
            device.resume()?;
            writer.join().expect("the writer does not panic")?;
            ensure!(waited, "a write went through a suspended device");
            Ok(())
        })?;
        ensure!(
            disk.read(0, 8)? == [9; 4096],
            "the write that waited is lost"
        );
    }
    Ok(())
}

/// `dmsetup remove --force` puts an error target in place, whatever runs.
fn remove_force(ctx: &Ctx, target: &Target) -> Result<()> {
    target.compare(ctx, |side| {
        let shape = target
            .shapes
            .iter()
            .max_by_key(|s| s.lowers)
            .context("no shape")?;
        let lowers = side.lowers(Kind::Ram, shape)?;
        let device = side.device(&(shape.table)(&side.target, &lowers))?;
        // It fails long before that.
        let fio = Fio::start(&device.path(), &[FIO, &["runtime=300"]].concat())?;
        wait_for_io(&device)?;
        // It is open, even after fio has failed: it cannot go, but fails all I/O from now on.
        let held = device.open()?;
        let out = process::output("dmsetup", &["remove", "--force", device.name()])?;
        side.note("dmsetup", out.status);
        side.note("messages", String::from_utf8_lossy(&out.stderr));
        let failed = fio.finish_failed()?;
        ensure!(
            failed.contains("Input/output error"),
            "fio failed otherwise: {failed}"
        );
        let left = device
            .table()
            .map(|t| t.iter().map(Line::to_string).collect::<String>());
        side.note("table left", left.unwrap_or_else(|e| errno_name(&e)));
        side.note_log("log", "^device-mapper: ")?;
        drop(held);
        drop(device);
        for lower in &lowers {
            crate::disk::expect_released(lower.path())?;
        }
        Ok(())
    })
}

/// Swapped for `error` under I/O and back.
fn error_table(ctx: &Ctx, target: &Target) -> Result<()> {
    let (shape, lowers) = lowers_of(target)?;
    let good = &tables(ctx, target, shape, &lowers, false)[0];
    let device = MappedDevice::create(good)?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    let len = disk.sectors()?;
    for round in 0..20 {
        let io = thread::scope(|scope| -> Result<Vec<bool>> {
            let io = scope.spawn(|| {
                (0..40)
                    .map(|i| disk.write(i * 8, &[round; 4096]).is_ok())
                    .collect()
            });
            device.swap(&[line(0, len, "error", "")], Suspend::Flush)?;
            io.join()
                .map_err(|_| anyhow::anyhow!("the writer panicked"))
        })?;
        ensure!(
            disk.write(0, &[1; 4096]).is_err(),
            "the error target let a write through"
        );
        device.swap(good, Suspend::Flush)?;
        for (i, _) in io.iter().enumerate().filter(|(_, ok)| **ok) {
            let found = disk.read(i as u64 * 8, 8)?;
            ensure!(
                found == [round; 4096],
                "acknowledged write {i} of round {round} is lost"
            );
        }
    }
    Ok(())
}

fn wait_for_io(device: &MappedDevice) -> Result<()> {
    wait::until_true("I/O", || {
        let stat = crate::sysfs::file(&device.kernel_name(), "stat")?;
        let writes: u64 = stat.split_whitespace().nth(4).unwrap_or("0").parse()?;
        Ok(writes > 10)
    })
}
