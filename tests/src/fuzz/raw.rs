// SPDX-License-Identifier: GPL-2.0

//! Random ioctls of device-mapper, byte by byte, for a differential fuzzer.
//!
//! Each is a valid one (a [`Stock`] says of what it is made) in which none, one or several mistakes
//! are made: in the command, in `struct dm_ioctl`, in what follows it, or in how much of it is there.
//! What is of one side only stands in for both: `%` begins the names of devices, and a device number
//! is a number of a device of the side. [`Raw::dressed`] puts in what each side has.

use super::crypt;
use super::tokens::{self, pick};
use crate::dm::{line, Line};
use devicemapper_sys::*;
use fastrand::Rng;
use std::fmt;
use std::mem::{offset_of, size_of};

/// How many devices each side has at first.
pub const DEVICES: u32 = 2;

/// In-tree targets that have a counterpart.
const KNOWN: [&str; 8] = [
    "linear", "striped", "error", "zero", "flakey", "delay", "dust", "crypt",
];

/// What the names of ours begin with.
const PREFIX: &str = "rust-";

const HEADER: usize = size_of::<dm_ioctl>();
/// From here on there are data, to the kernel.
const DATA: usize = offset_of!(dm_ioctl, data);
const SPEC: usize = size_of::<dm_target_spec>();
const NAME: usize = offset_of!(dm_ioctl, name);
const UUID: usize = offset_of!(dm_ioctl, uuid);

/// In `dev`: the device of the side with the number in the last four bits.
const DEVICE_MARK: u64 = 0xd3d3_d3d3_d3d3_d3d0;

/// What stands for the letter that begins the names of the devices of a side.
const LETTER_MARK: u8 = b'%';

/// The fields of 32 bits, the last one of which is padding.
const WORDS: [usize; 9] = [
    offset_of!(dm_ioctl, version),
    offset_of!(dm_ioctl, version) + 4,
    offset_of!(dm_ioctl, version) + 8,
    offset_of!(dm_ioctl, data_size),
    offset_of!(dm_ioctl, data_start),
    offset_of!(dm_ioctl, target_count),
    offset_of!(dm_ioctl, open_count),
    offset_of!(dm_ioctl, flags),
    offset_of!(dm_ioctl, event_nr),
];

/// The largest `data_size` that is looked at, and the most targets: beyond, memory for them is asked
/// for first, and the guest has only so much.
const LARGEST: u32 = 1 << 20;
const TARGETS: u32 = 4096;
/// From these on both are refused.
const TOO_LARGE: u32 = 1 << 30;
const TOO_MANY: u32 = 1 << 20;

/// Of what ioctls are made.
pub struct Stock {
    /// Valid tables, with in-tree names.
    pub tables: Vec<Vec<Line>>,
    /// What targets can be told.
    pub messages: Vec<String>,
}

/// What a side has of its own.
#[derive(Clone, Copy, Debug)]
pub struct Wear {
    /// The major number of mapped devices.
    pub major: u32,
    /// The minor number of the side's first device, below 240.
    pub minor: u32,
    /// Begins the names of its devices.
    pub letter: u8,
    /// Begins the names of its targets.
    pub prefix: &'static str,
}

/// An ioctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// `DM_*_CMD`, or a number that is none.
    pub command: u8,
    /// The code of the ioctl: direction and size, which the kernel does not look at, as well.
    pub code: u32,
    /// What it is given.
    pub bytes: Vec<u8>,
}

impl Raw {
    /// Number `index` of a run.
    pub fn generate(run: u64, index: u64, stock: &Stock) -> Raw {
        let mut rng = Rng::with_seed(run);
        let mut rng = Rng::with_seed(rng.u64(..) ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        loop {
            let mut raw = Raw::valid(&mut rng, stock);
            let mistakes = match rng.u32(..8) {
                0 | 1 => 0,
                2..6 => 1,
                _ => rng.u32(2..6),
            };
            for _ in 0..mistakes {
                raw.slip(&mut rng, stock);
            }
            raw.restrain();
            let warns = |line: &Line| tokens::warns_in_tree(line) || crypt::warns_in_tree(line);
            if !raw.table().iter().any(|(_, line)| warns(line)) {
                return raw;
            }
        }
    }

    fn valid(rng: &mut Rng, stock: &Stock) -> Raw {
        let device = rng.u32(..DEVICES);
        let mut flags = 0;
        let mut dev = 0;
        let mut targets = 0;
        let mut uuid = String::new();
        let mut name = format!("%raw{device}");
        let mut data = Vec::new();
        let room = vec![0; pick(rng, &[0, 8, 64, 4096])];
        let command = match rng.u32(..1000) {
            0..430 => {
                let table = pick_any(rng, &stock.tables);
                targets = table.len() as u32;
                data = specs(table);
                if rng.u32(..8) == 0 {
                    flags |= DM_READONLY_FLAG;
                }
                DM_TABLE_LOAD_CMD
            }
            430..530 => {
                let kinds = [
                    0,
                    DM_STATUS_TABLE_FLAG,
                    DM_STATUS_TABLE_FLAG | DM_QUERY_INACTIVE_TABLE_FLAG,
                    DM_NOFLUSH_FLAG,
                ];
                flags |= pick(rng, &kinds);
                data = room;
                DM_TABLE_STATUS_CMD
            }
            530..640 => {
                let kinds = [
                    0,
                    0,
                    0,
                    DM_SUSPEND_FLAG,
                    DM_SUSPEND_FLAG | DM_NOFLUSH_FLAG,
                    DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG,
                ];
                flags |= pick(rng, &kinds);
                DM_DEV_SUSPEND_CMD
            }
            640..780 => {
                let sector = pick(rng, &[0, 0, 0, 0, 8, 1 << 20, u64::MAX]);
                data = [
                    &sector.to_ne_bytes(),
                    pick_any(rng, &stock.messages).as_bytes(),
                    b"\0",
                ]
                .concat();
                data.extend(room);
                DM_TARGET_MSG_CMD
            }
            780..800 => DM_TABLE_CLEAR_CMD,
            800..860 => {
                // One of those that there are at first, or one with a number of the kernel's choice.
                match rng.u32(..4) {
                    0 => name = "%raw-more".into(),
                    _ => {
                        flags |= DM_PERSISTENT_DEV_FLAG;
                        dev = DEVICE_MARK | u64::from(device);
                    }
                }
                if rng.bool() {
                    uuid = format!("%uuid-{name}");
                }
                DM_DEV_CREATE_CMD
            }
            860..880 => {
                if rng.bool() {
                    name = "%raw-more".into();
                }
                flags |= pick(rng, &[0, DM_DEFERRED_REMOVE]);
                DM_DEV_REMOVE_CMD
            }
            880..905 => {
                let new = pick(rng, &["%raw0", "%raw1", "%raw-more", "%raw-new"]);
                data = [new.as_bytes(), b"\0"].concat();
                flags |= pick(rng, &[0, DM_UUID_FLAG]);
                DM_DEV_RENAME_CMD
            }
            905..925 => DM_DEV_STATUS_CMD,
            925..940 => {
                data = room;
                DM_TABLE_DEPS_CMD
            }
            940..950 => {
                data = room;
                DM_LIST_DEVICES_CMD
            }
            950..960 => {
                data = room;
                DM_LIST_VERSIONS_CMD
            }
            960..970 => {
                name = pick(rng, &KNOWN).to_owned();
                data = room;
                DM_GET_TARGET_VERSION_CMD
            }
            970..978 => {
                data = room;
                DM_DEV_WAIT_CMD
            }
            978..984 => DM_DEV_ARM_POLL_CMD,
            984..992 => {
                data = b"1 2 3 4\0".to_vec();
                DM_DEV_SET_GEOMETRY_CMD
            }
            992..998 => DM_VERSION_CMD,
            _ => DM_REMOVE_ALL_CMD,
        };
        // A device can be named in three ways.
        if command != DM_DEV_CREATE_CMD && command != DM_GET_TARGET_VERSION_CMD {
            match rng.u32(..16) {
                0 => {
                    uuid = format!("%uuid-{name}");
                    name.clear();
                }
                1 | 2 => {
                    name.clear();
                    dev = DEVICE_MARK | u64::from(device);
                }
                _ => {}
            }
        }
        let mut raw = Raw {
            command: command as u8,
            code: 0xc138_0000 | (DM_IOCTL << 8) | command,
            bytes: vec![0; HEADER],
        };
        raw.bytes.extend(&data);
        raw.put(WORDS[0], 4_u32);
        raw.put(offset_of!(dm_ioctl, data_size), raw.bytes.len() as u32);
        raw.put(offset_of!(dm_ioctl, data_start), HEADER as u32);
        raw.put(offset_of!(dm_ioctl, target_count), targets);
        raw.put(offset_of!(dm_ioctl, flags), flags);
        raw.bytes[offset_of!(dm_ioctl, dev)..][..8].copy_from_slice(&dev.to_ne_bytes());
        raw.bytes[NAME..][..name.len()].copy_from_slice(name.as_bytes());
        raw.bytes[UUID..][..uuid.len()].copy_from_slice(uuid.as_bytes());
        raw
    }

    /// Makes one mistake, which by chance may be none.
    fn slip(&mut self, rng: &mut Rng, stock: &Stock) {
        match rng.u32(..32) {
            0..6 => {
                let at = pick(rng, &WORDS);
                self.word_slip(rng, at);
            }
            6..9 => {
                let bit = 1 << rng.u32(..32);
                let flags = self.get(offset_of!(dm_ioctl, flags));
                self.put(offset_of!(dm_ioctl, flags), flags ^ bit);
            }
            9 | 10 => {
                let dev = offset_of!(dm_ioctl, dev);
                let number = pick(rng, &[0, u64::MAX, DEVICE_MARK | 7, DEVICE_MARK, 1 << 32]);
                self.set(dev, &number.to_ne_bytes());
            }
            11 | 12 => self.name_slip(rng),
            13..16 => self.spec_slip(rng),
            16..24 => self.text_slip(rng),
            // What follows the header is not all there, or there is more.
            24 | 25 => {
                let len = rng.usize(..self.bytes.len() + 1);
                self.bytes
                    .truncate(pick(rng, &[len, DATA, HEADER, DATA - 1, 12, 0]));
            }
            26 => {
                let more = pick(rng, &[1, 7, 40, 4096]);
                let byte = pick(rng, &[0, b'x', 0xff]);
                self.bytes.resize(self.bytes.len() + more, byte);
                if rng.bool() {
                    self.put(offset_of!(dm_ioctl, data_size), self.bytes.len() as u32);
                }
            }
            // Another command, with what was meant for this one.
            27 => {
                let other = Raw::valid(rng, stock);
                self.command = other.command;
                self.code = other.code;
            }
            28 => {
                self.command = pick(rng, &[18, 19, 20, 64, 127, 255]);
                self.code = (self.code & !0xff) | u32::from(self.command);
            }
            // Direction and size of the code say nothing.
            29 => self.code ^= 1 << rng.u32(16..32),
            _ => {
                for _ in 0..rng.u32(1..9) {
                    if let Some(byte) = rng.choice(&mut self.bytes) {
                        *byte = rng.u8(..);
                    }
                }
            }
        }
    }

    fn word_slip(&mut self, rng: &mut Rng, at: usize) {
        let now = self.get(at);
        let len = self.bytes.len() as u32;
        let word = match rng.u32(..8) {
            0 => now.wrapping_add(pick(rng, &[1, 4, 7, 8, 40])),
            1 => now.wrapping_sub(pick(rng, &[1, 4, 7, 8, 40])),
            2 => pick(rng, &[0, 1, 2, 3, 100]),
            3 => len.wrapping_add(pick(rng, &[0, 1, 8, u32::MAX, u32::MAX - 39])),
            4 => (DATA as u32).wrapping_add(pick(rng, &[u32::MAX, 0, 1, 7, 8])),
            5 => 1 << rng.u32(..32),
            6 => u32::MAX - pick(rng, &[0, 1, 39, 40, HEADER as u32, len]),
            _ => rng.u32(..),
        };
        self.put(at, word);
    }

    /// In the name or the UUID.
    fn name_slip(&mut self, rng: &mut Rng) {
        let (at, len) = pick(rng, &[(NAME, 128), (UUID, 129), (NAME, 128)]);
        match rng.u32(..8) {
            0 => self.set(at, &vec![0; len]),
            1 => self.set(at, &vec![b'x'; len]),
            2 => self.set(at, &vec![b'x'; len - 1]),
            3 => self.set(at, b"%raw/0\0"),
            4 => self.set(at, b"%no-such\0"),
            5 => self.set(at, b"%raw0"),
            6 => self.set(at, b"linear\0"),
            _ => self.set(at + rng.usize(..len), &[rng.u8(..)]),
        }
    }

    /// In what says where a target lies, and where the next one begins.
    fn spec_slip(&mut self, rng: &mut Rng) {
        let specs = self.table();
        let at = match rng.choice(&specs) {
            Some((at, _)) => *at,
            None => HEADER,
        };
        match rng.u32(..8) {
            0 | 1 => self.set(at + pick(rng, &[0, 8]), &tokens::edge(rng).to_ne_bytes()),
            2..5 => {
                let mut next = [0; 4];
                if let Some(now) = self.bytes.get(at + 20..at + 24) {
                    next.copy_from_slice(now);
                }
                let now = u32::from_ne_bytes(next);
                let next = match rng.u32(..4) {
                    0 => now.wrapping_add(pick(rng, &[1, 4, 8, 16, u32::MAX - 7])),
                    1 => pick(rng, &[0, 8, SPEC as u32, u32::MAX, u32::MAX - 7, 1 << 31]),
                    2 => {
                        self.bytes.len() as u32
                            - pick(rng, &[0, 8, 40, 41]).min(self.bytes.len() as u32)
                    }
                    _ => rng.u32(..) & !7,
                };
                self.set(at + 20, &next.to_ne_bytes());
            }
            5 => self.set(at + 24, pick(rng, &KNOWN).as_bytes()),
            6 => self.set(at + 24, &[b'x'; 16]),
            _ => self.set(at + 24 + rng.usize(..16), &[rng.u8(..)]),
        }
    }

    /// In the arguments of a target, or what else is text.
    fn text_slip(&mut self, rng: &mut Rng) {
        let specs = self.table();
        let begin = match rng.choice(&specs) {
            Some((at, _)) => at + SPEC,
            None => HEADER + 8 * usize::from(u32::from(self.command) == DM_TARGET_MSG_CMD),
        };
        let Some(rest) = self.bytes.get(begin..) else {
            return;
        };
        let len = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
        let text = String::from_utf8_lossy(&rest[..len]).into_owned();
        match rng.u32(..8) {
            // No end.
            0 => {
                let byte = pick(rng, b"x \\0");
                let end = self.bytes.len();
                self.bytes[begin + len..end].fill(byte);
            }
            // An end somewhere.
            1 if len > 0 => self.bytes[begin + rng.usize(..len)] = 0,
            2 if len > 0 => self.bytes[begin + rng.usize(..len)] = rng.u8(..),
            3 if len > 0 => {
                self.bytes[begin + rng.usize(..len)] = pick(rng, b" \\\t\n\"':,/-+0\xa0");
            }
            // Another argument: the text may be as long as before, so that nothing else moves.
            _ => {
                let mut args: Vec<String> = text.split(' ').map(str::to_owned).collect();
                let at = rng.usize(..args.len());
                match rng.u32(..6) {
                    0 => drop(args.remove(at)),
                    1 => args.insert(at, args[at].clone()),
                    2 => args[at] = tokens::decorate(rng, &args[at].clone()),
                    3 => args.push(tokens::number(rng)),
                    4 => args[at] = "y".repeat(pick(rng, &[1, 60, 300, 2000])),
                    _ => args[at] = tokens::number(rng),
                }
                let text = args.join(" ");
                let room = rest.len() - len;
                if text.len() <= len || rng.bool() && text.len() < len + room {
                    let mut new = text.into_bytes();
                    new.resize(new.len().max(len), 0);
                    self.set(begin, &new);
                } else {
                    self.bytes.splice(begin..begin + len, text.into_bytes());
                    self.put(offset_of!(dm_ioctl, data_size), self.bytes.len() as u32);
                }
            }
        }
    }

    /// Takes out what would stop the test, or the guest, and what the sides cannot both do.
    fn restrain(&mut self) {
        let size = offset_of!(dm_ioctl, data_size);
        if (LARGEST..=TOO_LARGE).contains(&self.get(size)) {
            self.put(size, self.get(size) % LARGEST);
        }
        let count = offset_of!(dm_ioctl, target_count);
        if (TARGETS..=TOO_MANY).contains(&self.get(count)) {
            self.put(count, self.get(count) % TARGETS);
        }
        // Whether the answer fits would follow from the length of the name.
        let version = u32::from(self.command) == DM_GET_TARGET_VERSION_CMD;
        if version && (HEADER as u32..HEADER as u32 + 64).contains(&self.get(size)) {
            self.put(size, HEADER as u32);
        }
        // What is measured has the name of the target in it; that is compared elsewhere.
        let flags = offset_of!(dm_ioctl, flags);
        self.put(flags, self.get(flags) & !DM_IMA_MEASUREMENT_FLAG);
        // Only devices of that name would be listed, and each side has its own.
        if u32::from(self.command) == DM_LIST_DEVICES_CMD {
            self.set(NAME, &[0]);
            self.set(UUID, &[0]);
        }
        // Nothing will happen that could be waited for.
        if u32::from(self.command) == DM_DEV_WAIT_CMD {
            self.put(offset_of!(dm_ioctl, event_nr), u32::MAX);
        }
        // Numbers of devices are of the side's own, or of none.
        let at = offset_of!(dm_ioctl, dev);
        if let Some(dev) = self.bytes.get(at..at + 8) {
            let dev = u64::from_ne_bytes(dev.try_into().expect("eight bytes"));
            if ![0, u64::MAX].contains(&dev) && dev & !0xf != DEVICE_MARK {
                self.set(at, &(DEVICE_MARK | (dev & 0xf)).to_ne_bytes());
            }
            // Any other is the number of one device, which both sides cannot make.
            let fixed = self.get(offset_of!(dm_ioctl, flags)) & DM_PERSISTENT_DEV_FLAG != 0;
            let create = u32::from(self.command) == DM_DEV_CREATE_CMD;
            if fixed && create && dev & !0xf != DEVICE_MARK {
                self.set(at, &DEVICE_MARK.to_ne_bytes());
            }
        }
        // A name that each side has for itself.
        for at in self.letters() {
            self.set(at, &[LETTER_MARK]);
        }
    }

    /// Where the first letters of names are.
    fn letters(&self) -> Vec<usize> {
        let command = u32::from(self.command);
        let mut at = vec![UUID];
        if command != DM_GET_TARGET_VERSION_CMD {
            at.push(NAME);
        }
        let start = self.get(offset_of!(dm_ioctl, data_start)) as usize;
        if command == DM_DEV_RENAME_CMD && start >= DATA {
            at.push(start);
        }
        at.retain(|at| self.bytes.get(*at).is_some_and(|b| *b != 0));
        at
    }

    /// The lines of the table that is loaded by it, as far as the kernel comes, and where each is.
    fn table(&self) -> Vec<(usize, Line)> {
        let mut lines = Vec::new();
        if u32::from(self.command) != DM_TABLE_LOAD_CMD {
            return lines;
        }
        let end = self.bytes.len();
        let mut at = 0;
        let mut next = self.get(offset_of!(dm_ioctl, data_start)) as usize;
        let mut least = HEADER;
        for _ in 0..self.get(offset_of!(dm_ioctl, target_count)) {
            if next < least || next % 8 != 0 || end - at < SPEC || end - at - SPEC <= next {
                break;
            }
            at += next;
            let params = &self.bytes[at + SPEC..];
            let Some(len) = params.iter().position(|b| *b == 0) else {
                break;
            };
            least = SPEC + len + 1;
            let long = |at: usize| {
                u64::from_ne_bytes(self.bytes[at..][..8].try_into().expect("eight bytes"))
            };
            // To the kernel this is a space, and to a `str` it is not one byte.
            let params: Vec<u8> = params[..len]
                .iter()
                .map(|b| if *b == 0xa0 { b' ' } else { *b })
                .collect();
            let params = String::from_utf8_lossy(&params).into_owned();
            let target = name_in(&self.bytes[at + 24..at + SPEC]).unwrap_or_default();
            lines.push((at, line(long(at), long(at + 8), target, params)));
            next = self.get(at + 20) as usize;
        }
        lines
    }

    /// What is given to the kernel for a side.
    pub fn dressed(&self, wear: &Wear) -> Vec<u8> {
        let mut dressed = self.clone();
        for at in self.letters() {
            dressed.set(at, &[wear.letter]);
        }
        for (at, line) in self.table() {
            if KNOWN.contains(&line.target.as_str()) {
                dressed.name_target(at + 24, 16, wear, &line.target);
            }
        }
        if u32::from(self.command) == DM_GET_TARGET_VERSION_CMD {
            let name = self
                .bytes
                .get(NAME..NAME + 128)
                .and_then(name_in)
                .unwrap_or_default();
            if let Some(known) = KNOWN.iter().find(|k| **k == name) {
                dressed.name_target(NAME, 128, wear, known);
            }
        }
        let at = offset_of!(dm_ioctl, dev);
        if let Some(dev) = self.bytes.get(at..at + 8) {
            let dev = u64::from_ne_bytes(dev.try_into().expect("eight bytes"));
            if dev & !0xf == DEVICE_MARK {
                dressed.set(at, &wear.device(dev & 0xf).to_ne_bytes());
            }
        }
        dressed.bytes
    }

    fn name_target(&mut self, at: usize, len: usize, wear: &Wear, name: &str) {
        let mut field = format!("{}{name}", wear.prefix).into_bytes();
        field.push(0);
        field.truncate(len);
        self.set(at, &field);
    }

    /// What the kernel left in the place of what it was given, with what is of a side only taken out.
    pub fn undressed(&self, wear: &Wear, mut bytes: Vec<u8>) -> Vec<u8> {
        // The kernel fills in what it was not told.
        for at in self.letters().into_iter().chain([NAME, UUID]) {
            if let Some(byte) = bytes.get_mut(at).filter(|b| **b == wear.letter) {
                *byte = LETTER_MARK;
            }
        }
        let at = offset_of!(dm_ioctl, dev);
        if let Some(field) = bytes.get_mut(at..at + 8) {
            let dev = u64::from_ne_bytes((&*field).try_into().expect("eight bytes"));
            // What is not among the first ones has a number of the kernel's choice.
            let known = (0..16).find(|i| wear.device(*i) == dev);
            let ours = (dev >> 8) & 0xfff == u64::from(wear.major) && dev >> 32 == 0;
            if let Some(number) = known.or_else(|| ours.then_some(15)) {
                field.copy_from_slice(&(DEVICE_MARK | number).to_ne_bytes());
            }
        }
        // The names of targets, as long as they would be without what ours begin with.
        for name in KNOWN {
            let full = format!("{PREFIX}{name}\0");
            while let Some(at) = find(&bytes, full.as_bytes()) {
                bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
                bytes[at + name.len()..at + full.len()].fill(0);
            }
        }
        for (at, line) in self.table() {
            if KNOWN.contains(&line.target.as_str()) {
                clear_after(&mut bytes, at + 24 + line.target.len() + 1);
            }
        }
        clear_after_names(&mut bytes);
        if u32::from(self.command) == DM_GET_TARGET_VERSION_CMD {
            // They follow from the length of the name, which is in the answer again.
            let size = offset_of!(dm_ioctl, data_size);
            bytes.iter_mut().skip(size).take(4).for_each(|b| *b = 0);
            let name = HEADER + size_of::<dm_target_versions>();
            bytes.iter_mut().skip(name).for_each(|b| *b = 0);
        }
        bytes
    }

    fn get(&self, at: usize) -> u32 {
        match self.bytes.get(at..at + 4) {
            Some(bytes) => u32::from_ne_bytes(bytes.try_into().expect("four bytes")),
            None => 0,
        }
    }

    fn put(&mut self, at: usize, word: u32) {
        self.set(at, &word.to_ne_bytes());
    }

    /// As much of it as there is room for.
    fn set(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
}

impl Wear {
    fn device(&self, number: u64) -> u64 {
        (u64::from(self.major) << 8) | (u64::from(self.minor) + number)
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "ioctl {:#x} (command {}), {} bytes",
            self.code,
            self.command,
            self.bytes.len()
        )?;
        let names = [
            "version",
            "",
            "",
            "data_size",
            "data_start",
            "target_count",
            "open_count",
            "flags",
            "event_nr",
        ];
        for (name, at) in names.iter().zip(WORDS).filter(|(n, _)| !n.is_empty()) {
            write!(f, "  {name} {:#x}", self.get(at))?;
        }
        let text = |from: usize, to: usize| {
            self.bytes
                .get(from..to.min(self.bytes.len()))
                .unwrap_or_default()
        };
        writeln!(f, "\n  name \"{}\"", shown(text(NAME, UUID)))?;
        writeln!(f, "  UUID \"{}\"", shown(text(UUID, DATA)))?;
        writeln!(f, "  data \"{}\"", shown(text(HEADER, usize::MAX)))
    }
}

/// Without the zeroes at its end but one.
fn shown(bytes: &[u8]) -> impl fmt::Display + '_ {
    let end = bytes
        .iter()
        .rposition(|b| *b != 0)
        .map_or(0, |last| last + 1);
    bytes[..bytes.len().min(end + 1)].escape_ascii()
}

/// Any of a list that is not empty.
fn pick_any<'a, T>(rng: &mut Rng, list: &'a [T]) -> &'a T {
    &list[rng.usize(..list.len())]
}

/// A table, as it is loaded.
fn specs(table: &[Line]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in table {
        let begin = out.len();
        let len = (SPEC + line.params.len() + 1).next_multiple_of(8);
        out.extend(line.start.to_ne_bytes());
        out.extend(line.len.to_ne_bytes());
        out.extend(0_i32.to_ne_bytes());
        out.extend((len as u32).to_ne_bytes());
        out.extend(line.target.as_bytes());
        out.resize(begin + SPEC, 0);
        out.extend(line.params.as_bytes());
        out.resize(begin + len, 0);
    }
    out
}

/// The text in a field, if it ends there.
fn name_in(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&field[..end]).ok()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

/// Clears what would be covered by the longer name of the other side, if one ends there.
fn clear_after(bytes: &mut [u8], end: usize) {
    bytes
        .iter_mut()
        .skip(end)
        .take(PREFIX.len())
        .for_each(|b| *b = 0);
}

/// The same for all names. One may stand in what is cleared after another.
fn clear_after_names(bytes: &mut [u8]) {
    let ends: Vec<_> = KNOWN
        .iter()
        .map(|name| format!("{name}\0"))
        .flat_map(|full| {
            let found = memchr::memmem::find_iter(bytes, &full);
            found.map(|at| at + full.len()).collect::<Vec<_>>()
        })
        .collect();
    for end in ends {
        clear_after(bytes, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock() -> Stock {
        Stock {
            tables: vec![
                vec![line(0, 64, "linear", "/dev/ram0 0")],
                vec![
                    line(0, 64, "striped", "2 8 /dev/ram0 0 /dev/ram1 0"),
                    line(64, 8, "error", ""),
                ],
            ],
            messages: vec!["enable".into(), "addbadblock 3".into()],
        }
    }

    const SIDES: [Wear; 2] = [
        Wear {
            major: 253,
            minor: 64,
            letter: b't',
            prefix: "",
        },
        Wear {
            major: 253,
            minor: 96,
            letter: b'o',
            prefix: PREFIX,
        },
    ];

    #[test]
    fn one_follows_from_its_seed() {
        let stock = stock();
        for index in 0..500 {
            let raw = Raw::generate(3, index, &stock);
            assert_eq!(raw, Raw::generate(3, index, &stock));
        }
    }

    #[test]
    fn what_is_put_on_can_be_taken_off() {
        let stock = stock();
        for index in 0..20_000 {
            let raw = Raw::generate(1, index, &stock);
            let [theirs, ours] = SIDES.map(|wear| raw.undressed(&wear, raw.dressed(&wear)));
            assert_eq!(theirs, ours, "{index}: {raw}");
        }
    }

    /// One name stands in what another needs on the other side.
    #[test]
    fn a_name_in_a_name_can_be_taken_off() {
        let load = a_table_of(&stock(), 1);
        let begin = load.get(WORDS[4]) as usize;
        // A table begins eight bytes into another.
        let mut moved = load.clone();
        moved.set(begin + 32, b"error\0");
        moved.put(WORDS[4], begin as u32 + 8);
        // A name follows another in its field.
        let mut followed = load;
        followed.set(begin + 24, b"error\0zero\0.....");
        for raw in [moved, followed] {
            assert_eq!(raw.table()[0].1.target, "error", "{raw}");
            let [theirs, ours] = SIDES.map(|wear| raw.undressed(&wear, raw.dressed(&wear)));
            assert_eq!(theirs, ours, "{raw}");
        }
    }

    /// A valid load of a table of so many lines.
    fn a_table_of(stock: &Stock, lines: usize) -> Raw {
        let mut rng = Rng::with_seed(1);
        loop {
            let raw = Raw::valid(&mut rng, stock);
            if u32::from(raw.command) == DM_TABLE_LOAD_CMD && raw.table().len() == lines {
                return raw;
            }
        }
    }

    #[test]
    fn a_valid_table_is_one_on_both_sides() {
        let stock = stock();
        let raw = a_table_of(&stock, 2);
        let lines: Vec<_> = raw.table().into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, stock.tables[1]);
        let ours = raw.dressed(&SIDES[1]);
        assert!(find(&ours, b"rust-striped\0").is_some() && find(&ours, b"rust-error\0").is_some());
        assert!(find(&raw.dressed(&SIDES[0]), PREFIX.as_bytes()).is_none());
    }

    #[test]
    fn every_command_is_tried_and_no_size_is_too_large() {
        let stock = stock();
        let mut seen = [0; 256];
        for index in 0..20_000 {
            let raw = Raw::generate(1, index, &stock);
            seen[usize::from(raw.command)] += 1;
            let size = raw.get(offset_of!(dm_ioctl, data_size));
            assert!(!(LARGEST..=TOO_LARGE).contains(&size), "{raw}");
        }
        assert!(
            seen[..19].iter().all(|n| *n > 0) && seen[255] > 0,
            "{seen:?}"
        );
    }
}
