// SPDX-License-Identifier: GPL-2.0

//! `dmrs swap` fails, or is killed, at each of its steps: the device is as it was, and runs.

use super::{dmsetup, expect_live, field, Tool};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::lower::{self, Lower};
use dm_rust_tests::{sysfs, wait};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

pub fn cases() -> Vec<Case> {
    vec![
        case("tool::swap_fails_at_each_step", fails_at_each_step).limit(180),
        case("tool::swap_killed_at_each_step", killed_at_each_step).limit(180),
        case(
            "tool::swap_refused_while_exchanging",
            refused_while_exchanging,
        ),
        case(
            "tool::swap_interrupted_while_waiting",
            interrupted_while_waiting,
        ),
        case("tool::swap_killed_while_waiting", killed_while_waiting),
    ]
}

const NAME: &str = "dmr-swapped";
const SECTORS: u64 = 4096;
/// More requests than a swap makes.
const MOST: usize = 60;

/// The request that exchanges the tables, as `/proc/PID/syscall` has it.
const DM_DEV_SUSPEND: &str = " 0xc138fd06 ";

/// A device that is swapped, with data on it, and `dmrs` under strace, which meddles with its
/// requests.
struct Bench<'a> {
    tool: &'a Tool<'a>,
    directory: TempDir,
    before: String,
    after: String,
}

impl<'a> Bench<'a> {
    fn new(tool: &'a Tool<'a>, lower: &Lower) -> Result<Bench<'a>> {
        let half = SECTORS / 2;
        let (devno, chunk) = (lower.devno(), 8);
        let table = format!(
            "0 {half} linear {devno} 8\n{half} {half} striped 2 {chunk} {devno} 8192 {devno} 16384"
        );
        tool.run_with(&["create", NAME], &table)?;
        let before = dmsetup(&["table", NAME])?;
        let after = before
            .replace(" linear ", " rust-linear ")
            .replace(" striped ", " rust-striped ");
        disk()?.write(0, &pattern(7, 0, SECTORS))?;
        Ok(Bench {
            tool,
            directory: TempDir::new()?,
            before,
            after,
        })
    }

    fn log(&self) -> std::path::PathBuf {
        self.directory.path().join("strace")
    }

    /// Starts a swap to Rust of which strace treats the `number`th request as `how` says.
    fn start(&self, how: &str, number: usize) -> Result<Child> {
        let mut command = Command::new("strace");
        command
            .arg("-o")
            .arg(self.log())
            .arg("-e")
            .arg("trace=ioctl")
            .arg("-e")
            .arg(format!("inject=ioctl:{how}:when={number}"))
            .arg(self.tool.path)
            .args(["swap", NAME, "--to", "rust"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .spawn()
            .context("cannot start strace: is it installed in the guest?")
    }

    fn swap(&self, how: &str, number: usize) -> Result<Output> {
        Ok(self.start(how, number)?.wait_with_output()?)
    }

    /// The requests that were made, as strace writes them.
    fn requests(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.log())?;
        let requests = text.lines().filter(|line| line.starts_with("ioctl("));
        Ok(requests.map(str::to_owned).collect())
    }

    fn expect_untouched(&self) -> Result<()> {
        expect_live(NAME, &self.before)?;
        disk()?.expect_pattern(0, 7, 0, SECTORS)
    }

    fn expect_swapped(&self) -> Result<()> {
        expect_live(NAME, &self.after)?;
        disk()?.expect_pattern(0, 7, 0, SECTORS)
    }

    fn back(&self) -> Result<()> {
        self.tool.run(&["swap", NAME, "--to", "c"])?;
        self.expect_untouched()
    }
}

fn disk() -> Result<Disk> {
    Ok(Disk::open(
        &Path::new("/dev/mapper").join(NAME),
        Mode::Direct,
    )?)
}

/// Reads without pause while something is done, and sees that no read fails.
fn under_reads<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let disk = disk()?;
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let at = reads.fetch_add(1, Ordering::Relaxed) * 8 % SECTORS;
                disk.expect_pattern(at, 7, at, 8)?;
                thread::sleep(Duration::from_millis(2));
            }
            Ok(())
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("it does not panic")?;
        ensure!(
            reads.load(Ordering::Relaxed) > 3,
            "nothing was read meanwhile"
        );
        result
    })
}

fn fails_at_each_step(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &[NAME])?;
    let bench = Bench::new(&tool, &lower)?;
    let failed = under_reads(|| {
        let mut failed = Vec::new();
        for number in 1..MOST {
            let out = bench.swap("error=EIO", number)?;
            let requests = bench.requests()?;
            if requests.len() < number {
                // All have had their turn.
                bench.expect_swapped()?;
                return Ok(failed);
            }
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            if out.status.success() {
                // It was about the terminal, or an answer that was not needed.
                bench.expect_swapped()?;
                bench.back()?;
            } else {
                bench.expect_untouched().with_context(|| {
                    format!(
                        "after request {number} failed: {}\n{said}",
                        requests[number - 1]
                    )
                })?;
                failed.push(requests[number - 1].clone());
            }
        }
        anyhow::bail!("a swap makes more than {MOST} requests")
    })?;
    // The steps that count have been among them.
    for step in ["DM_TABLE_STATUS", "DM_TABLE_LOAD", "DM_DEV_SUSPEND"] {
        let seen = failed.iter().any(|request| request.contains(step));
        ensure!(seen, "{step} was not made to fail: {failed:#?}");
    }
    ctx.take_log("^device-mapper: ")?;
    bench.back()
}

fn killed_at_each_step(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &[NAME])?;
    let bench = Bench::new(&tool, &lower)?;
    under_reads(|| {
        let mut left = 0;
        for number in 1..MOST {
            let out = bench.swap("signal=SIGKILL", number)?;
            if bench.requests()?.len() < number {
                bench.expect_swapped()?;
                ensure!(left > 0, "no kill left an inactive table");
                return Ok(());
            }
            ensure!(
                out.status.signal() == Some(9) || out.status.code() == Some(137),
                "ended with {}",
                out.status
            );
            // Either of the tables, and running. A table may be left in the inactive slot.
            let table = dmsetup(&["table", NAME])?;
            ensure!(
                table == bench.before || table == bench.after,
                "the table is {table}"
            );
            ensure!(field(NAME, "suspended")? == "Active", "left suspended");
            left += u64::from(field(NAME, "attr")?.contains('I'));
            // The next swap is not kept from its work, in either direction.
            let to = if number % 2 == 0 { "rust" } else { "c" };
            tool.run(&["swap", NAME, "--to", to])?;
            match to {
                "rust" => bench.expect_swapped()?,
                _ => bench.expect_untouched()?,
            }
            bench.back()?;
        }
        anyhow::bail!("a swap makes more than {MOST} requests")
    })?;
    bench.back()
}

/// A device that is swapped stands on one of device-mapper's own, which the test changes.
fn on_another(tool: &Tool<'_>, lower: &Lower) -> Result<String> {
    let table = format!("0 {SECTORS} linear {} 0", lower.devno());
    tool.run(&["create", "dmr-below", "--table", &table])?;
    let table = format!("0 {SECTORS} linear /dev/mapper/dmr-below 0");
    tool.run(&["create", NAME, "--table", &table])?;
    disk()?.write(0, &pattern(7, 0, SECTORS))?;
    dmsetup(&["table", NAME])
}

/// Waits until the write hangs that was sent to the device while the one below is suspended.
fn until_it_hangs() -> Result<()> {
    let disk = field(NAME, "blkdevname")?;
    wait::until_true("a write that hangs below", || {
        let in_flight = sysfs::file(disk.trim(), "inflight")?;
        Ok(in_flight.split_whitespace().nth(1) == Some("1"))
    })
}

/// Waits until a swap is in the request that exchanges the tables. It has loaded its table then.
fn until_it_exchanges(swap: &Child) -> Result<()> {
    let syscall = format!("/proc/{}/syscall", swap.id());
    wait::until_true("the exchange", || {
        Ok(fs::read_to_string(&syscall)?.contains(DM_DEV_SUSPEND))
    })
}

/// The device below shrinks between the load and the exchange: the kernel drops the new table,
/// and leaves the device suspended with the old one.
fn refused_while_exchanging(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &[NAME, "dmr-below"])?;
    let before = on_another(&tool, &lower)?;
    let disk = disk()?;
    dmsetup(&["suspend", "dmr-below"])?;
    let out = thread::scope(|scope| -> Result<Output> {
        let writer = scope.spawn(|| disk.write(0, &pattern(7, 0, 8)));
        let loaded = || -> Result<Child> {
            until_it_hangs()?;
            let child = tool
                .command(&["swap", NAME, "--to", "rust"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            until_it_exchanges(&child)?;
            let small = format!("0 {} linear {} 0", SECTORS / 2, lower.devno());
            dmsetup(&["load", "dmr-below", "--table", &small])?;
            Ok(child)
        };
        let child = loaded();
        // It is small before the write is let go, and the exchange waits for that.
        dmsetup(&["resume", "dmr-below"])?;
        writer.join().expect("it does not panic")?;
        Ok(child?.wait_with_output()?)
    })?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(
        out.status.code() == Some(1),
        "ended with {}: {said}",
        out.status
    );
    ensure!(said.contains("cannot resume"), "{said}");
    expect_live(NAME, &before)?;

    let full = format!("0 {SECTORS} linear {} 0", lower.devno());
    dmsetup(&["load", "dmr-below", "--table", &full])?;
    dmsetup(&["resume", "dmr-below"])?;
    disk.expect_pattern(0, 7, 0, SECTORS)?;
    let log = ctx.take_log("too small for target")?;
    ensure!(!log.is_empty(), "the kernel has not refused");
    ctx.take_log("^device-mapper: ")?;
    Ok(())
}

/// Starts a swap that cannot go on, since I/O hangs in the device below, and hands it to `end`.
fn while_waiting(ctx: &Ctx, end: impl FnOnce(&mut Child) -> Result<()>) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &[NAME, "dmr-below"])?;
    let before = on_another(&tool, &lower)?;
    let disk = disk()?;
    dmsetup(&["suspend", "dmr-below"])?;
    thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| disk.write(0, &pattern(7, 0, 8)));
        let held = || -> Result<()> {
            until_it_hangs()?;
            let mut child = tool
                .command(&["swap", NAME, "--to", "rust"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            if let Err(error) = until_it_exchanges(&child) {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
            end(&mut child)
        };
        let result = held();
        // Whatever happened, or the write hangs for good.
        dmsetup(&["resume", "dmr-below"])?;
        writer.join().expect("it does not panic")?;
        result
    })?;
    ensure!(dmsetup(&["table", NAME])? == before, "it was swapped");
    ensure!(field(NAME, "suspended")? == "Active", "it is suspended");
    disk.expect_pattern(0, 7, 0, SECTORS)?;
    drop(disk);
    tool.run(&["swap", NAME, "--to", "rust"])?;
    expect_live(NAME, &before.replace(" linear ", " rust-linear "))
}

fn interrupted_while_waiting(ctx: &Ctx) -> Result<()> {
    while_waiting(ctx, |child| {
        dm_rust_tests::process::run("kill", &["-TERM", &child.id().to_string()])?;
        let status = wait::until("its end by SIGTERM", || Ok(child.try_wait()?));
        if status.is_err() {
            child.kill()?;
        }
        let status = status?;
        ensure!(status.code() == Some(1), "ended with {status}");
        ensure!(
            !field(NAME, "attr")?.contains('I'),
            "a table was left in wait"
        );
        Ok(())
    })
}

fn killed_while_waiting(ctx: &Ctx) -> Result<()> {
    while_waiting(ctx, |child| {
        child.kill()?;
        let status = child.wait()?;
        ensure!(status.signal() == Some(9), "ended with {status}");
        Ok(())
    })
}
