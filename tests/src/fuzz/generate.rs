// SPDX-License-Identifier: GPL-2.0

//! Valid tables, and wild ones.

use super::tokens::{any, device_form, edge, pick};
use super::{Role, POOL, TARGETS, TRANSIENT};
use crate::dm::{line, Line};
use fastrand::Rng;

/// Sectors in a zone of the zoned device.
const ZONE: u64 = 2048;

/// Sectors at either end of a device that are filled, at least.
const FILLED: u64 = super::MOST;

struct Generator<'a> {
    rng: &'a mut Rng,
    /// Everything begins and ends at multiples of this, in sectors.
    unit: u64,
    /// Devices to choose from.
    devices: Vec<usize>,
    /// Device, first sector and length of what is mapped already: nothing is
    /// mapped twice, see [`super::overlap`].
    taken: Vec<(usize, u64, u64)>,
    table: Vec<Line>,
    at: u64,
}

/// A table that the kernel takes. With `vanish` it is on the device that can.
pub fn valid(rng: &mut Rng, read_only: bool, vanish: bool) -> Vec<Line> {
    let zoned = !vanish && rng.u32(..40) == 0;
    let unit = match zoned {
        true => ZONE,
        false => pick(rng, &[1, 1, 8, 8, 8, 16]),
    };
    let mut devices: Vec<usize> = Vec::new();
    for (i, spec) in POOL.iter().enumerate() {
        let share = match spec.role {
            Role::Zoned(_) => u32::from(zoned) * 16,
            _ if zoned => 0,
            Role::Plain(_) => 16,
            Role::ReadOnly(_) => u32::from(read_only) * 16,
            Role::Empty | Role::Failing => 1,
            Role::Transient(_) => 0,
        };
        // A rare one is not there at all in most tables.
        if unit % spec.block == 0 && rng.u32(..16) < share {
            devices.push(i);
        }
    }
    if vanish {
        devices.push(TRANSIENT);
    }
    let mut generator = Generator {
        rng,
        unit,
        devices,
        taken: Vec::new(),
        table: Vec::new(),
        at: 0,
    };
    if vanish {
        generator.linear(TRANSIENT);
    }
    let lines = match generator.rng.u32(..32) {
        0 => 40,
        n @ 1..16 => n / 3,
        _ => 0,
    };
    for _ in 0..=lines {
        generator.line();
    }
    generator.table
}

/// A table that the kernel takes, most lines of which are encrypted.
pub fn encrypted(rng: &mut Rng, read_only: bool) -> Vec<Line> {
    let unit = pick(rng, &[1, 8, 8]);
    let mut devices: Vec<usize> = Vec::new();
    for (i, spec) in POOL.iter().enumerate() {
        let share = match spec.role {
            Role::Plain(_) => 16,
            Role::ReadOnly(_) => u32::from(read_only) * 16,
            Role::Failing => 1,
            _ => 0,
        };
        if unit % spec.block == 0 && rng.u32(..16) < share {
            devices.push(i);
        }
    }
    let mut generator = Generator {
        rng,
        unit,
        devices,
        taken: Vec::new(),
        table: Vec::new(),
        at: 0,
    };
    for i in 0..pick(generator.rng, &[1, 1, 1, 2, 3]) {
        let device = pick(generator.rng, &generator.devices);
        match generator.rng.u32(..6) {
            0 if i > 0 => generator.linear(device),
            1 if i > 0 => generator.error(device),
            _ => generator.crypt(device),
        }
    }
    generator.table
}

impl Generator<'_> {
    fn crypt(&mut self, device: usize) {
        let len = self.length();
        match self.place(device, len) {
            Some(start) => {
                let device = device_form(self.rng, device);
                let params = super::crypt::params(self.rng, &device, start, self.unit);
                self.push(len, super::CRYPT, params);
            }
            None => self.push(len, "error", String::new()),
        }
    }

    fn line(&mut self) {
        let device = pick(self.rng, &self.devices);
        match self.rng.u32(..13) {
            0..4 => self.linear(device),
            4..8 if self.unit < ZONE => self.striped(),
            9 => self.one_device(device, "flakey"),
            10 => self.one_device(device, "delay"),
            11 if self.unit < ZONE => self.one_device(device, "dust"),
            8 if self.unit < ZONE => {
                let len = self.length();
                self.push(len, "zero", String::new());
            }
            _ => self.error(device),
        }
    }

    fn push(&mut self, len: u64, target: &str, params: String) {
        self.table.push(line(self.at, len, target, params));
        self.at += len;
    }

    /// A length, mostly small: what is mapped is compared byte for byte.
    fn length(&mut self) -> u64 {
        let units = match (self.unit, self.rng.u32(..12)) {
            (ZONE, _) => self.rng.u64(1..=2),
            (_, 0) => 1,
            (_, 1) => self.rng.u64(40..=100),
            _ => self.rng.u64(1..40),
        };
        units * self.unit
    }

    /// A place of that length on the device where nothing is mapped yet.
    fn place(&mut self, device: usize, len: u64) -> Option<u64> {
        let size = match POOL[device].role {
            // Anything is accepted there.
            Role::Empty => 1 << 20,
            _ => POOL[device].sectors,
        };
        let most = size.checked_sub(len)? / self.unit;
        for _ in 0..8 {
            let start = self.unit
                * match self.rng.u32(..8) {
                    0 => 0,
                    1 => most,
                    // Where there are data, see the tests.
                    2..=4 => self.rng.u64(0..=most.min(FILLED / self.unit)),
                    5 => most - self.rng.u64(0..=most.min(FILLED / self.unit)),
                    _ => self.rng.u64(0..=most),
                };
            let free =
                |(d, s, l): &(usize, u64, u64)| *d != device || start + len <= *s || s + l <= start;
            if self.taken.iter().all(free) {
                self.taken.push((device, start, len));
                return Some(start);
            }
        }
        None
    }

    fn linear(&mut self, device: usize) {
        let len = self.length();
        match self.place(device, len) {
            Some(start) => {
                let params = format!("{} {start}", device_form(self.rng, device));
                self.push(len, "linear", params);
            }
            None => self.push(len, "error", String::new()),
        }
    }

    /// A line of a target that maps as `linear` does, and does something beside that.
    fn one_device(&mut self, device: usize, target: &str) {
        let len = self.length();
        let Some(start) = self.place(device, len) else {
            return self.push(len, "error", String::new());
        };
        let device = device_form(self.rng, device);
        let more = match target {
            // The same at any time.
            "flakey" => pick(
                self.rng,
                &[
                    "3600 0",
                    "0 1",
                    "0 1 1 error_reads",
                    "0 1 1 error_writes",
                    "0 1 1 drop_writes",
                    "0 1 5 corrupt_bio_byte 9 r 7 0",
                    "0 1 5 corrupt_bio_byte 513 w 7 0",
                ],
            )
            .to_owned(),
            "delay" => match self.rng.u32(..4) {
                0 => format!("0 {device} {start} 1"),
                1 => format!("1 {device} {start} 0 {device} {start} 2"),
                _ => pick(self.rng, &["0", "1"]).to_owned(),
            },
            _ => {
                // A block is no larger than the line.
                let most = len.checked_ilog2().unwrap_or(0).min(6);
                (512_u64 << self.rng.u32(..=most)).to_string()
            }
        };
        self.push(len, target, format!("{device} {start} {more}"));
    }

    fn striped(&mut self) {
        let count = match self.rng.u32(..16) {
            0 => self.rng.u64(5..=16),
            _ => self.rng.u64(1..=4),
        };
        let chunk = self.unit
            * match self.rng.u32(..3) {
                0 => 1 << self.rng.u32(..6),
                1 => self.rng.u64(1..=24),
                _ => 1 << self.rng.u32(..3),
            };
        let width = chunk * self.rng.u64(1..=(256 / chunk).clamp(1, 12));
        let mut params = format!("{count} {chunk}");
        for _ in 0..count {
            let device = pick(self.rng, &self.devices);
            let Some(start) = self.place(device, width) else {
                return self.push(width, "error", String::new());
            };
            params += &format!(" {} {start}", device_form(self.rng, device));
        }
        self.push(count * width, "striped", params);
    }

    fn error(&mut self, device: usize) {
        let len = self.length();
        let params = match self.rng.u32(..3) {
            // On a zoned device all lines have to have zones.
            0 if self.unit < ZONE => String::new(),
            1 if self.unit < ZONE => pick(self.rng, &["x", "1 2 3", "{0} 0 0"]).to_owned(),
            _ => match self.place(device, len) {
                Some(start) => format!("{} {start}", device_form(self.rng, device)),
                None => String::new(),
            },
        };
        self.push(len, "error", params);
    }
}

/// A table of anything.
pub fn wild(rng: &mut Rng) -> Vec<Line> {
    let mut at = 0_u64;
    let mut table = Vec::new();
    for _ in 0..pick(rng, &[0, 1, 1, 1, 1, 1, 1, 2, 2, 3, 5]) {
        let len = match rng.u32(..4) {
            0 => edge(rng),
            1 => rng.u64(1..64) * 8,
            2 => rng.u64(1..16) * 64,
            _ => rng.u64(..1024),
        };
        let start = match rng.u32(..12) {
            0 => edge(rng),
            _ => at,
        };
        let target = pick(rng, &TARGETS);
        let mut tokens: Vec<_> = Vec::new();
        if target == "striped" && rng.bool() {
            // Enough of the form to come beyond the first check.
            let count = rng.u64(1..4);
            tokens.extend([count.to_string(), pick(rng, &["1", "8", "3", "16"]).into()]);
            tokens.extend((0..count * 2).map(|_| any(rng)));
        } else {
            let count = pick(rng, &[0, 1, 2, 2, 2, 2, 3, 4, 4, 6, 8, 20]);
            tokens.extend((0..count).map(|_| any(rng)));
        }
        let separator = pick(rng, &[" ", " ", " ", " ", "  ", "\t", "\n", "\u{a0}"]);
        table.push(line(start, len, target, tokens.join(separator)));
        at = start.wrapping_add(len);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{extents, overlap};

    /// Replaces devices by what the status shows, so that it can be read.
    fn status(table: &[Line]) -> Vec<Line> {
        let mut table = table.to_vec();
        for line in &mut table {
            line.params = line.params.replace("{#", "{");
        }
        table
    }

    #[test]
    fn valid_tables_are_valid() {
        let mut rng = Rng::with_seed(3);
        for round in 0..5000 {
            let table = valid(&mut rng, round % 5 == 0, round % 7 == 0);
            let mut at = 0;
            for line in &table {
                assert_eq!(line.start, at, "{table:?}");
                assert!(line.len > 0);
                at += line.len;
            }
            let extents = extents(&status(&table)).unwrap();
            // Requests of different kinds go different ways to the same place.
            let ways = table.iter().any(|line| line.target == "delay");
            assert!(ways || !overlap(&extents), "{table:?}");
            for extent in extents {
                let device = extent.device.trim_matches(['{', '}']);
                let spec = POOL[device.parse::<usize>().unwrap()];
                let size = spec.sectors;
                assert!(size == 0 || extent.start + extent.len <= size, "{table:?}");
                assert_eq!(extent.start % spec.block, 0);
                assert_eq!(extent.len % spec.block, 0);
            }
        }
    }

    #[test]
    fn stripes_divide_their_line() {
        let mut rng = Rng::with_seed(4);
        let tables = (0..2000).flat_map(|_| valid(&mut rng, false, false));
        for line in tables.filter(|l| l.target == "striped") {
            let words: Vec<_> = line.params.split(' ').collect();
            let (count, chunk): (u64, u64) = (words[0].parse().unwrap(), words[1].parse().unwrap());
            assert_eq!(line.len % (count * chunk), 0, "{line}");
            assert_eq!(words.len() as u64, 2 + 2 * count, "{line}");
        }
    }
}
