// SPDX-License-Identifier: GPL-2.0

//! What should be on the lower devices.

use crate::disk::{expect_equal, pattern, Disk};
use crate::lower::Lower;
use crate::SECTOR;
use anyhow::{ensure, Context, Result};

/// Where a sector of the mapped device is: the index of a lower device, and a
/// sector there.
pub type Place = (usize, u64);

/// Plain memory in the place of the lower devices.
pub struct Model {
    place: Box<dyn Fn(u64) -> Place>,
    sectors: u64,
    lowers: Vec<Vec<u8>>,
}

impl Model {
    /// A mapped device of `sectors` sectors on `lowers` devices, of which the
    /// first `region` sectors are watched. All of it reads as zeroes.
    pub fn new(
        sectors: u64,
        lowers: usize,
        region: u64,
        place: impl Fn(u64) -> Place + 'static,
    ) -> Model {
        Model {
            place: Box::new(place),
            sectors,
            lowers: vec![vec![0; (region * SECTOR) as usize]; lowers],
        }
    }

    fn bytes(&mut self, sector: u64) -> &mut [u8] {
        let (lower, at) = (self.place)(sector);
        let at = (at * SECTOR) as usize;
        &mut self.lowers[lower][at..at + SECTOR as usize]
    }

    /// What a write does.
    pub fn write(&mut self, sector: u64, data: &[u8]) {
        for (i, bytes) in data.chunks(SECTOR as usize).enumerate() {
            self.bytes(sector + i as u64).copy_from_slice(bytes);
        }
    }

    /// What a read returns.
    pub fn read(&mut self, sector: u64, count: u64) -> Vec<u8> {
        let mut data = Vec::with_capacity((count * SECTOR) as usize);
        for sector in sector..sector + count {
            data.extend_from_slice(self.bytes(sector));
        }
        data
    }

    /// Compares the watched part of each lower device, byte for byte.
    pub fn check(&self, lowers: &[Lower]) -> Result<()> {
        for (lower, wanted) in lowers.iter().zip(&self.lowers) {
            let disk = lower.open()?;
            let found = disk.read(0, wanted.len() as u64 / SECTOR)?;
            expect_equal(&found, wanted, 0).with_context(|| lower.node())?;
        }
        Ok(())
    }

    /// Random reads and writes of 1 to `most` sectors, in multiples of `unit`,
    /// each read checked.
    pub fn random_io(
        &mut self,
        disk: &Disk,
        rng: &mut fastrand::Rng,
        rounds: u32,
        unit: u64,
        most: u64,
    ) -> Result<()> {
        ensure!(self.sectors >= unit, "the device is smaller than one unit");
        for round in 0..rounds {
            let units = rng.u64(1..=(most / unit).min(self.sectors / unit));
            let start = rng.u64(0..=self.sectors / unit - units) * unit;
            let count = units * unit;
            if rng.bool() {
                let data = pattern(u64::from(round) + 1, start, count);
                disk.write(start, &data)
                    .with_context(|| format!("writing {count} sectors at {start}"))?;
                self.write(start, &data);
            } else {
                let found = disk
                    .read(start, count)
                    .with_context(|| format!("reading {count} sectors at {start}"))?;
                expect_equal(&found, &self.read(start, count), start)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_go_where_the_map_says() {
        // Two devices in turn, from sector 10 of each on.
        let mut model = Model::new(8, 2, 20, |s| ((s % 2) as usize, 10 + s / 2));
        let data = pattern(3, 0, 4);
        model.write(1, &data);
        assert_eq!(model.read(1, 4), data);
        assert_eq!(model.lowers[1][10 * 512..][..512], data[..512]);
        assert_eq!(model.lowers[0][11 * 512..][..512], data[512..1024]);
        assert!(model.read(0, 1).iter().all(|b| *b == 0));
    }
}
