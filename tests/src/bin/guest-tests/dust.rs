// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-dust`. Distributions build their kernels without `dust`: its twin is built from
//! the kernel's source, see `qemu/build`.

use anyhow::Result;
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome};
use dm_rust_tests::scenario::refusal::{arguments, attempt, Arguments};
use dm_rust_tests::scenario::{self, loop_of, MIB};
use dm_rust_tests::twin::{Kind, Shape, Side, Target};

/// `rust-dust` and `dust`: `<device> <offset> <block size>`.
pub static DUST: Target = Target {
    name: "dust",
    shapes: &[
        Shape {
            name: "whole",
            lowers: 1,
            table: |target, lowers| {
                let lower = &lowers[0];
                let params = format!("{} 0 1048576", lower.node());
                vec![line(0, lower.sectors(), target, params)]
            },
        },
        Shape {
            name: "offset",
            lowers: 1,
            table: |target, lowers| {
                let node = lowers[0].node();
                vec![
                    line(0, 8 * MIB, target, format!("{node} {} 4096", 16 * MIB)),
                    line(
                        8 * MIB,
                        4 * MIB,
                        target,
                        format!("{node} {} 1048576", 4 * MIB),
                    ),
                ]
            },
        },
    ],
};

const BAD: Arguments = &[
    (
        64,
        &[
            "",
            "{}",
            "{} 0",
            "{} 0 512 0",
            "{} 0 0",
            "{} 0 x",
            "{} 0 -512",
            "{} 0 +512",
            "{} 0 511",
            "{} 0 513",
            "{} 0 1",
            "{} 0 768",
            "{} 0 4294967296",
            "{} 0 4294967295",
            "{} 0 2147483648",
            "{} 0 0x200",
            "{} 0 512x",
            "{} 0 512\\\n",
            "{} 0 32768",
            "{} 0 65536",
            "{} x 512",
            "{} -1 512",
            "{} 1x 512",
            "{} 18446744073709551616 512",
            "{} 4294967296 512",
            "/dev/none 0 512",
            // Which of two mistakes is told?
            "/dev/none x 512",
            "/dev/none x 500",
            "{} x 500",
        ],
    ),
    // A block may not be larger than the line.
    (7, &["{} 0 4096", "{} 0 2048", "{} 0 512"]),
    (1, &["{} 0 512", "{} 0 1024"]),
];

/// Messages to a device that stands on one of 8192 blocks.
const MESSAGES: &[&str] = &[
    "countbadblocks",
    "listbadblocks",
    "clearbadblocks",
    "addbadblock",
    "removebadblock",
    "queryblock",
    "ADDBADBLOCK",
    "addbadblock 60",
    "addbadblock 67",
    "AddBadBlock 72",
    "addbadblock 60",
    "addbadblock 8191",
    "addbadblock 8192",
    "addbadblock 8193",
    "addbadblock 18446744073709551615",
    "addbadblock 18446744073709551616",
    "addbadblock -1",
    "addbadblock x",
    "addbadblock 5x",
    "addbadblock 61 0",
    "addbadblock 62 1",
    "addbadblock 63 255",
    "addbadblock 64 256",
    "addbadblock 64 4294967297",
    "addbadblock 64 x",
    "addbadblock 9000 300",
    "addbadblock 9000 3",
    "addbadblock 1 2 3",
    "removebadblock 1 2",
    "queryblock 60 1",
    "queryblock 60",
    "queryblock 59",
    "QueryBlock 067",
    "queryblock 9999",
    "countbadblocks",
    "listbadblocks",
    "listbadblocks 1",
    "countbadblocks 1",
    "removebadblock 67",
    "removebadblock 67",
    "removebadblock 8193",
    "quiet",
    "addbadblock 67",
    "addbadblock 67",
    "removebadblock 67",
    "removebadblock 67",
    "addbadblock 9999",
    "quiet",
    "quiet 1",
    "enable",
    "enable 1",
    "ENABLE",
    "disable",
    "Disable",
    "unknown",
    "unknown 1",
    "unknown 1 2",
    "unknown 1 x",
    "unknown 1 2 3",
    "clearbadblocks",
    "clearbadblocks",
    "listbadblocks",
    "countbadblocks",
];

/// Sends a message, and notes the answer and what the log says.
fn send(side: &Side, device: &dm_rust_tests::dm::MappedDevice, message: &str) -> Result<()> {
    side.note(message, outcome(device.ask(0, message)));
    side.note_log(&format!("{message} log"), "^device-mapper: ")?;
    let status = &device.status()?[0].params;
    side.note(format!("{message} status"), status);
    Ok(())
}

fn messages(ctx: &Ctx) -> Result<()> {
    ctx.need_twin(DUST.name)?;
    DUST.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let params = format!("{} 480 4096", lower.node());
        let device = side.device(&[line(0, 24_000, &side.target, params)])?;
        for message in MESSAGES {
            send(side, &device, message)?;
        }
        // More than fits into what the kernel answers at first.
        for block in (0..3000).step_by(3) {
            device.ask(0, &format!("addbadblock {block}"))?;
        }
        side.note_log("many log", "^device-mapper: ")?;
        send(side, &device, "countbadblocks")?;
        send(side, &device, "listbadblocks")
    })
}

/// Reads and writes of blocks that are bad, become good, and are bad again.
fn blocks(ctx: &Ctx, kind: Kind, size: u64) -> Result<()> {
    ctx.need_twin(DUST.name)?;
    DUST.compare(ctx, |side| {
        let lower = side.lower(kind, 0)?;
        let per_block = size / 512;
        let params = format!("{} {} {size}", lower.node(), 16 * per_block);
        let device = side.device(&[line(0, 64 * per_block, &side.target, params)])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        disk.write(0, &pattern(1, 0, 64 * per_block))?;
        for (block, fails) in [(16, 0), (20, 0), (21, 2), (22, 0), (40, 1), (79, 0)] {
            send(side, &device, &format!("addbadblock {block} {fails}"))?;
        }
        let look = |when: &str| -> Result<()> {
            for block in 0..64 {
                let read = disk.read(block * per_block, per_block).map(|d| d[0]);
                side.note(format!("{when} read {block}"), outcome(read));
            }
            side.note(
                format!("{when} all"),
                outcome(disk.read(0, 64 * per_block).map(|d| d.len())),
            );
            side.note(
                format!("{when} bad"),
                outcome(device.ask(0, "listbadblocks")),
            );
            side.note_log(&format!("{when} log"), "dust|I/O error")
        };
        look("bypassed")?;
        disk.write(4 * per_block, &pattern(2, 0, per_block))?;
        look("written while bypassed")?;
        send(side, &device, "enable")?;
        look("enabled")?;
        side.note("flush", outcome(disk.sync()));
        look("flushed")?;
        for round in 0..2 {
            for (first, count) in [(4, 1), (5, 1), (24, 1), (6, 3), (60, 4)] {
                let data = pattern(3 + round, 0, count * per_block);
                let written = disk.write(first * per_block, &data);
                side.note(format!("{round} write {first}"), outcome(written));
            }
            look(&format!("round {round}"))?;
        }
        send(side, &device, "addbadblock 30")?;
        let range = (14 * per_block * 512, 2 * per_block * 512);
        let discard = dm_rust_tests::sys::BLKDISCARD.range(disk.file(), range.0, range.1);
        side.note("discard", outcome(discard));
        look("discarded")?;
        send(side, &device, "addbadblock 31")?;
        send(side, &device, "disable")?;
        look("disabled")?;
        send(side, &device, "enable")?;
        send(side, &device, "clearbadblocks")?;
        look("cleared")
    })
}

/// A line that is not the first of its table.
fn second_line(ctx: &Ctx) -> Result<()> {
    ctx.need_twin(DUST.name)?;
    DUST.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let node = lower.node();
        let device = side.device(&[
            line(0, 64, "linear", format!("{node} 1024")),
            line(64, 64, &side.target, format!("{node} 8 1024")),
        ])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        for message in ["addbadblock 4", "addbadblock 10 1", "enable"] {
            side.note(message, outcome(device.ask(64, message)));
        }
        for sector in 60..96 {
            let read = disk.read(sector, 1).map(|d| d.len());
            side.note(format!("read {sector}"), outcome(read));
        }
        for sector in (60..96).chain(60..96) {
            let written = disk.write(sector, &pattern(1, sector, 1));
            side.note(format!("write {sector}"), outcome(written));
        }
        side.note_log("log", "dust|I/O error")?;
        // A flush is a write of nothing at the start of the target.
        side.note("add", outcome(device.ask(64, "addbadblock 4 1")));
        side.note("flush", outcome(disk.sync()));
        side.note("again", outcome(disk.sync()));
        side.note("bad", outcome(device.ask(64, "listbadblocks")));
        side.note_log("flush log", "dust|I/O error")
    })
}

fn large_blocks(ctx: &Ctx) -> Result<()> {
    ctx.need_twin(DUST.name)?;
    DUST.compare(ctx, |side| {
        let empty = side.lower(Kind::Null(&[("size", 1 << 22), ("memory_backed", 0)]), 0)?;
        let node = empty.node();
        for (len, size) in [
            (1 << 21, 1 << 30),
            (1 << 22, 1_u64 << 30),
            (1 << 22, 1 << 31),
            ((1 << 21) - 1, 1 << 30),
            (1 << 21, 1 << 29),
        ] {
            let table = [line(0, len, &side.target, format!("{node} 0 {size}"))];
            attempt(side, &format!("{len} {size}"), &table, &[&empty])?;
        }
        Ok(())
    })
}

pub fn cases(long: bool) -> Vec<Case> {
    let mut cases = vec![
        case("dust::arguments", |ctx| {
            ctx.need_twin(DUST.name)?;
            arguments(ctx, &DUST, BAD)
        }),
        case("dust::messages", messages),
        case("dust::blocks_of_512", |ctx| blocks(ctx, Kind::Ram, 512)),
        case("dust::blocks_of_4096", |ctx| {
            blocks(ctx, loop_of(4096), 4096)
        }),
        case("dust::second_line", second_line),
        case("dust::large_blocks", large_blocks),
    ];
    let need_twin = |case: Case| case.after(|ctx| ctx.need_twin(DUST.name));
    let common = scenario::cases(&DUST).into_iter().map(need_twin);
    cases.extend(scenario::unless_long(long, common));
    cases
}
