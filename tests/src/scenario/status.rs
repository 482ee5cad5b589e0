// SPDX-License-Identifier: GPL-2.0

//! What device-mapper says of a target and of its devices.

use crate::case::{case, Case, Ctx};
use crate::dm::{self, outcome, table_text, MappedDevice};
use crate::twin::{Kind, Side, Target};
use crate::{ima, process};
use anyhow::{ensure, Context, Result};

/// What the kernel warns of where a shape does not start at a physical block.
const MISALIGNED: &str = "caused an alignment inconsistency";

pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let name = |name: &str| format!("{}::status::{name}", target.name);
    vec![
        case(name("version"), move |ctx| version(ctx, target)),
        case(name("lines"), move |ctx| lines(ctx, target)),
        case(name("inactive_table"), move |ctx| inactive(ctx, target)),
        case(name("small_buffers"), move |ctx| small_buffers(ctx, target)),
        case(name("dmsetup"), move |ctx| dmsetup(ctx, target)),
        case(name("messages"), move |ctx| messages(ctx, target)),
        // Once there is a policy, every table costs memory for its record.
        case(name("ima"), move |ctx| measured(ctx, target)).last(),
    ]
}

fn version(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        // The in-tree one is loaded when a table first names it.
        side.each_shape(target, Kind::Ram, |shape, lowers| {
            side.device(&(shape.table)(&side.target, lowers)).map(drop)
        })?;
        side.ctx().take_log(MISALIGNED)?;
        let version = dm::targets()?.into_iter().find(|t| t.0 == side.target);
        let version = version.context("the target is not registered")?.1;
        side.note("version", format!("{version:?}"));
        Ok(())
    })
}

/// Notes all that can be asked of a device.
pub fn note_all(side: &Side, key: &str, device: &MappedDevice) -> Result<()> {
    side.note(format!("{key} table"), table_text(&device.table()?));
    side.note(format!("{key} status"), table_text(&device.status()?));
    side.note(format!("{key} deps"), format!("{:?}", device.deps()?));
    let mut info = device.info()?;
    info.devno = (0, 0);
    info.data.clear();
    side.note(format!("{key} info"), format!("{info:?}"));
    Ok(())
}

fn lines(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        side.each_shape(target, Kind::Ram, |shape, lowers| {
            let device = side.device(&(shape.table)(&side.target, lowers))?;
            note_all(side, shape.name, &device)?;
            let open = device.open()?;
            side.note("info while open", format!("{:?}", device.info()?));
            drop(open);
            Ok(())
        })?;
        side.note_log("log", MISALIGNED)
    })
}

fn inactive(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        let lowers = side.lowers_for(target, Kind::Ram)?;
        let tables: Vec<_> = target
            .fitting(Kind::Ram)
            .map(|shape| (shape.table)(&side.target, &lowers[..shape.lowers]))
            .collect();
        let device = side.device(&tables[0])?;
        for table in tables.iter().rev() {
            device.load(table)?;
            side.note(
                "both",
                table_text(&device.table()?) + &table_text(&device.inactive_table()?),
            );
        }
        device.clear()?;
        side.note("cleared", table_text(&device.inactive_table()?));
        device.resume()?;
        side.note("resumed", table_text(&device.table()?));
        device.load(&tables[tables.len() - 1])?;
        device.resume()?;
        side.note("swapped", table_text(&device.table()?));
        side.note_log("log", MISALIGNED)
    })
}

/// Whatever room there is, what fits is told and the rest is not written.
fn small_buffers(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        side.each_shape(target, Kind::Ram, |shape, lowers| {
            let device = side.device(&(shape.table)(&side.target, lowers))?;
            for table in [false, true] {
                // More than the longest of the shapes needs.
                for room in 0..400 {
                    note_room(side, &device, table, room)?;
                }
            }
            Ok(())
        })?;
        side.note_log("log", MISALIGNED)
    })
}

/// Notes what is told, of the table or the status, in a buffer with that much room.
pub fn note_room(side: &Side, device: &MappedDevice, table: bool, room: usize) -> Result<()> {
    let key = format!("table {table}, room {room}");
    match device.status_into(table, room) {
        // Outside of the quotes that a debug format would put around names.
        Ok(reply) => {
            let text = String::from_utf8_lossy(&reply.data).into_owned();
            let words: Vec<_> = text.split('\0').filter(|w| !w.is_empty()).collect();
            let words = words.join(" ");
            side.note(key, format!("{:#x} {} {words}", reply.flags, reply.targets));
        }
        Err(e) => side.note(key, dm::errno_name(&e)),
    }
    Ok(())
}

/// The way in which people look at it.
fn dmsetup(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        side.each_shape(target, Kind::Ram, |shape, lowers| {
            let device = side.device(&(shape.table)(&side.target, lowers))?;
            // What dmsetup takes for a key it hides only in the lines of targets that it knows.
            let table: &[&str] = &["table", "--showkeys"];
            for command in [table, &["status"], &["deps"], &["info"]] {
                let text = process::run("dmsetup", &[command, &[device.name()]].concat())?;
                side.note(format!("{} dmsetup {}", shape.name, command[0]), text);
            }
            Ok(())
        })?;
        let targets = process::run("dmsetup", &["targets"])?;
        let own: Vec<_> = targets
            .lines()
            .filter(|l| l.split(' ').next() == Some(&side.target))
            .collect();
        ensure!(own.len() == 1, "dmsetup targets has {own:?}");
        let words: Vec<_> = own[0].split_whitespace().collect();
        side.note("dmsetup targets", words.join(" "));
        side.note_log("log", MISALIGNED)
    })
}

/// Messages that no target takes.
fn messages(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        let shape = &target.shapes[0];
        let lowers = side.lowers(Kind::Ram, shape)?;
        let device = side.device(&(shape.table)(&side.target, &lowers))?;
        for text in ["hello", "", "@cancel_deferred_remove", "a b c"] {
            side.note(text, outcome(device.message(0, text)));
        }
        side.note("beyond", outcome(device.message(1 << 40, "hello")));
        side.note_log("log", "^device-mapper: ")
    })
}

fn measured(ctx: &Ctx, target: &'static Target) -> Result<()> {
    ima::measure()?;
    target.compare(ctx, |side| {
        side.each_shape(target, Kind::Ram, |shape, lowers| {
            let before = ima::table_loads()?.len();
            let _device = side.device(&(shape.table)(&side.target, lowers))?;
            let loads = ima::table_loads()?.split_off(before);
            ensure!(
                loads.len() == 1,
                "{} measurements of one table",
                loads.len()
            );
            side.note(shape.name, &loads[0]);
            Ok(())
        })?;
        side.note_log("log", MISALIGNED)
    })
}
