// SPDX-License-Identifier: GPL-2.0

//! Every bad table: the twin's errno, the twin's message, and nothing left open.

use super::LINEAR;
use anyhow::{Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{expect_released, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text, Line};
use dm_rust_tests::fs::{self, Mounted};
use dm_rust_tests::lower::{Loop, Lower};
use dm_rust_tests::scenario::loop_of;
use dm_rust_tests::sys;
use dm_rust_tests::twin::{Kind, Side};

/// Arguments of one target of 64 sectors; `{}` stands for the lower device.
const ARGUMENTS: &[(&str, &[&str])] = &[
    (
        "count",
        &[
            "",
            " ",
            "{}",
            "{} 0 0",
            "{} 0 0 0 0 0 0 0 0",
            "{} 0 \\ ",
            "{}\\ 0",
        ],
    ),
    (
        "offset_not_a_number",
        &["{} x", "{} zero", "{} .", "{} -", "{} +", "{} \\ "],
    ),
    (
        "offset_negative",
        &[
            "{} -1",
            "{} -0",
            "{} -8",
            "{} --1",
            "{} \\ -8",
            "{} -18446744073709551615",
            "{} -18446744073709551552",
        ],
    ),
    (
        "offset_signed",
        &["{} +5", "{} ++5", "{} +-5", "{} -+5", "{} + 5", "{} +\\ 5"],
    ),
    (
        "offset_in_other_bases",
        &[
            "{} 0x10", "{} 0X10", "{} 010", "{} 08", "{} 0b1", "{} 1e3", "{} 0x", "{} x10",
        ],
    ),
    (
        "offset_with_spaces",
        &[
            "{}    5", "   {} 5", "{} 5   ", "{}\t5", "{} 5\t", "{}\n5\n", "{} \\ 5", "{} \\\t5",
            "{} 5\\ ",
        ],
    ),
    (
        "offset_with_trailing_junk",
        &[
            "{} 5x",
            "{} 5.",
            "{} 5,",
            "{} 5s",
            "{} 5-",
            "{} 5\\\\",
            "{} 5k",
            "{} 0x10g",
            "{} 5\u{e9}",
        ],
    ),
    (
        "offset_too_large",
        &[
            "{} 18446744073709551616",
            "{} 18446744073709551615",
            "{} 18446744073709551614",
            "{} 18446744073709551552",
            "{} 9223372036854775808",
            "{} 9223372036854775807",
            "{} 36893488147419103232",
            "{} 99999999999999999999999999999999999999",
            "{} 0xffffffffffffffff",
            "{} 0x10000000000000000",
            "{} 00000000000000000000000000000000000000000000000000000000005",
            "{} 36028797018963968",
        ],
    ),
    (
        "offset_beyond_the_end",
        &[
            "{} 65536",
            "{} 65537",
            "{} 65473",
            "{} 65472",
            "{} 65535",
            "{} 4294967296",
        ],
    ),
    (
        "device_names",
        &[
            "/dev/no-such-device 0",
            // Two mistakes: which one is told first?
            "/dev/no-such-device x",
            "/no/such/directory 0",
            "\\  0",
            "/ 0",
            "/tmp 0",
            "/dev/null 0",
            "/proc/self/exe 0",
            ". 0",
            "ram0 0",
            "{}/ 0",
            "{}/x 0",
            "//dev/../{} 0",
            "/dev/\u{e9} 0",
        ],
    ),
    (
        "device_numbers",
        &[
            "1: 0",
            ":0 0",
            ": 0",
            "1 0",
            "1:x 0",
            "1:0x 0",
            "1:0:0 0",
            "01:00 0",
            "+1:0 0",
            "-1:0 0",
            "999:0 0",
            "1:1048576 0",
            "4096:0 0",
            "4294967296:0 0",
            "1:4294967296 0",
            "0:0 0",
            "10:236 0",
            "1 :0 0",
            "1:3 0",
            "0x1:0 0",
            "1,0 0",
        ],
    ),
];

/// Tries a table, notes what came of it, and that it left nothing behind.
fn attempt(side: &Side, key: &str, table: &[Line], lower: Option<&Lower>) -> Result<()> {
    let device = side.empty_device()?;
    side.note(format!("{key} load"), outcome(device.load(table)));
    side.note_log(&format!("{key} log"), "^device-mapper: |DM")?;
    let inactive = device.inactive_table()?;
    side.note(format!("{key} inactive"), table_text(&inactive));
    if let (Some(lower), true) = (lower, inactive.is_empty()) {
        expect_released(lower.path()).with_context(|| format!("after {key}"))?;
    }
    Ok(())
}

fn arguments(ctx: &Ctx, list: &[&str]) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        for template in list {
            let params = template.replace("{}", &lower.node());
            let table = [line(0, 64, &side.target, params)];
            attempt(side, template, &table, Some(&lower))?;
        }
        // Far too long for a path.
        let table = [line(
            0,
            64,
            &side.target,
            format!("/{} 0", "x".repeat(5000)),
        )];
        attempt(side, "long", &table, Some(&lower))
    })
}

/// Errors that device-mapper finds around the target: it has to be called, and
/// undone, at the same times.
fn structure(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let t = &side.target;
        let at = |offset: u64| format!("{} {offset}", lower.node());
        for (key, table) in [
            ("empty table", vec![]),
            ("zero length", vec![line(0, 0, t, at(0))]),
            ("does not start at zero", vec![line(8, 64, t, at(0))]),
            ("gap", vec![line(0, 8, t, at(0)), line(16, 8, t, at(8))]),
            (
                "overlap",
                vec![line(0, 16, t, at(0)), line(8, 16, t, at(64))],
            ),
            (
                "out of order",
                vec![line(8, 8, t, at(0)), line(0, 8, t, at(64))],
            ),
            (
                "second is bad",
                vec![line(0, 8, t, at(0)), line(8, 8, t, at(1 << 40))],
            ),
            (
                "second has bad arguments",
                vec![line(0, 8, t, at(0)), line(8, 8, t, "x")],
            ),
            (
                "second is unknown",
                vec![line(0, 8, t, at(0)), line(8, 8, "no-such-target", "x")],
            ),
            (
                "after unknown",
                vec![line(0, 8, "no-such-target", "x"), line(8, 8, t, at(0))],
            ),
            (
                "with an error target",
                vec![line(0, 8, t, at(0)), line(8, 8, "error", "")],
            ),
            ("largest length", vec![line(0, u64::MAX, t, at(0))]),
            ("large length", vec![line(0, 1 << 63, t, at(0))]),
            ("wraps", vec![line(0, u64::MAX - 7, t, at(8))]),
            (
                "one sector too long",
                vec![line(0, lower.sectors() + 1, t, at(0))],
            ),
            ("just fits", vec![line(0, lower.sectors(), t, at(0))]),
            ("last sector", vec![line(0, 1, t, at(lower.sectors() - 1))]),
        ] {
            attempt(side, key, &table, Some(&lower))?;
        }
        Ok(())
    })
}

fn misaligned(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(loop_of(4096), 0)?;
        for (start, len) in [
            (1, 64),
            (7, 64),
            (8, 64),
            (0, 63),
            (0, 65),
            (0, 7),
            (4, 4),
            (8, 8),
            (65535, 1),
        ] {
            let table = [line(
                0,
                len,
                &side.target,
                format!("{} {start}", lower.node()),
            )];
            attempt(side, &format!("{start}+{len}"), &table, Some(&lower))?;
        }
        // Each fits the device, but the second starts within a block of the first.
        let node = lower.node();
        let table = [
            line(0, 12, &side.target, format!("{node} 0")),
            line(12, 4, &side.target, format!("{node} 16")),
        ];
        attempt(side, "border within a block", &table, Some(&lower))
    })
}

fn read_only_lower(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let mut kind = Loop {
            sectors: 2048,
            block: 512,
            read_only: true,
        };
        let never_writable = side.lower(Kind::Loop(kind), 0)?;
        kind.read_only = false;
        let made_read_only = side.lower(Kind::Loop(kind), 1)?;
        let disk = Disk::open(made_read_only.path(), Mode::Buffered)?;
        sys::BLKROSET.call(disk.file(), &mut 1_i32.to_ne_bytes())?;
        for lower in [&never_writable, &made_read_only] {
            let table = [line(0, 64, &side.target, format!("{} 0", lower.node()))];
            let device = side.empty_device()?;
            side.note("read-write", outcome(device.load(&table)));
            side.note_log("read-write log", "^device-mapper: ")?;
            side.note("read-only", outcome(device.load_read_only(&table)));
            side.note_log("read-only log", "^device-mapper: ")?;
            side.note("resume", outcome(device.resume()));
            side.note("info", format!("{:#x}", device.info()?.flags));
            let writable = Disk::open(&device.path(), Mode::Direct);
            side.note("open", outcome(writable.map(drop)));
        }
        Ok(())
    })
}

/// Devices that stand on themselves, directly and by way of another one.
fn itself(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let on = |node: String| [line(0, 64, &side.target, format!("{node} 0"))];
        let first = side.device(&on(lower.node()))?;
        side.note(
            "itself by path",
            outcome(first.load(&on(first.path().display().to_string()))),
        );
        side.note("itself by number", outcome(first.load(&on(first.devno()))));
        side.note_log("itself log", "^device-mapper: ")?;
        let second = side.device(&on(first.path().display().to_string()))?;
        side.note(
            "in a ring",
            outcome(first.load(&on(second.path().display().to_string()))),
        );
        side.note_log("ring log", "^device-mapper: ")?;
        first.clear()?;
        drop(second);
        let bare = side.empty_device()?;
        side.note(
            "device without a table",
            outcome(bare.load(&on(bare.devno()))),
        );
        side.note_log("bare log", "^device-mapper: ")
    })
}

fn held(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let table = [line(0, 64, &side.target, format!("{} 0", lower.node()))];
        let holder = Disk::open(lower.path(), Mode::Exclusive)?;
        attempt(side, "held exclusively", &table, None)?;
        drop(holder);
        let opener = Disk::open(lower.path(), Mode::Direct)?;
        attempt(side, "merely open", &table, None)?;
        drop(opener);
        fs::make(lower.path(), "ext4")?;
        let mounted = Mounted::new(lower.path(), "ext4", "")?;
        attempt(side, "mounted", &table, None)?;
        drop(mounted);
        // Two devices may share one.
        let first = side.device(&table)?;
        attempt(side, "shared", &table, None)?;
        drop(first);
        attempt(side, "free again", &table, Some(&lower))
    })
}

pub fn cases() -> Vec<Case> {
    let name = |name: &str| format!("linear::bad_tables::{name}");
    let mut cases: Vec<_> = ARGUMENTS
        .iter()
        .map(|&(group, list)| case(name(group), move |ctx| arguments(ctx, list)))
        .collect();
    cases.extend([
        case(name("structure"), structure),
        case(name("misaligned"), misaligned),
        case(name("read_only_lower"), read_only_lower),
        case(name("itself"), itself),
        case(name("held"), held),
    ]);
    cases
}
