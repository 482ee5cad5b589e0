// SPDX-License-Identifier: GPL-2.0

//! What sysfs says of the mapped device: the limits of its queue first of all.

use super::{loop_of, ZONED};
use crate::case::{case, Case, Ctx};
use crate::dm::{outcome, MappedDevice, Suspend};
use crate::sysfs;
use crate::twin::{Kind, Side, Target};
use anyhow::Result;

/// Lower devices, each with limits of its own.
const KINDS: &[(&str, Kind)] = &[
    ("ram", Kind::Ram),
    ("loop_512", loop_of(512)),
    ("loop_4096", loop_of(4096)),
    ("null", Kind::Null(&[])),
    (
        "null_4096",
        Kind::Null(&[("blocksize", 4096), ("max_sectors", 120)]),
    ),
    (
        "null_discard",
        Kind::Null(&[("memory_backed", 1), ("discard", 1)]),
    ),
    (
        "null_cache",
        Kind::Null(&[("memory_backed", 1), ("cache_size", 1)]),
    ),
    (
        "null_cache_no_fua",
        Kind::Null(&[("memory_backed", 1), ("cache_size", 1), ("fua", 0)]),
    ),
    (
        "null_rotational",
        Kind::Null(&[("rotational", 1), ("blocksize", 1024)]),
    ),
    ("null_virt_boundary", Kind::Null(&[("virt_boundary", 1)])),
    (
        "null_bio",
        Kind::Null(&[("blocking", 1), ("submit_queues", 2)]),
    ),
    ("null_poll", Kind::Null(&[("poll_queues", 1)])),
    ("zoned", ZONED),
    (
        "zoned_append_emulated",
        Kind::Null(&[
            ("zoned", 1),
            ("zone_size", 4),
            ("zone_append_max_sectors", 0),
        ]),
    ),
    ("scsi", Kind::Scsi(&[])),
    (
        "scsi_4096_unmap",
        Kind::Scsi(&[
            "sector_size=4096",
            "physblk_exp=1",
            "lbpu=1",
            "lbpws=1",
            "unmap_granularity=8",
            "unmap_alignment=4",
        ]),
    ),
    (
        "scsi_write_same",
        Kind::Scsi(&[
            "lbpws10=1",
            "write_same_length=256",
            "opt_blks=64",
            "opt_xferlen_exp=3",
        ]),
    ),
    (
        "scsi_misaligned",
        Kind::Scsi(&["physblk_exp=3", "lowest_aligned=7"]),
    ),
    ("scsi_integrity", Kind::Scsi(&["dif=1", "dix=1"])),
    (
        "scsi_integrity_type3_4096",
        Kind::Scsi(&["dif=3", "dix=1", "sector_size=4096"]),
    ),
    ("scsi_atomic", Kind::Scsi(&["atomic_wr=1"])),
    (
        "scsi_zoned",
        Kind::Scsi(&["zbc=managed", "zone_size_mb=4", "zone_nr_conv=2"]),
    ),
    (
        "scsi_host_aware",
        Kind::Scsi(&["zbc=aware", "zone_size_mb=4"]),
    ),
    ("virtio", Kind::Virtio),
    ("pmem", Kind::Pmem),
];

/// Files that count something or that are different on each device.
const VARYING: &[&str] = &["stat", "inflight", "diskseq", "uevent"];

pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let name = |kind: &str| format!("{}::limits::{kind}", target.name);
    super::kinds(target, KINDS)
        .iter()
        .map(|&(kind_name, kind)| case(name(kind_name), move |ctx| equal(ctx, target, kind)))
        .collect()
}

fn equal(ctx: &Ctx, target: &'static Target, kind: Kind) -> Result<()> {
    target.compare(ctx, |side| {
        let lowers = side.lowers_for(target, kind)?;
        // One device takes table after table: what it stacked for the last one
        // must not be seen in the next.
        let device = side.empty_device()?;
        for shape in target.fitting(kind) {
            let key = shape.name;
            let table = (shape.table)(&side.target, &lowers[..shape.lowers]);
            // Not every shape fits every device; refusal has to be the same too.
            side.note(
                format!("{key} swap"),
                outcome(device.swap(&table, Suspend::Flush)),
            );
            side.note_log(&format!("{key} log"), "^device-mapper: ")?;
            device.resume()?;
            note(side, key, &device)?;
        }
        side.note("a table is live", device.is_active()?);
        Ok(())
    })
}

fn note(side: &Side, key: &str, device: &MappedDevice) -> Result<()> {
    let name = device.kernel_name();
    // The disk comes with the first table that the kernel takes.
    let there = sysfs::exists(&name);
    side.note(format!("{key}: in sysfs"), there);
    for dir in ["", "queue", "integrity", "dm"] {
        let files = match sysfs::dir(&name, dir) {
            Ok(files) => files,
            Err(_) if !there || dir == "integrity" => Vec::new(),
            Err(e) => return Err(e),
        };
        for (file, value) in files {
            if !VARYING.contains(&file.as_str()) {
                side.note(format!("{key}: {dir}/{file}"), value);
            }
        }
    }
    Ok(())
}
