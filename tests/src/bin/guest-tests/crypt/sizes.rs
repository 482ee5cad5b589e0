// SPDX-License-Identifier: GPL-2.0

//! How large the requests to the lower device are: what the parameters of the
//! module say.

use super::{Params, CRYPT};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, MappedDevice};
use dm_rust_tests::scenario::MIB;
use dm_rust_tests::setting::Setting;
use dm_rust_tests::sysfs;
use dm_rust_tests::twin::{Kind, Side};

/// Sizes in bytes, for the parameters.
const SIZES: &[&str] = &["0", "1", "4096", "5000", "65536", "131072", "1048576"];

const OPTIONS: &[&str] = &["", "1 sector_size:4096"];

pub fn cases() -> Vec<Case> {
    vec![case("crypt::sizes::parameters", parameters).limit(120)]
}

/// The parameters of the module whose target a side uses.
fn files(ours: bool) -> [&'static str; 2] {
    if ours {
        [
            "/sys/module/dm_rust/parameters/max_read_size",
            "/sys/module/dm_rust/parameters/max_write_size",
        ]
    } else {
        [
            "/sys/module/dm_crypt/parameters/max_read_size",
            "/sys/module/dm_crypt/parameters/max_write_size",
        ]
    }
}

/// Reads and writes that a device has completed.
fn completed(device: &MappedDevice) -> Result<[u64; 2]> {
    let stat = sysfs::file(&device.kernel_name(), "stat")?;
    let numbers: Vec<u64> = stat
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("the statistics are not numbers")?;
    match numbers[..] {
        [reads, _, _, _, writes, ..] => Ok([reads, writes]),
        _ => anyhow::bail!("the statistics are {stat:?}"),
    }
}

fn parameters(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side: &Side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let node = lower.node();
        let below = MappedDevice::create(&[line(0, 4 * MIB, "linear", format!("{node} 0"))])?;
        let ours = side.ours && side.target != CRYPT.name;
        for options in OPTIONS {
            let params = Params {
                options,
                ..Params::new("aes-xts-plain64", 64)
            };
            let below_path = below.path().display().to_string();
            let device = side.device(&[params.line(&side.target, &below_path, 4 * MIB)])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            for (i, file) in files(ours).into_iter().enumerate() {
                for size in SIZES {
                    let setting = Setting::new(file, size)?;
                    let before = completed(&below)?;
                    let data = pattern(1, 0, 2 * MIB);
                    disk.write(0, &data)?;
                    ensure!(disk.read(0, 2 * MIB)? == data, "other data came back");
                    let after = completed(&below)?;
                    let [reads, writes] = [after[0] - before[0], after[1] - before[1]];
                    let name = ["max_read_size", "max_write_size"][i];
                    side.note(
                        format!("{options} {name}={size}"),
                        format!("{reads} reads, {writes} writes"),
                    );
                    drop(setting);
                }
            }
        }
        Ok(())
    })?;
    // The comparison means something: a small limit makes more requests than none.
    let lower = Kind::Ram.make()?;
    let node = lower.node();
    let below = MappedDevice::create(&[line(0, 4 * MIB, "linear", format!("{node} 0"))])?;
    let own = ctx.env.target(CRYPT.name);
    let params = Params::new("aes-xts-plain64", 64);
    let table = params.line(&own, &below.path().display().to_string(), 4 * MIB);
    let device = MappedDevice::create(&[table])?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    let mut counts = Vec::new();
    for size in ["0", "4096"] {
        let _setting = Setting::new(files(own != CRYPT.name)[0], size)?;
        let before = completed(&below)?[0];
        disk.read(0, 2 * MIB)?;
        counts.push(completed(&below)?[0] - before);
    }
    ensure!(counts[1] > counts[0], "reads were not cut: {counts:?}");
    Ok(())
}
