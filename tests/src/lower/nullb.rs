// SPDX-License-Identifier: GPL-2.0

//! `null_blk` devices, made through configfs.

use super::{check_released, Guard, Lower};
use crate::cleanup;
use crate::module::modprobe;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const ROOT: &str = "/sys/kernel/config/nullb";

/// Attributes of a `null_blk` device, by their names in configfs.
pub type NullBlk = &'static [(&'static str, u64)];

static SERIAL: AtomicU32 = AtomicU32::new(0);

struct Group {
    dir: PathBuf,
    node: PathBuf,
}

impl Guard for Group {}

impl Drop for Group {
    fn drop(&mut self) {
        check_released(&self.node);
        let gone = fs::write(self.dir.join("power"), "0").and_then(|()| fs::remove_dir(&self.dir));
        if let Err(e) = gone {
            cleanup::left_behind(self.dir.display().to_string(), e);
        }
    }
}

/// A `null_blk` device. `size` is in MiB, and 64 unless given.
pub fn null(attributes: NullBlk) -> Result<Lower> {
    if !Path::new(ROOT).exists() {
        modprobe("null_blk", &["nr_devices=0".into(), "poll_queues=1".into()])?;
    }
    let name = format!("nulldmr{}", SERIAL.fetch_add(1, Ordering::Relaxed));
    let dir = Path::new(ROOT).join(&name);
    fs::create_dir(&dir).context("cannot create a null_blk device: is configfs mounted?")?;
    let group = Group {
        node: Path::new("/dev").join(&name),
        dir,
    };
    for (attribute, value) in [("size", 64)]
        .iter()
        .chain(attributes)
        .chain(&[("power", 1)])
    {
        fs::write(group.dir.join(attribute), value.to_string())
            .with_context(|| format!("null_blk does not take {attribute}={value}"))?;
    }
    Lower::new(group.node.clone(), group)
}
