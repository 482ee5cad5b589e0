// SPDX-License-Identifier: GPL-2.0

//! What device-mapper says of the target and of its devices.

use super::LINEAR;
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::dm::{self, line, outcome, table_text, Line, MappedDevice};
use dm_rust_tests::twin::{Kind, Side};
use dm_rust_tests::{ima, process};

pub fn cases() -> Vec<Case> {
    vec![
        case("linear::status::version", version),
        case("linear::status::table_and_info", table_and_info),
        case("linear::status::inactive_table", inactive_table),
        case("linear::status::thousand_segments", thousand_segments),
        case("linear::status::small_buffers", small_buffers),
        case("linear::status::long_names", long_names),
        case("linear::status::dmsetup", dmsetup),
        case("linear::status::message", message),
        // Once there is a policy, every table costs memory for its record.
        case("linear::status::ima", measured).last(),
    ]
}

fn version(ctx: &Ctx) -> Result<()> {
    let targets = dm::targets()?;
    let of = |name: &str| targets.iter().find(|t| t.0 == name).map(|t| t.1);
    let ours = of(&ctx.env.target(LINEAR.name)).context("the target is not registered")?;
    let theirs = of(LINEAR.name).context("the in-tree target is not registered")?;
    ensure!(ours == theirs, "version {ours:?}, in-tree {theirs:?}");
    Ok(())
}

fn table_and_info(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        for shape in LINEAR.shapes {
            let lowers = side.lowers(Kind::Ram, shape)?;
            let device = side.device(&(shape.table)(&side.target, &lowers))?;
            note_all(side, shape.name, &device)?;
            let open = device.open()?;
            side.note("info while open", format!("{:?}", device.info()?));
            drop(open);
        }
        // The same device by its number: what the kernel tells is the number, always.
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.device(&[line(0, 8, &side.target, format!("{} 007", lower.devno()))])?;
        note_all(side, "by number", &device)
    })
}

fn note_all(side: &Side, key: &str, device: &MappedDevice) -> Result<()> {
    side.note(format!("{key} table"), table_text(&device.table()?));
    side.note(format!("{key} status"), table_text(&device.status()?));
    side.note(format!("{key} deps"), format!("{:?}", device.deps()?));
    let mut info = device.info()?;
    info.devno = (0, 0);
    info.data.clear();
    side.note(format!("{key} info"), format!("{info:?}"));
    Ok(())
}

fn inactive_table(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let table = |start: u64| {
            vec![line(
                0,
                64,
                &side.target,
                format!("{} {start}", lower.node()),
            )]
        };
        let device = side.device(&table(1))?;
        device.load(&table(2))?;
        side.note(
            "both",
            table_text(&device.table()?) + &table_text(&device.inactive_table()?),
        );
        device.load(&table(3))?;
        side.note("loaded again", table_text(&device.inactive_table()?));
        device.clear()?;
        side.note("cleared", table_text(&device.inactive_table()?));
        device.resume()?;
        side.note("resumed", table_text(&device.table()?));
        Ok(())
    })
}

/// Segments of 8 sectors, each at another place of the lower device.
fn segments(target: &str, node: &str, count: u64) -> Vec<Line> {
    let one = |i| line(i * 8, 8, target, format!("{node} {}", (count - 1 - i) * 8));
    (0..count).map(one).collect()
}

fn thousand_segments(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.device(&segments(&side.target, &lower.node(), 1000))?;
        side.note("table", table_text(&device.table()?));
        side.note("status", table_text(&device.status()?));
        side.note("deps", format!("{:?}", device.deps()?));
        Ok(())
    })
}

/// Whatever room there is, what fits is told and the rest is not written.
fn small_buffers(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.device(&segments(&side.target, &lower.node(), 5))?;
        for table in [false, true] {
            for room in 0..330 {
                let reply = device.status_into(table, room).map(|reply| {
                    let text = String::from_utf8_lossy(&reply.data).into_owned();
                    let words: Vec<_> = text.split('\0').filter(|w| !w.is_empty()).collect();
                    (reply.flags, reply.targets, words.join(" "))
                });
                // Outside of the quotes that a debug format would put around names.
                match reply {
                    Ok((flags, targets, text)) => {
                        side.note(format!("{room}"), format!("{flags:#x} {targets} {text}"));
                    }
                    Err(e) => side.note(format!("{room}"), dm::errno_name(&e)),
                }
            }
        }
        Ok(())
    })
}

fn long_names(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let mut device = MappedDevice::named(&"n".repeat(127), &"u".repeat(128))?;
        side.alias(device.devno(), "DM");
        let table = [line(0, 8, &side.target, format!("{} 0", lower.node()))];
        side.note("load", outcome(device.load(&table)));
        side.note("inactive", table_text(&device.inactive_table()?));
        side.note("same again", outcome(device.rename(&"n".repeat(127))));
        side.note_log("same again log", "^device-mapper: ioctl: ")?;
        device.rename("dmr-test-short")?;
        device.resume()?;
        side.note("table", table_text(&device.table()?));
        Ok(())
    })
}

/// The way in which people look at it.
fn dmsetup(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.device(&segments(&side.target, &lower.node(), 3))?;
        for command in ["table", "status", "deps", "info"] {
            let text = process::run("dmsetup", &[command, device.name()])?;
            side.note(format!("dmsetup {command}"), text);
        }
        let targets = process::run("dmsetup", &["targets"])?;
        let own: Vec<_> = targets
            .lines()
            .filter(|l| l.split(' ').next() == Some(&side.target))
            .collect();
        ensure!(own.len() == 1, "dmsetup targets has {own:?}");
        let words: Vec<_> = own[0].split_whitespace().collect();
        side.note("dmsetup targets", words.join(" "));
        Ok(())
    })
}

/// Neither takes messages.
fn message(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.device(&segments(&side.target, &lower.node(), 2))?;
        for text in ["hello", "", "@cancel_deferred_remove", "a b c"] {
            side.note(text, outcome(device.message(0, text)));
        }
        side.note("beyond", outcome(device.message(1 << 40, "hello")));
        side.note_log("log", "^device-mapper: ")
    })
}

fn measured(ctx: &Ctx) -> Result<()> {
    ima::measure()?;
    LINEAR.compare(ctx, |side| {
        for shape in LINEAR.shapes {
            let lowers = side.lowers(Kind::Ram, shape)?;
            let before = ima::table_loads()?.len();
            let _device = side.device(&(shape.table)(&side.target, &lowers))?;
            let loads = ima::table_loads()?.split_off(before);
            ensure!(
                loads.len() == 1,
                "{} measurements of one table",
                loads.len()
            );
            side.note(shape.name, &loads[0]);
        }
        Ok(())
    })
}
