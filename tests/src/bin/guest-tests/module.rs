// SPDX-License-Identifier: GPL-2.0

//! The module's life: when it can go, and that it leaves nothing behind.

use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{self, line, outcome, Line, MappedDevice};
use dm_rust_tests::lower::{self, Lower};
use dm_rust_tests::module::Module;
use dm_rust_tests::scenario::concurrency::seconds;
use dm_rust_tests::slab::Allocated;
use dm_rust_tests::twin::Kind;
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::linear::LINEAR;

pub fn cases() -> Vec<Case> {
    vec![
        case("module::held_by_a_live_table", |ctx| held(ctx, true)),
        case("module::held_by_an_inactive_table", |ctx| held(ctx, false)),
        case("module::not_held_by_a_refused_table", refused),
        case("module::loaded_twice", |ctx| {
            let again = reloaded(ctx)?.0.load();
            ensure!(again == Err(Errno::EXIST), "loading it again: {again:?}");
            Ok(())
        }),
        case("module::not_loaded", not_loaded),
        case("module::a_leak_is_seen", a_leak_is_seen),
        case("module::hundred_rounds", hundred_rounds).limit(120),
        case("module::comes_and_goes", comes_and_goes).limit(seconds() + MOST_MORE),
    ]
}

/// The module, freshly loaded, and again when this is dropped, whatever happened.
struct Loaded<'a>(&'a Module);

fn reloaded(ctx: &Ctx) -> Result<Loaded<'_>> {
    let module = ctx.module()?;
    module.ensure_unloaded()?;
    let loaded = Loaded(module);
    loaded.0.load()?;
    Ok(loaded)
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.0.ensure_loaded() {
            dm_rust_tests::cleanup::left_behind("the module, unloaded", format!("{e:#}"));
        }
    }
}

/// A table of each target, by its in-tree name.
fn tables(ctx: &Ctx, lower: &Lower) -> Vec<Vec<Line>> {
    let node = lower.node();
    [
        ("linear", format!("{node} 8")),
        ("striped", format!("2 8 {node} 0 {node} 4096")),
        ("zero", String::new()),
        ("error", String::new()),
        ("error", format!("{node} 0")),
    ]
    .map(|(target, params)| vec![line(0, 2048, &ctx.env.target(target), params)])
    .into()
}

fn held(ctx: &Ctx, live: bool) -> Result<()> {
    let module = reloaded(ctx)?;
    let lower = lower::ram()?;
    for table in tables(ctx, &lower) {
        ensure!(module.0.users() == Some(0), "it has users to begin with");
        let devices = [MappedDevice::empty()?, MappedDevice::empty()?];
        for device in &devices {
            device.load(&table)?;
            if live {
                device.resume()?;
            }
        }
        let users = module.0.users();
        ensure!(
            users == Some(2),
            "{users:?} users, with two tables {table:?}"
        );
        let unloaded = module.0.unload();
        ensure!(
            unloaded == Err(Errno::AGAIN),
            "unloading in use: {unloaded:?}"
        );
        if !live {
            devices[0].clear()?;
            ensure!(
                module.0.users() == Some(1),
                "a table that was cleared counts"
            );
        }
        drop(devices);
    }
    // Released without delay: a device that is gone does not hold the module.
    ensure!(
        module.0.unload() == Ok(()),
        "it cannot be unloaded after all"
    );
    ensure!(module.0.users().is_none(), "it is still there");
    Ok(())
}

fn refused(ctx: &Ctx) -> Result<()> {
    let module = reloaded(ctx)?;
    let lower = lower::ram()?;
    let device = MappedDevice::empty()?;
    for mut table in tables(ctx, &lower) {
        table.push(line(2048, 8, "no-such-target", ""));
        let loaded = device.load(&table);
        ensure!(loaded.is_err(), "a bad table was taken");
        let users = module.0.users();
        ensure!(
            users == Some(0),
            "{users:?} users after a refused {table:?}"
        );
    }
    ctx.take_log("^device-mapper: table: .*no-such-target")?;
    ctx.take_log("^device-mapper: (table|ioctl): ")?;
    ensure!(module.0.unload() == Ok(()), "it cannot be unloaded");
    Ok(())
}

/// A table of a target that nobody has registered.
fn not_loaded(ctx: &Ctx) -> Result<()> {
    let module = reloaded(ctx)?;
    module.0.ensure_unloaded()?;
    for target in dm::targets()? {
        ensure!(
            !target.0.starts_with("rust-"),
            "{target:?} is still registered"
        );
    }
    LINEAR.compare(ctx, |side| {
        // Not registered either, whatever its name.
        let name = if side.ours {
            &side.target
        } else {
            "tsur-linear"
        };
        side.alias(name, "absent");
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.empty_device()?;
        let table = [line(0, 64, name, format!("{} 0", lower.node()))];
        side.note("load", outcome(device.load(&table)));
        side.note_log("log", "^device-mapper: ")
    })
}

/// Loads it, uses every target, unloads it.
fn round(ctx: &Ctx, module: &Module, lower: &Lower, number: u64) -> Result<()> {
    module.ensure_loaded()?;
    // All targets in one table: a device takes longer to come and go than they do.
    let mut table = tables(ctx, lower).concat();
    for (i, line) in (0..).zip(&mut table) {
        line.start = i * line.len;
    }
    let device = MappedDevice::create(&table)?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    for line in &table[..2] {
        let data = pattern(number, 0, 32);
        disk.write(line.start + 16, &data)?;
        let read = disk.read(line.start + 16, 32)?;
        ensure!(read == data, "read back something else");
    }
    let failed = disk.read(table[3].start, 8);
    ensure!(failed.is_err(), "the error target did not fail");
    device.table()?;
    device.status()?;
    drop(disk);
    drop(device);
    module.ensure_unloaded()
}

/// In a hundred rounds something that leaks once in two rounds is above this.
const OBJECTS: i64 = 50;

/// The module takes some 300 KiB: a leak of it, or of a page a round, is above this.
const KIBIBYTES: i64 = 350;

fn hundred_rounds(ctx: &Ctx) -> Result<()> {
    let module = reloaded(ctx)?;
    let lower = lower::ram()?;
    let rounds = |range: std::ops::Range<u64>| {
        range
            .into_iter()
            .try_for_each(|i| round(ctx, module.0, &lower, i))
    };
    // What is allocated once, on first use, does not count.
    rounds(0..10)?;
    let before = Allocated::now()?;
    rounds(10..110)?;
    let grown = before.leaked(OBJECTS, KIBIBYTES)?;
    ensure!(grown.is_empty(), "leaks: {}", grown.join(", "));
    Ok(())
}

/// How often each of these happens at least while the module comes and goes.
const LEAST: u32 = 4;

/// How many seconds are waited for that, beyond those asked for.
const MOST_MORE: u64 = 60;

/// It is unloaded and loaded while tables of its targets are made, used and taken down: it goes when
/// there are none, and never while there is one.
fn comes_and_goes(ctx: &Ctx) -> Result<()> {
    let module = reloaded(ctx)?;
    let lower = lower::ram()?;
    let tables = tables(ctx, &lower);
    let start = Instant::now();
    let [made, refused, unloaded, held] = [const { AtomicU32::new(0) }; 4];
    let count = |counter: &AtomicU32| {
        counter.fetch_add(1, Relaxed);
    };
    let counts = [("made", &made), ("unloaded", &unloaded), ("held", &held)];
    // A guest that is slow takes longer, but each happens.
    let (least, most) = (seconds(), seconds() + MOST_MORE);
    let over = || {
        let elapsed = start.elapsed().as_secs();
        let enough = counts.iter().all(|(_, n)| n.load(Relaxed) >= LEAST);
        elapsed >= if enough { least } else { most }
    };
    let use_one = |table: &[Line]| -> Result<()> {
        let device = MappedDevice::empty()?;
        if let Err(e) = device.load(table) {
            // Nobody knows the target just now.
            ensure!(
                Errno::from_io_error(&e) == Some(Errno::INVAL),
                "loading: {e}"
            );
            count(&refused);
            return Ok(());
        }
        count(&made);
        device.resume()?;
        device.status()?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        // `error` fails.
        let _ = disk.write(0, &[1; 4096]);
        let _ = disk.read(8, 8);
        drop(disk);
        ensure!(
            module.0.users() > Some(0),
            "there is a table, and the module has no users"
        );
        Ok(())
    };
    thread::scope(|scope| -> Result<()> {
        let users: Vec<_> = (0..3)
            .map(|n| {
                let (tables, use_one) = (&tables, &use_one);
                scope.spawn(move || -> Result<()> {
                    for table in tables.iter().cycle().skip(n) {
                        if over() {
                            break;
                        }
                        use_one(table)?;
                    }
                    Ok(())
                })
            })
            .collect();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut change = || -> Result<()> {
            while !over() {
                match module.0.unload() {
                    Ok(()) => {
                        count(&unloaded);
                        thread::sleep(Duration::from_millis(rng.u64(..20)));
                        let before = made.load(Relaxed);
                        module.0.load()?;
                        // Half of the time it goes again when there is a table, or has just been one.
                        let wait = rng.bool();
                        while wait && made.load(Relaxed) == before && !over() {
                            thread::yield_now();
                        }
                    }
                    Err(Errno::AGAIN) => count(&held),
                    Err(e) => return Err(e).context("unloading"),
                }
                thread::sleep(Duration::from_millis(rng.u64(..5)));
                // There is more to read than the log holds.
                ctx.take_log(UNKNOWN)?;
            }
            Ok(())
        };
        let changed = change();
        for user in users {
            user.join().expect("threads do not panic")?;
        }
        changed
    })?;
    ctx.take_log(UNKNOWN)?;
    for (what, counter) in counts {
        let counted = counter.load(Relaxed);
        ensure!(counted >= LEAST, "{what} only {counted} times");
    }
    Ok(())
}

/// What the kernel says when a target is not there.
const UNKNOWN: &str =
    "^device-mapper: table: .*unknown target type|^device-mapper: ioctl: error adding target to table|I/O error";

/// What the test above looks for can be found.
fn a_leak_is_seen(ctx: &Ctx) -> Result<()> {
    let module = reloaded(ctx)?;
    let lower = lower::ram()?;
    let tables = tables(ctx, &lower);
    let before = Allocated::now()?;
    let hold = || -> Result<_> {
        let device = MappedDevice::empty()?;
        device.load(&tables[0])?;
        Ok(device)
    };
    let held = (0..OBJECTS).map(|_| hold()).collect::<Result<Vec<_>>>()?;
    let grown = before.leaked(OBJECTS, KIBIBYTES)?;
    ensure!(!grown.is_empty(), "{} tables were not seen", held.len());
    ensure!(
        module.0.users() == Some(OBJECTS as u32),
        "not all tables count"
    );
    Ok(())
}
