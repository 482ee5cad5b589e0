// SPDX-License-Identifier: GPL-2.0

//! A volume group for the tests of the tool.

use anyhow::Result;
use dm_rust_tests::lower::Lower;
use dm_rust_tests::{cleanup, process};

/// For a guest without udev, whose root cannot be written.
const CONFIG: &str = "devices { dir=\"/dev\" scan=[\"/dev\"] obtain_device_list_from_udev=0 \
    external_device_info_source=\"none\" use_devicesfile=0 } \
    activation { udev_sync=0 udev_rules=0 monitoring=0 } \
    backup { backup=0 archive=0 } global { locking_dir=\"/run/lock/lvm\" event_activation=0 }";

const GROUP: &str = "dmrtool";

/// Runs a command of LVM.
pub fn lvm(args: &[&str]) -> Result<String> {
    let (command, rest) = args.split_first().expect("a command of LVM");
    let mut all = vec![*command, "--config", CONFIG];
    all.extend(rest);
    process::run("lvm", &all)
}

/// A volume group; it is gone when this is dropped.
pub struct Group;

impl Group {
    pub fn new(disks: &[&Lower]) -> Result<Group> {
        let nodes: Vec<_> = disks.iter().map(|disk| disk.node()).collect();
        let mut args = vec!["vgcreate", "--yes", "--quiet", GROUP];
        args.extend(nodes.iter().map(String::as_str));
        lvm(&args)?;
        Ok(Group)
    }

    /// Makes a volume of 16 MiB, and gives its name in `/dev/mapper`.
    pub fn volume(&self, name: &str, options: &[&str]) -> Result<String> {
        let mut args = vec!["lvcreate", "--yes", "--quiet", "--size=16m", "--name", name];
        args.extend(["--wipesignatures=n", "--zero=n"]);
        args.extend(options);
        args.push(GROUP);
        lvm(&args)?;
        Ok(format!("{GROUP}-{name}"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(e) = lvm(&["vgremove", "--force", "--yes", "--quiet", GROUP]) {
            cleanup::left_behind(format!("volume group {GROUP}"), format!("{e:#}"));
        }
    }
}
