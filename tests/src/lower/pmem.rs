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
    let bus = Path::new(BUS);
    // Its number is not always 0: looking at the namespace takes one, too, if at the same time.
    let seed = fs::read_to_string(bus.join("devices/region0/pfn_seed"))
        .context("cannot prepare pmem0 for DAX: its region has no seed")?;
    let seed = seed.trim();
    let set = |file: String, value: &str| {
        fs::write(bus.join(&file), value)
            .with_context(|| format!("cannot prepare pmem0 for DAX: writing {value} to {file}"))
    };
    set("drivers/nd_pmem/unbind".to_owned(), "namespace0.0")?;
    for (attribute, value) in [
        ("mode", "ram"),
        ("uuid", "8f5e9a52-5f0c-4f0e-9c55-6b1d35c7a1d0"),
        ("namespace", "namespace0.0"),
    ] {
        set(format!("devices/{seed}/{attribute}"), value)?;
    }
    set("drivers/nd_pmem/bind".to_owned(), seed)
}
