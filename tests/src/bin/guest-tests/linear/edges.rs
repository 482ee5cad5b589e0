// SPDX-License-Identifier: GPL-2.0

//! What the common tables of `linear` do not show.

use super::LINEAR;
use anyhow::Result;
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{Disk, Mode};
use dm_rust_tests::dm::{line, outcome};
use dm_rust_tests::scenario::MIB;
use dm_rust_tests::sysfs;
use dm_rust_tests::trace::{self, Trace};
use dm_rust_tests::twin::Kind;

pub fn cases() -> Vec<Case> {
    vec![
        case("linear::edges::alignment_of_offsets", alignment_of_offsets),
        case("linear::edges::flush_beside_zero", flush_beside_zero),
    ]
}

/// An offset within a physical block shows in the limits of the mapped device.
fn alignment_of_offsets(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let kinds = [
            Kind::Ram,
            Kind::Scsi(&["physblk_exp=3", "lowest_aligned=7", "opt_blks=64"]),
        ];
        for (i, kind) in kinds.into_iter().enumerate() {
            let lower = side.lower(kind, i)?;
            for start in [0, 1, 4, 7, 8, 9, 63, 64] {
                let key = format!("{i} offset {start}");
                let params = format!("{} {start}", lower.node());
                let device = side.device(&[line(0, 64, &side.target, params)])?;
                for dir in ["", "queue"] {
                    for (file, value) in sysfs::dir(&device.kernel_name(), dir)? {
                        if file.contains("alignment") || file.ends_with("_size") {
                            side.note(format!("{key} {file}"), value);
                        }
                    }
                }
            }
        }
        side.note_log("log", "^device-mapper: ")
    })
}

/// `zero` does not let flushes bypass its map, so that in a table with it each
/// target is sent as many as it asks for.
fn flush_beside_zero(ctx: &Ctx) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let lower = side.lower(Kind::Null(&[("memory_backed", 1), ("cache_size", 16)]), 0)?;
        let device = side.device(&[
            line(0, MIB, &side.target, format!("{} 8", lower.node())),
            line(MIB, MIB, "zero", ""),
            line(
                2 * MIB,
                MIB,
                &side.target,
                format!("{} {}", lower.node(), 8 * MIB),
            ),
        ])?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        let trace = Trace::start(&[lower.devno(), &device.devno()], trace::BIOS)?;
        disk.write(0, &[1; 4096])?;
        trace.mark("flush")?;
        side.note("flush", outcome(disk.sync()));
        for (name, events) in trace.stop()? {
            side.note(name, trace::summary(&events));
        }
        Ok(())
    })
}
