// SPDX-License-Identifier: GPL-2.0

//! What goes with a bio and is not its data: protection information and write
//! hints. A SCSI disk counts what of it arrives.

use crate::case::{case, Case, Ctx};
use crate::disk::{pattern, Disk, Mode};
use crate::dm::outcome;
use crate::trace::Commands;
use crate::twin::{Kind, Side, Target};
use crate::{sys, sysfs};
use anyhow::{ensure, Context, Result};
use std::fs;

/// For a target that keeps what is written.
pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let name = |name: &str| format!("{}::pass_through::{name}", target.name);
    vec![
        case(name("integrity"), move |ctx| integrity(ctx, target)),
        case(name("write_hints"), move |ctx| write_hints(ctx, target)),
    ]
}

/// Guard tags that the block layer makes and checks above arrive below.
fn integrity(ctx: &Ctx, target: &'static Target) -> Result<()> {
    const DISKS: &[(&str, Kind)] = &[
        ("type 1", Kind::Scsi(&["dif=1", "dix=1"])),
        (
            "type 3, 4096",
            Kind::Scsi(&["dif=3", "dix=1", "sector_size=4096"]),
        ),
    ];
    target.compare(ctx, |side| {
        for &(kind_name, kind) in DISKS {
            side.each_shape(target, kind, |shape, lowers| {
                let device = side.device(&(shape.table)(&side.target, lowers))?;
                let disk = Disk::open(&device.path(), Mode::Direct)?;
                let key = format!("{kind_name} {}", shape.name);
                let traced = Commands::start()?;
                let seen = |step: &str, run: &dyn Fn() -> Result<()>| -> Result<bool> {
                    let (result, commands) = traced.of(run)?;
                    let result = result.map_err(|e| e.root_cause().to_string());
                    side.note(format!("{key} {step}"), format!("{result:?}"));
                    side.note(format!("{key} {step}: commands"), commands.join(", "));
                    Ok(commands.iter().any(|c| c.ends_with("with information")))
                };
                let write = |seed| Ok(disk.write(64, &pattern(seed, 64, 256))?);
                let read = |seed| disk.expect_pattern(64, seed, 64, 256);
                ensure!(seen("write", &|| write(1))?, "no write was protected");
                ensure!(seen("read", &|| read(1))?, "no read was protected");
                for (file, seed) in [("write_generate", 2), ("read_verify", 3)] {
                    let path = format!("/sys/block/{}/integrity/{file}", device.kernel_name());
                    fs::write(&path, "0").with_context(|| format!("cannot write {path}"))?;
                    seen(&format!("write without {file}"), &|| write(seed))?;
                    seen(&format!("read without {file}"), &|| read(seed))?;
                }
                Ok(())
            })?;
        }
        // The disk says where a guard tag is wrong; so does the block layer.
        side.note_log("log", "^device-mapper: ")
    })
}

/// Sets a hint on a device, writes, and notes which groups of the disk writes came to.
fn hinted(side: &Side, key: &str, disk: &Disk) -> Result<usize> {
    const GROUPS: &str = "/sys/bus/pseudo/drivers/scsi_debug/group_number_stats";
    let mut groups = 0;
    for hint in 0..=5 {
        fs::write(GROUPS, "0").with_context(|| format!("cannot write {GROUPS}"))?;
        side.note(
            format!("{key} hint {hint}"),
            outcome(sys::set_write_hint(disk.file(), hint)),
        );
        disk.write(hint * 8, &pattern(hint, 0, 8))?;
        disk.write(hint * 8 + 1024, &pattern(hint, 0, 128))?;
        let stats = fs::read_to_string(GROUPS)?;
        // How many writes is a matter of merging; the first group takes what has no hint.
        let busy: Vec<_> = stats
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|&(group, writes)| group != "0" && writes != "0")
            .map(|(group, _)| group)
            .collect();
        groups += busy.len();
        side.note(format!("{key} groups of hint {hint}"), busy.join(", "));
    }
    Ok(groups)
}

/// How long data are expected to live, as the writer says, is known below.
fn write_hints(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        side.each_shape(target, Kind::Scsi(&[]), |shape, lowers| {
            let below = hinted(side, "the disk itself", &lowers[0].open()?)?;
            let device = side.device(&(shape.table)(&side.target, lowers))?;
            side.note(
                format!("{} streams", shape.name),
                sysfs::file(&device.kernel_name(), "queue/max_write_streams")
                    .unwrap_or_else(|_| "none".into()),
            );
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let through = hinted(side, shape.name, &disk)?;
            ensure!(below > 0, "the disk does not tell hints apart");
            ensure!(through > 0, "no hint arrived");
            Ok(())
        })
    })
}
