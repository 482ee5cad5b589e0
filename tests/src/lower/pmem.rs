// SPDX-License-Identifier: GPL-2.0

//! The emulated persistent-memory device.

use super::{machine, Lower};
use crate::{sysfs, SECTOR};
use anyhow::{ensure, Context, Result};
use std::fs;
use std::path::Path;

const BUS: &str = "/sys/bus/nd";

/// The persistent-memory device, made able to do DAX, its first 64 MiB zeroed.
///
/// # Errors
/// [`crate::case::Skip`] on a boot without one.
pub fn pmem() -> Result<Lower> {
    const NODE: &str = "/dev/pmem0";
    const ADVICE: &str = "boot with an emulated nvdimm";
    machine(NODE, ADVICE)?;
    if sysfs::file("pmem0", "queue/dax")? != "1" {
        enable_dax()?;
    }
    let lower = machine(NODE, ADVICE)?;
    ensure!(
        sysfs::file("pmem0", "queue/dax")? == "1",
        "pmem0 does no DAX: see the kernel log"
    );
    let disk = lower.open()?;
    let used = lower.sectors().min(64 * 2048);
    disk.write(0, &vec![0; (used * SECTOR) as usize])?;
    Ok(lower)
}

/// What `ndctl create-namespace --mode=fsdax --map=mem` does: a namespace as the
/// firmware describes it has no `struct page`s, without which there is no DAX.
fn enable_dax() -> Result<()> {
    for (file, value) in [
        ("drivers/nd_pmem/unbind", "namespace0.0"),
        ("devices/pfn0.0/mode", "ram"),
        ("devices/pfn0.0/align", "2097152"),
        (
            "devices/pfn0.0/uuid",
            "8f5e9a52-5f0c-4f0e-9c55-6b1d35c7a1d0",
        ),
        ("devices/pfn0.0/namespace", "namespace0.0"),
        ("drivers/nd_pmem/bind", "pfn0.0"),
    ] {
        fs::write(Path::new(BUS).join(file), value)
            .with_context(|| format!("cannot prepare pmem0 for DAX: writing {value} to {file}"))?;
    }
    Ok(())
}
