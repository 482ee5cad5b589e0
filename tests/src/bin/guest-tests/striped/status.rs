// SPDX-License-Identifier: GPL-2.0

//! What device-mapper says of tables that are out of the ordinary.

use super::STRIPED;
use anyhow::Result;
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::dm::{line, Line};
use dm_rust_tests::scenario::status::{note_all, note_room};
use dm_rust_tests::twin::Kind;

pub fn cases() -> Vec<Case> {
    vec![
        case("striped::status::odd_numbers", odd_numbers),
        case("striped::status::many_stripes", many_stripes),
    ]
}

/// Numbers as they may be written, devices by their numbers.
fn odd_numbers(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let devno = lower.devno();
        let params = format!("002 0008 {devno} 007 {devno} 64");
        let device = side.device(&[line(0, 64, &side.target, params)])?;
        note_all(side, "odd numbers", &device)?;
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
            note_all(side, &format!("{count}"), &device)?;
        }
        let device = side.device(&many(&side.target, &lower.node(), 7))?;
        for table in [false, true] {
            for room in 0..160 {
                note_room(side, &device, table, room)?;
            }
        }
        Ok(())
    })
}
