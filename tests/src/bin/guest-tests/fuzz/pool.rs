// SPDX-License-Identifier: GPL-2.0

//! The lower devices of one side, made once.

use anyhow::{bail, Context, Result};
use dm_rust_tests::disk::{Disk, Mode};
use dm_rust_tests::dm::{line, MappedDevice};
use dm_rust_tests::fuzz::{Role, POOL, TRANSIENT};
use dm_rust_tests::lower::Lower;
use dm_rust_tests::{process, sys, SECTOR};
use rustix::fs::{major, minor, stat};
use std::fs;
use tempfile::NamedTempFile;

/// What keeps a lower device there, and takes it down.
trait Keeper {}

impl Keeper for Lower {}
impl Keeper for MappedDevice {}
/// For what nobody has to take down.
impl Keeper for () {}

/// A lower device.
pub struct Below {
    /// Its node.
    pub node: String,
    /// `major:minor`.
    pub devno: String,
    /// The kernel's name.
    pub name: String,
    /// For a look at what is on it; only where there is something to see.
    pub disk: Option<Disk>,
    _keeper: Box<dyn Keeper>,
}

impl Below {
    fn new(node: String, keeper: impl Keeper + 'static) -> Result<Below> {
        Ok(Below {
            devno: devno(&node)?,
            name: node.trim_start_matches("/dev/").to_owned(),
            node,
            disk: None,
            _keeper: Box::new(keeper),
        })
    }
}

fn devno(node: &str) -> Result<String> {
    let device = stat(node).with_context(|| format!("{node} is missing"))?;
    let number = device.st_rdev;
    Ok(format!("{}:{}", major(number), minor(number)))
}

/// The lower devices of one side, as [`POOL`] has them.
pub struct Pool {
    /// In the order of [`POOL`].
    pub devices: Vec<Below>,
}

impl Pool {
    /// Makes the devices of both sides.
    pub fn both() -> Result<[Pool; 2]> {
        // The loop devices without a file come last: their numbers are those
        // that the next one would be given.
        let empty = [NamedTempFile::new()?, NamedTempFile::new()?];
        let mut pools = [Pool::without_empty()?, Pool::without_empty()?];
        let attach = |file: &NamedTempFile| -> Result<String> {
            let path = file.path().to_string_lossy();
            let node = process::run("losetup", &["--find", "--show", &path])?;
            Ok(node.trim().to_owned())
        };
        let nodes = [attach(&empty[0])?, attach(&empty[1])?];
        for (node, pool) in nodes.into_iter().zip(&mut pools) {
            process::run("losetup", &["--detach", &node])?;
            let empty = POOL.iter().position(|s| matches!(s.role, Role::Empty));
            let place = empty.context("the pool has no empty device")?;
            pool.devices.insert(place, Below::new(node, ())?);
        }
        for (i, spec) in POOL.iter().enumerate() {
            if pools.iter().any(|p| spec.sectors != p.sectors(i)) {
                bail!("device {i} has another size than it should: {spec}");
            }
        }
        Ok(pools)
    }

    fn without_empty() -> Result<Pool> {
        let mut devices = Vec::new();
        for spec in POOL {
            devices.push(match spec.role {
                Role::Empty => continue,
                Role::Failing => {
                    let mapped = MappedDevice::create(&[line(0, spec.sectors, "error", "")])?;
                    Below::new(mapped.path().display().to_string(), mapped)?
                }
                Role::Plain(kind)
                | Role::Zoned(kind)
                | Role::ReadOnly(kind)
                | Role::Transient(kind) => {
                    let lower = kind.make()?;
                    let disk = match spec.role {
                        Role::Plain(_) | Role::Zoned(_) => Some(lower.open()?),
                        _ => None,
                    };
                    let mut below = Below::new(lower.node(), lower)?;
                    below.disk = disk;
                    below
                }
            });
        }
        Ok(Pool { devices })
    }

    fn sectors(&self, device: usize) -> u64 {
        let disk = Disk::open(self.devices[device].node.as_ref(), Mode::ReadOnly);
        disk.ok().and_then(|d| d.sectors().ok()).unwrap_or(u64::MAX)
    }

    /// Fills the devices with data that differ from sector to sector and from
    /// device to device, the same on both sides. Only their ends are filled: a
    /// large one is empty in the middle.
    pub fn fill(&self, noise: &[u8], wanted: impl Fn(usize) -> bool) -> Result<()> {
        let ends = noise.len() as u64 / SECTOR;
        for (i, (below, spec)) in self.devices.iter().zip(POOL).enumerate() {
            let Some(disk) = below.disk.as_ref().filter(|_| wanted(i)) else {
                continue;
            };
            if let Role::Zoned(_) = spec.role {
                sys::BLKRESETZONE.range(disk.file(), 0, spec.sectors)?;
                disk.write(0, &vec![0; 2048 * SECTOR as usize])?;
                continue;
            }
            if spec.sectors > 2 * ends {
                sys::BLKDISCARD.range(disk.file(), 0, spec.sectors * SECTOR)?;
            }
            for start in [0, spec.sectors.saturating_sub(ends)] {
                let count = ends.min(spec.sectors - start);
                let mut data = noise[..(count * SECTOR) as usize].to_vec();
                stamp(&mut data, i as u64 + 1, start);
                disk.write(start, &data)?;
            }
        }
        Ok(())
    }

    /// Takes the device [`TRANSIENT`] away, whoever holds it, or puts it back.
    pub fn plug(&mut self, there: bool) -> Result<()> {
        let below = &mut self.devices[TRANSIENT];
        let power = format!("/sys/kernel/config/nullb/{}/power", below.name);
        fs::write(&power, if there { "1" } else { "0" })
            .with_context(|| format!("cannot write {power}"))?;
        if there {
            below.devno = devno(&below.node)?;
        }
        Ok(())
    }
}

/// Marks each sector of `data`, to be written from `start` on.
pub fn stamp(data: &mut [u8], mark: u64, start: u64) {
    for (i, sector) in data.chunks_mut(SECTOR as usize).enumerate() {
        sector[..8].copy_from_slice(&mark.to_le_bytes());
        sector[8..16].copy_from_slice(&(start + i as u64).to_le_bytes());
    }
}
