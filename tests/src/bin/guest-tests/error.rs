// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-error`.

use anyhow::{ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text, MappedDevice, Suspend};
use dm_rust_tests::module::modprobe;
use dm_rust_tests::scenario::refusal::{arguments, Arguments};
use dm_rust_tests::scenario::{self, concurrency, dax, zones, MIB, ZONED};
use dm_rust_tests::sys::{BLKDISCARD, BLKSECDISCARD, BLKZEROOUT};
use dm_rust_tests::twin::{Kind, Shape, Target};
use dm_rust_tests::{fio::Fio, sysfs};
use rustix::io::ReadWriteFlags;

/// `rust-error` and `error`: `[<device> <first sector>]`.
pub static ERROR: Target = Target {
    name: "error",
    shapes: &[
        Shape {
            name: "whole",
            lowers: 1,
            table: |target, lowers| {
                let lower = &lowers[0];
                let params = format!("{} 0", lower.node());
                vec![line(0, lower.sectors(), target, params)]
            },
        },
        Shape {
            name: "offset",
            lowers: 1,
            table: |target, lowers| {
                let params = format!("{} {}", lowers[0].node(), 8 * MIB);
                vec![line(0, 12 * MIB, target, params)]
            },
        },
        Shape {
            name: "two_devices",
            lowers: 2,
            table: |target, lowers| {
                let at = |lower: usize, start: u64| format!("{} {start}", lowers[lower].node());
                vec![
                    line(0, 8 * MIB, target, at(0, 4 * MIB)),
                    line(8 * MIB, 4 * MIB, target, at(1, 0)),
                ]
            },
        },
        Shape {
            name: "bare",
            lowers: 0,
            table: |target, _| vec![line(0, 12 * MIB, target, "")],
        },
        Shape {
            name: "bare_beside_a_device",
            lowers: 1,
            table: |target, lowers| {
                let params = format!("{} 0", lowers[0].node());
                vec![
                    line(0, 4 * MIB, target, "no device here"),
                    line(4 * MIB, 4 * MIB, target, params),
                ]
            },
        },
    ],
};

/// With two arguments they are a device and an offset; any other number is fine.
const ARGUMENTS: Arguments = &[(
    64,
    &[
        "",
        "x",
        "{}",
        "a b c",
        "{} 0 0",
        "a b c d e f g h i j k l m n o p q r s t u v w x y z",
        "{} 0",
        "{} 8",
        "{} x",
        "{} -1",
        "{} +5",
        "{} 5x",
        "{} 0x10",
        "{} \\ ",
        "\\  0",
        "/dev/no-such-device 0",
        "/dev/no-such-device x",
        "/dev/null 0",
        "999:0 0",
        "{} 65536",
        "{} 65473",
        "{} 65472",
        "{} 18446744073709551615",
        "{} 18446744073709551616",
    ],
)];

pub fn cases(long: bool) -> Vec<Case> {
    let mut cases = vec![
        case("error::arguments", |ctx| arguments(ctx, &ERROR, ARGUMENTS)),
        case("error::requests", requests),
        case("error::on_zoned_devices", zoned_requests),
        case("error::taken_for_a_good_table", taken_for_a_good_table),
        case("error::in_place_of_multipath", in_place_of_multipath),
    ];
    let mut common = scenario::cases_without_data(&ERROR);
    common.extend(zones::cases(&ERROR));
    // Whatever lies below, it is never reached.
    cases.extend(scenario::unless_long(long, common));
    // There is nothing of its own that could be in the way of another.
    cases.extend(
        concurrency::cases(&ERROR, false)
            .into_iter()
            .map(Case::long),
    );
    cases.push(case("error::dax", dax_refused));
    cases
}

/// All fail, with the twin's errno, and none reaches a device.
fn requests(ctx: &Ctx) -> Result<()> {
    ERROR.compare(ctx, |side| {
        let lowers = side.lowers_for(&ERROR, Kind::Ram)?;
        for shape in ERROR.fitting(Kind::Ram) {
            for lower in &lowers {
                lower.open()?.write(0, &pattern(9, 0, 64))?;
            }
            let table = (shape.table)(&side.target, &lowers[..shape.lowers]);
            let device = side.device(&table)?;
            let note = |what: &str, seen: String| side.note(format!("{} {what}", shape.name), seen);
            let stat = |lower: &dm_rust_tests::lower::Lower| -> Result<String> {
                sysfs::file(&lower.kernel_name(), "stat")
            };
            let before = lowers.iter().map(stat).collect::<Result<Vec<_>>>()?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            for flags in [
                ReadWriteFlags::empty(),
                ReadWriteFlags::NOWAIT,
                ReadWriteFlags::DSYNC,
            ] {
                let read = disk.read_with(8, 64, flags);
                note(&format!("read {flags:?}"), outcome(read));
                let write = disk.write_with(8, &pattern(1, 0, 64), flags);
                note(&format!("write {flags:?}"), outcome(write));
            }
            note("flush", outcome(disk.sync()));
            for ioctl in [BLKDISCARD, BLKZEROOUT, BLKSECDISCARD] {
                note(ioctl.name, outcome(ioctl.range(disk.file(), 4096, 1 << 16)));
            }
            let buffered = Disk::open(&device.path(), Mode::Buffered)?;
            note("buffered read", outcome(buffered.read(16, 8).map(drop)));
            note(
                "buffered write",
                outcome(buffered.write(16, &pattern(1, 0, 8))),
            );
            note("buffered sync", outcome(buffered.sync()));
            let after = lowers.iter().map(stat).collect::<Result<Vec<_>>>()?;
            ensure!(
                before == after,
                "{}: something reached a device",
                shape.name
            );
        }
        Ok(())
    })
}

/// Reports come from the device; zone commands and writes fail.
fn zoned_requests(ctx: &Ctx) -> Result<()> {
    ERROR.compare(ctx, |side| {
        let lower = side.lower(ZONED, 0)?;
        let table = [line(
            0,
            16 * MIB,
            &side.target,
            format!("{} {}", lower.node(), 20 * MIB),
        )];
        let below = lower.open()?;
        below.write(24 * MIB, &pattern(1, 0, 16))?;
        let device = side.device(&table)?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        let zones = dm_rust_tests::zones::report(disk.file(), 0, 64)?;
        ensure!(zones.len() == 4, "{} zones", zones.len());
        ensure!(
            zones[1].wp == 4 * MIB + 16,
            "not the zones below: {zones:?}"
        );
        side.note("zones", format!("{zones:?}"));
        side.note("write", outcome(disk.write(0, &pattern(2, 0, 8))));
        let reset = dm_rust_tests::sys::BLKRESETZONE;
        let reset = reset.range(disk.file(), 4 * MIB, 4 * MIB);
        side.note("reset", outcome(reset));
        let zones = dm_rust_tests::zones::report(disk.file(), 0, 64)?;
        side.note("zones after", format!("{zones:?}"));
        side.note_log("log", "^device-mapper: ")
    })
}

/// What is used is replaced by errors, as `dmsetup wipe_table` does, and comes back.
fn taken_for_a_good_table(ctx: &Ctx) -> Result<()> {
    ERROR.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let good = [line(0, 8 * MIB, "linear", format!("{} 0", lower.node()))];
        let errors = [line(0, 8 * MIB, &side.target, "")];
        let device: MappedDevice = side.device(&good)?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        disk.write(0, &pattern(1, 0, 64))?;
        let fio = Fio::start(
            &device.path(),
            &[
                "rw=randrw",
                "bs=4k",
                "size=4m",
                "offset=4m",
                "time_based=1",
                "runtime=20",
            ],
        )?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        device.swap(&errors, Suspend::Flush)?;
        let failed = fio.finish_failed()?;
        side.note("fio", failed.contains("Input/output error"));
        side.note("read", outcome(disk.read(0, 64).map(drop)));
        device.swap(&good, Suspend::Flush)?;
        disk.expect_pattern(0, 1, 0, 64)?;
        side.note("back", true);
        Ok(())
    })
}

/// A request-based table that may not be replaced is replaced all the same.
fn in_place_of_multipath(ctx: &Ctx) -> Result<()> {
    for module in ["dm-multipath", "dm-round-robin"] {
        modprobe(module, &[])?;
    }
    ctx.take_log("version [0-9.]+ loaded$")?;
    ERROR.compare(ctx, |side| {
        let lower = side.lower(Kind::Scsi(&[]), 0)?;
        let len = lower.sectors();
        let paths = format!("0 0 1 1 round-robin 0 1 1 {} 1", lower.node());
        let paths = [line(0, len, "multipath", paths)];
        let device = side.device(&paths)?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        disk.write(64, &pattern(1, 64, 64))?;
        for (key, table) in [
            ("bare", vec![line(0, len, &side.target, "")]),
            // What is refused leaves the paths.
            (
                "over the device",
                vec![line(0, len, &side.target, format!("{} 0", lower.node()))],
            ),
            (
                "two",
                vec![
                    line(0, 64, &side.target, ""),
                    line(64, len - 64, &side.target, ""),
                ],
            ),
            (
                "linear",
                vec![line(0, len, "linear", format!("{} 0", lower.node()))],
            ),
        ] {
            side.note(
                format!("{key} load"),
                outcome(device.swap(&table, Suspend::Flush)),
            );
            side.note_log(&format!("{key} log"), "^device-mapper: |^blk_|dev sd")?;
            side.note(format!("{key} live"), table_text(&device.table()?));
            let read = disk.read(64, 64);
            side.note(
                format!("{key} read"),
                outcome(read.map(|data| data == pattern(1, 64, 64))),
            );
            side.note(format!("{key} flush"), outcome(disk.sync()));
            let write = disk.write(128, &pattern(2, 128, 8));
            side.note(format!("{key} write"), outcome(write));
            device.swap(&paths, Suspend::Flush)?;
            disk.expect_pattern(64, 1, 64, 64)?;
        }
        Ok(())
    })
}

/// On persistent memory no access goes directly there.
fn dax_refused(ctx: &Ctx) -> Result<()> {
    ERROR.compare(ctx, |side| {
        let lower = side.lower(Kind::Pmem, 0)?;
        for params in [format!("{} 0", lower.node()), String::new()] {
            let device = side.device(&[line(0, 16 * MIB, &side.target, params)])?;
            dax::note_flags(side, "live", &device)?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            side.note("read", outcome(disk.read(0, 8).map(drop)));
        }
        side.note_log("log", "^device-mapper: ")
    })
}
