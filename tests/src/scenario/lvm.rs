// SPDX-License-Identifier: GPL-2.0

//! Logical volumes with stripes, on our devices and below them.

use crate::case::{case, Case, Ctx};
use crate::dm::MappedDevice;
use crate::twin::{Kind, Target};
use crate::{cleanup, fio, fs, lower, process};
use anyhow::{ensure, Result};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Settings for a guest without udev whose root is read-only.
const CONFIG: &str = "activation { udev_sync=0 udev_rules=0 monitoring=0 } \
    backup { backup=0 archive=0 } global { locking_dir=\"/run/lock/lvm\" event_activation=0 }";

const GROUP: &str = "dmrtest";

/// What is verified on each volume.
const FIO: &[&str] = &[
    "rw=randwrite",
    "bsrange=4k-256k",
    "size=8m",
    "ioengine=libaio",
    "iodepth=8",
    "verify=crc32c",
    "verify_fatal=1",
];

/// For a target that keeps what is written.
pub fn cases(target: &'static Target) -> Vec<Case> {
    let name = |name: &str| format!("{}::lvm::{name}", target.name);
    vec![
        case(name("above"), move |ctx| above(ctx, target)),
        case(name("below"), move |ctx| below(ctx, target)),
    ]
}

/// A volume group, gone when it is dropped.
struct Group {
    config: String,
}

impl Group {
    fn new(devices: &[&Path]) -> Result<Group> {
        let nodes: Vec<_> = devices.iter().map(|d| d.to_string_lossy()).collect();
        // No other: below a mapped device lie the same bytes again.
        let mut filter = String::new();
        for node in &nodes {
            write!(filter, "\"a|^{node}$|\", ")?;
        }
        let group = Group {
            config: format!(
                "devices {{ dir=\"/dev\" scan=[\"/dev\"] obtain_device_list_from_udev=0 \
                 external_device_info_source=\"none\" use_devicesfile=0 \
                 filter=[{filter}\"r|.*|\"] }} {CONFIG}"
            ),
        };
        let mut args = vec!["vgcreate", "--yes", "--quiet", GROUP];
        args.extend(nodes.iter().map(|n| n.as_ref()));
        group.lvm(&args)?;
        Ok(group)
    }

    fn lvm(&self, args: &[&str]) -> Result<String> {
        let mut all = vec![args[0], "--config", &self.config];
        all.extend(&args[1..]);
        process::run("lvm", &all)
    }

    /// A volume of 24 MiB, which every table of the tests fits in.
    fn volume(&self, name: &str, options: &[&str]) -> Result<PathBuf> {
        let mut args = vec!["lvcreate", "--yes", "--quiet", "--size=24m", "--name", name];
        args.extend(["--wipesignatures=n", "--zero=n"]);
        args.extend(options);
        args.push(GROUP);
        self.lvm(&args)?;
        Ok(Path::new("/dev/mapper").join(format!("{GROUP}-{name}")))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(e) = self.lvm(&["vgremove", "--force", "--yes", "--quiet", GROUP]) {
            cleanup::left_behind(format!("volume group {GROUP}"), format!("{e:#}"));
        }
    }
}

/// Physical volumes on our devices; striped and linear logical ones on them.
fn above(ctx: &Ctx, target: &'static Target) -> Result<()> {
    let shape = &target.shapes[0];
    let lowers = [lower::ram()?, lower::ram()?];
    let devices = lowers.each_ref().map(|lower| {
        let table = (shape.table)(&ctx.env.target(target.name), std::slice::from_ref(lower));
        MappedDevice::create(&table)
    });
    let [first, second] = devices;
    let (first, second) = (first?, second?);
    let group = Group::new(&[&first.path(), &second.path()])?;
    for (name, options) in [
        ("striped", &["--stripes=2", "--stripesize=64k"][..]),
        ("linear", &[]),
    ] {
        let volume = group.volume(name, options)?;
        fs::make(&volume, "ext4")?;
        fio::run(&volume, FIO)?;
    }
    let deps = process::run("dmsetup", &["deps", "-o", "blkdevname", "dmrtest-striped"])?;
    for device in [&first, &second] {
        let name = device.kernel_name();
        ensure!(deps.contains(&name), "not on {name}: {deps}");
    }
    drop(group);
    Ok(())
}

/// Logical volumes with stripes, our table on them.
fn below(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        let disks = [side.lower(Kind::Ram, 0)?, side.lower(Kind::Ram, 1)?];
        let group = Group::new(&[disks[0].path(), disks[1].path()])?;
        let striped = group.volume("striped", &["--stripes=2", "--stripesize=64k"])?;
        let linear = group.volume("linear", &[])?;
        let volumes = [striped, linear].map(|v| lower::Lower::borrowed(&v));
        let [striped, linear] = volumes;
        let volumes = [striped?, linear?];
        for shape in target.fitting(Kind::Ram).filter(|s| s.lowers <= 2) {
            let table = (shape.table)(&side.target, &volumes[..shape.lowers]);
            let device = side.device(&table)?;
            let report = fio::run(&device.path(), FIO)?;
            ensure!(report.read > 0, "nothing was verified");
            side.note(shape.name, report.written);
            side.note("deps", device.deps()?.len());
        }
        side.note_log("log", "^device-mapper: ")?;
        drop(volumes);
        drop(group);
        Ok(())
    })
}
