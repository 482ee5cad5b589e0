// SPDX-License-Identifier: GPL-2.0

//! RAM disks (`brd`), from a pool that is loaded once.

use super::{check_released, discard_all, Guard, Lower};
use crate::module::modprobe;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, Once};

const COUNT: usize = 8;

/// Size of each RAM disk in sectors (32 MiB).
pub const SECTORS: u64 = 65_536;

static LOAD: Once = Once::new();
static TAKEN: Mutex<[bool; COUNT]> = Mutex::new([false; COUNT]);

fn taken() -> MutexGuard<'static, [bool; COUNT]> {
    TAKEN.lock().unwrap_or_else(|e| e.into_inner())
}

struct Slot(usize);

impl Guard for Slot {}

fn node(index: usize) -> PathBuf {
    format!("/dev/ram{index}").into()
}

impl Drop for Slot {
    fn drop(&mut self) {
        check_released(&node(self.0));
        taken()[self.0] = false;
    }
}

/// A RAM disk of [`SECTORS`] zeroed sectors; it has 512-byte logical blocks.
pub fn ram() -> Result<Lower> {
    let mut loaded = Ok(());
    LOAD.call_once(|| {
        let parameters = [format!("rd_nr={COUNT}"), format!("rd_size={}", SECTORS / 2)];
        loaded = modprobe("brd", &parameters);
    });
    loaded?;
    let index = {
        let mut taken = taken();
        let free = taken.iter().position(|t| !t);
        let index = free.context("all RAM disks are in use: raise COUNT")?;
        taken[index] = true;
        index
    };
    let slot = Slot(index);
    discard_all(&node(index))?;
    Lower::new(node(index), slot)
}
