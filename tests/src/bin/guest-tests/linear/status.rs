// SPDX-License-Identifier: GPL-2.0

//! What device-mapper says of tables that are out of the ordinary.

use super::LINEAR;
use anyhow::Result;
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::dm::{line, outcome, table_text, Line, MappedDevice};
use dm_rust_tests::scenario::status::{note_all, note_room};
use dm_rust_tests::twin::Kind;

pub fn cases() -> Vec<Case> {
    vec![
        case("linear::status::by_number", by_number),
        case("linear::status::many_segments", many_segments),
        case("linear::status::long_names", long_names),
    ]
}

/// What the kernel tells is the number of a device, however the table named it.
fn by_number(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.device(&[line(0, 8, &side.target, format!("{} 007", lower.devno()))])?;
        note_all(side, "by number", &device)
    })
}

/// Segments of 8 sectors, each at another place of the lower device.
fn segments(target: &str, node: &str, count: u64) -> Vec<Line> {
    let one = |i| line(i * 8, 8, target, format!("{node} {}", (count - 1 - i) * 8));
    (0..count).map(one).collect()
}

fn many_segments(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let device = side.device(&segments(&side.target, &lower.node(), 1000))?;
        note_all(side, "a thousand", &device)?;
        let device = side.device(&segments(&side.target, &lower.node(), 5))?;
        for table in [false, true] {
            for room in 0..330 {
                note_room(side, &device, table, room)?;
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
