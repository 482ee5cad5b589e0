// SPDX-License-Identifier: GPL-2.0

//! Where in the kernel's memory keys are found: in a live device, and nowhere
//! once the key was wiped or the device removed. And the texts that they are given as: nowhere.

use super::{Params, CRYPT};
use anyhow::{ensure, Context, Result};
use devicemapper_sys::{DM_TABLE_LOAD_CMD, DM_TARGET_MSG_CMD};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{encode, line, outcome, MappedDevice, Suspend};
use dm_rust_tests::hex;
use dm_rust_tests::lower::Lower;
use dm_rust_tests::sys::DmRequest;
use dm_rust_tests::twin::Kind;
use memchr::memmem::Finder;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

/// Ciphers and the lengths of their keys.
const CIPHERS: &[(&str, usize)] = &[
    ("aes-xts-plain64", 64),
    ("aes-cbc-essiv:sha256", 32),
    ("aes:64-cbc-lmk", 1040),
    ("aes-cbc-tcw", 64),
    ("aes-cbc-elephant", 32),
];

pub fn cases() -> Vec<Case> {
    vec![
        case("crypt::memory::keys_are_gone", gone).limit(400),
        case("crypt::memory::texts_are_gone", texts_are_gone).limit(400),
    ]
}

/// Devices of each cipher that get rid of their keys in the same way.
///
/// One key that is left says nothing of us: what the kernel's own hashes and ciphers (here `sha256()`
/// for the essiv key) still have in registers when they are done goes onto the stack if the scheduler
/// comes just then, and stays there. Seen with one key of 13000. What we forget is left each time, or
/// often.
const TRIES: usize = 3;

/// [`TRIES`] devices of each cipher, each with a key of its own.
fn devices(
    ctx: &Ctx,
    lower: &Lower,
    head: Head,
    start: &str,
) -> Result<Vec<(MappedDevice, Hidden)>> {
    let target = ctx.env.target(CRYPT.name);
    let mut devices = Vec::new();
    for &(cipher, size) in CIPHERS.iter().flat_map(|cipher| [cipher; TRIES]) {
        let key = Hidden::new(size, head);
        let device = MappedDevice::empty()?;
        let params = format!("{cipher} {} 0 {} {start}", key.hex(), lower.node());
        let loaded = device.load(&[line(0, 1024, &target, params)]);
        if start == REFUSED {
            ensure!(loaded.is_err(), "{cipher}: a bad table was taken");
        } else {
            loaded.context(cipher)?;
            device.resume()?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            disk.write(0, &pattern(1, 0, 64))?;
            disk.read(0, 64)?;
        }
        devices.push((device, key));
    }
    ctx.take_log("^device-mapper: ")?;
    Ok(devices)
}

/// A first sector that is none: the table is refused after the key was set.
const REFUSED: &str = "x";

fn gone(ctx: &Ctx) -> Result<()> {
    let lower = Kind::Ram.make()?;
    let head = fastrand::Rng::new().u32(..).to_le_bytes();
    let wiped = devices(ctx, &lower, head, "0")?;
    let removed = devices(ctx, &lower, head, "0")?;
    let refused = devices(ctx, &lower, head, REFUSED)?;
    let live: Vec<_> = wiped.iter().chain(&removed).map(|(_, key)| key).collect();
    let mut memory = Memory::open()?;
    // They can be found where they are.
    let found = memory.search(&live, head, true)?;
    ensure!(
        found.iter().all(|places| !places.is_empty()),
        "keys of live devices were not found: {found:x?} of {CIPHERS:?}, each {TRIES} times, twice"
    );
    for (device, _) in &wiped {
        device.suspend(Suspend::Flush)?;
        device.message(0, "key wipe")?;
    }
    let mut gone = Vec::new();
    for (how, devices) in [("removed", removed), ("refused", refused)] {
        for (device, key) in devices {
            drop(device);
            gone.push((how, key));
        }
    }
    let mut wiped_devices = Vec::new();
    for (device, key) in wiped {
        wiped_devices.push(device);
        gone.push(("wiped", key));
    }
    let keys: Vec<_> = gone.iter().map(|(_, key)| key).collect();
    let found = memory.search(&keys, head, false)?;
    let ways = gone.chunks(TRIES).zip(found.chunks(TRIES));
    let mut left = Vec::new();
    for ((gone, found), (cipher, _)) in ways.zip(CIPHERS.iter().cycle()) {
        let found: Vec<_> = found.iter().filter(|places| !places.is_empty()).collect();
        let what = format!(
            "{cipher} {}: {} of {TRIES}, at {found:x?}",
            gone[0].0,
            found.len()
        );
        match found.len() {
            0 => {}
            1 => println!("\n  left by chance: {what}"),
            _ => left.push(what),
        }
    }
    ensure!(
        left.is_empty(),
        "keys are left in memory: {}",
        left.join("; ")
    );
    Ok(())
}

/// The room of requests, in bytes: so much that the kernel has no use for the same memory right after.
const ROOM: usize = 1_500_000;

/// How a key is given as text.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// In a table.
    Loaded,
    /// In a table that is refused after the key was set.
    Refused,
    /// In a message.
    Set,
    /// In a message that is refused: the key has another size.
    NotSet,
    /// In a message to a device without a target, so that nobody knows that it is a secret.
    Left,
}

impl Way {
    /// Makes such a request with a random key, and tells where its text is found then.
    fn go(self, target: &str, lower: &Lower) -> Result<Vec<u64>> {
        const CIPHER: &str = "aes-xts-plain64";
        const SIZE: usize = 64;
        let device = MappedDevice::empty()?;
        let table = |start: &str| {
            let key = "?".repeat(2 * SIZE);
            let params = format!("{CIPHER} {key} 0 {} {start}", lower.node());
            let data = encode(&[line(0, 1024, target, params)]);
            (DM_TABLE_LOAD_CMD, 1, data)
        };
        let message = |size: usize| (DM_TARGET_MSG_CMD, 0, key_message(size));
        if matches!(self, Way::Set | Way::NotSet) {
            device.load(&[Params::new(CIPHER, SIZE).over(target, lower, 1024)])?;
            device.resume()?;
            device.suspend(Suspend::Flush)?;
        }
        let (command, targets, data) = match self {
            Way::Loaded => table("0"),
            Way::Refused => table(REFUSED),
            Way::Set | Way::Left => message(SIZE),
            Way::NotSet => message(SIZE / 2),
        };
        let (text, head, data) = Hidden::text(data);
        let request = DmRequest {
            targets,
            data: &data,
            mask: MASK,
            room: ROOM,
            ..DmRequest::default()
        };
        let sent = device.send(command, &request);
        let taken = matches!(self, Way::Loaded | Way::Set);
        ensure!(sent.is_ok() == taken, "{}", outcome(sent));
        let mut found = Memory::open()?.search(&[&text], head, false)?;
        Ok(found.remove(0))
    }
}

/// `key set` and question marks, for a key of so many bytes.
fn key_message(size: usize) -> Vec<u8> {
    let text = format!("key set {}\0", "?".repeat(2 * size));
    [&[0; 8], text.as_bytes()].concat()
}

/// Keys that are given as text are gone when the request is done, though that did not say that it has
/// a secret (`DM_SECURE_DATA_FLAG`).
fn texts_are_gone(ctx: &Ctx) -> Result<()> {
    let lower = Kind::Ram.make()?;
    let target = ctx.env.target(CRYPT.name);
    for way in [Way::Loaded, Way::Refused, Way::Set, Way::NotSet, Way::Left] {
        let is_left = matches!(way, Way::Left);
        let mut seen = Vec::new();
        while seen.len() < TRIES {
            let places = way
                .go(&target, &lower)
                .with_context(|| format!("{way:?}"))?;
            if places.is_empty() != is_left {
                break;
            }
            seen.push(places);
        }
        ensure!(
            seen.len() < TRIES,
            "{way:?}: {}: {seen:x?}",
            match is_left {
                true => "what is left is not found, so that the others say nothing",
                false => "the text of the key is left in memory, each time",
            }
        );
    }
    ctx.take_log("^device-mapper: ").map(drop)
}

/// The first four bytes of each key and of each key's second half, masked: they
/// are looked for, then the rest is compared.
type Head = [u8; 4];

/// A key that is never in the memory of this process as the kernel has it.
struct Hidden(Vec<u8>);

const MASK: u8 = 0xa5;

/// So many bytes that are a key's are no chance.
const PART: usize = 16;

impl Hidden {
    fn new(size: usize, head: Head) -> Hidden {
        let mut rng = fastrand::Rng::new();
        let mut key: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
        for start in Self::starts(size) {
            key[start..start + 4].copy_from_slice(&head);
        }
        Hidden(key)
    }

    /// A random text, and `request`, masked, with that in place of its question marks.
    fn text(mut request: Vec<u8>) -> (Hidden, Head, Vec<u8>) {
        let mut rng = fastrand::Rng::new();
        let mut digit = || b"0123456789abcdef"[rng.usize(..16)] ^ MASK;
        let head = [(); 4].map(|()| digit());
        let places: Vec<_> = (0..request.len()).filter(|i| request[*i] == b'?').collect();
        let mut text: Vec<_> = places.iter().map(|_| digit()).collect();
        for start in Self::starts(text.len()) {
            text[start..start + 4].copy_from_slice(&head);
        }
        request.iter_mut().for_each(|byte| *byte ^= MASK);
        for (place, digit) in places.into_iter().zip(&text) {
            request[place] = *digit;
        }
        (Hidden(text), head, request)
    }

    /// Where the parts are that are looked for.
    fn starts(size: usize) -> [usize; 2] {
        [0, size / 2 / PART * PART]
    }

    /// Byte by byte: a vector register that had 16 of them would be in the kernel's memory as soon as
    /// another task runs.
    fn hex(&self) -> String {
        hex(self.0.iter().map(|b| black_box(b ^ MASK)))
    }

    /// Whether one of the parts of the key is at the start of `data`.
    fn is_at(&self, data: &[u8]) -> bool {
        Self::starts(self.0.len()).into_iter().any(|start| {
            let part = &self.0[start..start + PART];
            data.len() >= PART && data.iter().zip(part).all(|(a, b)| a ^ MASK == *b)
        })
    }
}

/// All memory that the kernel manages.
struct Memory {
    kcore: File,
    /// What was read last. Copies of keys are here after a search that found some: the next one
    /// must not find them in pages that this was in.
    buffer: Vec<u8>,
}

impl Memory {
    const STEP: usize = 1 << 20;

    fn open() -> Result<Memory> {
        let kcore = File::open("/proc/kcore").context("the kernel does not show its memory")?;
        let buffer = vec![0; Self::STEP + PART];
        Ok(Memory { kcore, buffer })
    }

    /// At which addresses each key is; or, which is faster, until each was found once.
    fn search(&mut self, keys: &[&Hidden], head: Head, enough: bool) -> Result<Vec<Vec<u64>>> {
        let found = self.look(keys, head, enough);
        self.buffer.fill(0);
        black_box(&mut self.buffer);
        found
    }

    fn look(&mut self, keys: &[&Hidden], head: Head, enough: bool) -> Result<Vec<Vec<u64>>> {
        let Memory { kcore, buffer } = self;
        let finder = Finder::new(&head.map(|b| b ^ MASK)).into_owned();
        let mut found = vec![Vec::new(); keys.len()];
        for (offset, start, len) in segments(kcore)? {
            let mut at = 0;
            while at < len {
                let want = (Self::STEP + PART).min(len - at);
                // A page may not be there to be read.
                let Ok(read) = kcore.read_at(&mut buffer[..want], offset + at as u64) else {
                    at += 4096;
                    continue;
                };
                ensure!(read > 0, "the kernel's memory ends at {at} of {len}");
                for place in finder.find_iter(&buffer[..read]) {
                    for (key, found) in keys.iter().zip(&mut found) {
                        if key.is_at(&buffer[place..read]) {
                            found.push(start + (at + place) as u64);
                        }
                    }
                }
                if enough && found.iter().all(|places| !places.is_empty()) {
                    return Ok(found);
                }
                at += read.saturating_sub(PART).max(1);
            }
        }
        Ok(found)
    }
}

/// Where main memory is in the file: offsets, physical addresses and lengths.
fn segments(kcore: &File) -> Result<Vec<(u64, u64, usize)>> {
    const LOAD: u32 = 1;
    /// Where the kernel's own image is mapped a second time.
    const IMAGE: u64 = 0xffff_ffff_8000_0000;
    let mut header = [0; 64];
    kcore.read_exact_at(&mut header, 0)?;
    ensure!(
        header.starts_with(b"\x7fELF\x02\x01"),
        "not a 64-bit ELF file"
    );
    let long = |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().expect("eight"));
    let short = |b: &[u8], at: usize| u16::from_le_bytes([b[at], b[at + 1]]);
    let (start, size, count) = (long(&header, 32), short(&header, 54), short(&header, 56));
    let mut found = Vec::new();
    for i in 0..u64::from(count) {
        let mut segment = [0; 56];
        kcore.read_exact_at(&mut segment, start + i * u64::from(size))?;
        let kind = u32::from_le_bytes(segment[..4].try_into()?);
        let (offset, virt, phys) = (long(&segment, 8), long(&segment, 16), long(&segment, 24));
        if kind == LOAD && phys != u64::MAX && virt < IMAGE {
            found.push((offset, phys, long(&segment, 32) as usize));
        }
    }
    let bytes: usize = found.iter().map(|(_, _, len)| len).sum();
    ensure!(bytes > 100 << 20, "{bytes} bytes of memory only");
    Ok(found)
}
