// SPDX-License-Identifier: GPL-2.0

//! What device-mapper says of the target and of its devices.

use super::STRIPED;
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::dm::{self, line, table_text, Line, MappedDevice};
use dm_rust_tests::ima;
use dm_rust_tests::twin::{Kind, Side};

pub fn cases() -> Vec<Case> {
    vec![
        case("striped::status::version", version),
        case("striped::status::lines", lines),
        case("striped::status::many_stripes", many_stripes),
        case("striped::status::small_buffers", small_buffers),
        case("striped::status::ima", measured).last(),
    ]
}

fn version(ctx: &Ctx) -> Result<()> {
    let targets = dm::targets()?;
    let of = |name: &str| targets.iter().find(|t| t.0 == name).map(|t| t.1);
    let ours = of(&ctx.env.target(STRIPED.name)).context("the target is not registered")?;
    let theirs = of(STRIPED.name).context("the in-tree target is not registered")?;
    ensure!(ours == theirs, "version {ours:?}, in-tree {theirs:?}");
    Ok(())
}

fn note(side: &Side, key: &str, device: &MappedDevice) -> Result<()> {
    side.note(format!("{key} table"), table_text(&device.table()?));
    side.note(format!("{key} status"), table_text(&device.status()?));
    side.note(format!("{key} deps"), format!("{:?}", device.deps()?));
    let mut info = device.info()?;
    info.devno = (0, 0);
    info.data.clear();
    side.note(format!("{key} info"), format!("{info:?}"));
    Ok(())
}

fn lines(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        side.each_shape(&STRIPED, Kind::Ram, |shape, lowers| {
            let device = side.device(&(shape.table)(&side.target, lowers))?;
            note(side, shape.name, &device)
        })?;
        // Numbers as they may be written, devices by their numbers.
        let lower = side.lower(Kind::Ram, 4)?;
        let devno = lower.devno();
        let params = format!("002 0008 {devno} 007 {devno} 64");
        let device = side.device(&[line(0, 64, &side.target, params)])?;
        note(side, "odd numbers", &device)?;
        side.note_log("log", "caused an alignment inconsistency")
    })
}

/// `count` stripes of one chunk each, all on one device.
fn many(target: &str, node: &str, count: u64) -> [Line; 1] {
    let stripes = (0..count).map(|i| format!(" {node} {}", i * 8));
    let params = format!("{count} 8{}", stripes.collect::<String>());
    [line(0, count * 8, target, params)]
}

fn many_stripes(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        for count in [31, 256, 1000] {
            let device = side.device(&many(&side.target, &lower.node(), count))?;
            note(side, &format!("{count}"), &device)?;
        }
        Ok(())
    })
}

/// Whatever room there is, what fits is told and the rest is not written.
fn small_buffers(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.device(&many(&side.target, &lower.node(), 7))?;
        for table in [false, true] {
            for room in 0..160 {
                let key = format!("table {table}, room {room}");
                match device.status_into(table, room) {
                    Ok(reply) => {
                        let text = String::from_utf8_lossy(&reply.data).into_owned();
                        let words: Vec<_> = text.split('\0').filter(|w| !w.is_empty()).collect();
                        let words = words.join(" ");
                        side.note(key, format!("{:#x} {} {words}", reply.flags, reply.targets));
                    }
                    Err(e) => side.note(key, dm::errno_name(&e)),
                }
            }
        }
        Ok(())
    })
}

fn measured(ctx: &Ctx) -> Result<()> {
    ima::measure()?;
    STRIPED.compare(ctx, |side| {
        side.each_shape(&STRIPED, Kind::Ram, |shape, lowers| {
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
        })
    })
}
