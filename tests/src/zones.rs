// SPDX-License-Identifier: GPL-2.0

//! Zones of a zoned block device.

use crate::sys;
use std::fs::File;
use std::io;

/// A zone, as `BLKREPORTZONE` tells it (`struct blk_zone`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// First sector.
    pub start: u64,
    /// Length in sectors.
    pub len: u64,
    /// Sector of the write pointer.
    pub wp: u64,
    /// `BLK_ZONE_TYPE_*`.
    pub kind: u8,
    /// `BLK_ZONE_COND_*`.
    pub cond: u8,
    /// Sectors that can be written.
    pub capacity: u64,
    /// Whether it should be reset, and whether it has unusual resources.
    pub flags: [u8; 2],
}

impl Zone {
    fn parse(raw: &[u8; 64]) -> Zone {
        let word =
            |i: usize| u64::from_ne_bytes(raw[i * 8..][..8].try_into().expect("eight bytes"));
        Zone {
            start: word(0),
            len: word(1),
            wp: word(2),
            kind: raw[24],
            cond: raw[25],
            flags: [raw[26], raw[27]],
            capacity: word(4),
        }
    }
}

/// Up to `count` zones from the one on that holds `sector`.
pub fn report(file: &File, sector: u64, count: u32) -> io::Result<Vec<Zone>> {
    let zones = sys::report_zones(file, sector, count)?;
    Ok(zones.iter().map(Zone::parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_parsed() {
        let mut raw = [0; 64];
        raw[..8].copy_from_slice(&2048_u64.to_ne_bytes());
        raw[8..16].copy_from_slice(&1024_u64.to_ne_bytes());
        raw[16..24].copy_from_slice(&2056_u64.to_ne_bytes());
        raw[24..28].copy_from_slice(&[2, 1, 0, 1]);
        raw[32..40].copy_from_slice(&512_u64.to_ne_bytes());
        let zone = Zone::parse(&raw);
        assert_eq!((zone.start, zone.len, zone.wp), (2048, 1024, 2056));
        assert_eq!((zone.kind, zone.cond, zone.flags), (2, 1, [0, 1]));
        assert_eq!(zone.capacity, 512);
    }
}
