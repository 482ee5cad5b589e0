// SPDX-License-Identifier: GPL-2.0

//! Random ioctls of device-mapper, byte by byte, on both twins.

use crate::{crypt, delay, dust, error, flakey, linear, striped, zero};
use anyhow::{bail, ensure, Context, Result};
use devicemapper_sys::{
    DM_DEV_CREATE_CMD, DM_GET_TARGET_VERSION_CMD, DM_IOCTL, DM_LIST_DEVICES_CMD,
    DM_LIST_VERSIONS_CMD, DM_PERSISTENT_DEV_FLAG, DM_REMOVE_ALL_CMD, DM_TABLE_LOAD_CMD,
    DM_VERSION_CMD,
};
use dm_rust_tests::case::Ctx;
use dm_rust_tests::dm::{self, MappedDevice};
use dm_rust_tests::fuzz::raw::{Raw, Stock, Wear, DEVICES};
use dm_rust_tests::fuzz::Seed;
use dm_rust_tests::kmsg::{judge, Verdict};
use dm_rust_tests::lower::Lower;
use dm_rust_tests::module::modprobe;
use dm_rust_tests::setting::Setting;
use dm_rust_tests::sys::Fenced;
use dm_rust_tests::twin::{Kind, Target};
use regex::Regex;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::time::{Duration, Instant};

/// From one whose number is a multiple of this on, the devices are new ones.
const RENEWAL: u64 = 256;

/// In so many, each command has to have succeeded and failed.
const ENOUGH: u64 = 10_000;

/// Commands that hardly anything is wrong for: this many may all be taken.
const HARDLY_REFUSED: [u8; 4] = [
    DM_VERSION_CMD as u8,
    DM_REMOVE_ALL_CMD as u8,
    DM_LIST_DEVICES_CMD as u8,
    DM_LIST_VERSIONS_CMD as u8,
];

/// What targets can be told.
const MESSAGES: &[&str] = &[
    "enable",
    "disable",
    "quiet",
    "addbadblock 3",
    "removebadblock 3",
    "queryblock 3",
    "countbadblocks",
    "clearbadblocks",
    "listbadblocks",
    "key wipe",
    "key set 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
    "@cancel_deferred_remove",
    "@stats_list",
];

/// From this size on what is given can hold a text that `printk` cuts off.
const LONG: usize = 900;

/// What device-mapper says now and then only, however often it is to be said.
const SELDOM: [&str; 2] = ["ioctl interface mismatch", "Invalid data size in the ioctl"];

const TARGETS: [&Target; 8] = [
    &linear::LINEAR,
    &striped::STRIPED,
    &error::ERROR,
    &zero::ZERO,
    &flakey::FLAKEY,
    &delay::DELAY,
    &dust::DUST,
    &crypt::CRYPT,
];

/// What came of an ioctl, and what is left of what it was given.
type Outcome = (String, Vec<u8>, Vec<String>);

/// A device that is never live, with a table, and open, so that it is not removed with all others.
///
/// The bios of a table come from a slab cache for their size. With the last table that has bios of
/// that size the cache goes, and its directory in sysfs with it; to make both anew for each table
/// would take most of the time of a kernel that watches all that it does.
type Keeper = (File, MappedDevice);

struct Raws<'a> {
    ctx: &'a Ctx,
    control: File,
    memory: Fenced,
    wears: [Wear; 2],
    stock: Stock,
    /// What stands in the log for both sides.
    words: [(Regex, &'static str); 5],
    /// What was translated before.
    translated: RefCell<HashMap<String, String>>,
    /// How often each command came out how, by what became of it.
    seen: BTreeMap<(u8, String), u64>,
    keepers: Vec<Keeper>,
    _lowers: Vec<Lower>,
    _settings: [Setting; 4],
}

impl<'a> Raws<'a> {
    fn new(ctx: &'a Ctx) -> Result<Raws<'a>> {
        for module in ["dm-zero", "dm-crypt", "xts", "essiv", "crypto_null", "gcm"] {
            modprobe(module, &[])?;
        }
        for name in ["flakey", "delay", "dust"] {
            ctx.need_twin(name)?;
        }
        let lowers = (0..Kind::Ram.available()).map(|_| Kind::Ram.make());
        let lowers = lowers.collect::<Result<Vec<_>>>()?;
        let tables = TARGETS.iter().flat_map(|target| {
            let fitting = target.fitting(Kind::Ram);
            fitting.map(|shape| (shape.table)(target.name, &lowers[..shape.lowers]))
        });
        let stock = Stock {
            tables: tables.collect(),
            messages: MESSAGES.iter().map(|m| (*m).to_owned()).collect(),
        };
        let major = major()?;
        let wear = |minor, letter, prefix| Wear {
            major,
            minor,
            letter,
            prefix,
        };
        let prefix = ctx.module().map_or("", |_| "rust-");
        let keepers = ["", prefix].into_iter().flat_map(|prefix| {
            stock.tables.iter().map(move |table| -> Result<Keeper> {
                let mut table = table.clone();
                for line in &mut table {
                    line.target.insert_str(0, prefix);
                }
                let device = MappedDevice::empty()?;
                device.load(&table)?;
                Ok((device.open()?, device))
            })
        });
        let keepers = keepers.collect::<Result<_>>()?;
        let mut raws = Raws {
            ctx,
            control: dm::control()?,
            memory: Fenced::new()?,
            wears: [wear(200, b't', ""), wear(224, b'o', prefix)],
            stock,
            words: [
                (
                    Regex::new(&format!(r"\b(dm-[0-9]+|{major}:[0-9]+)\b"))?,
                    "DM",
                ),
                (Regex::new(", dev [0-9a-f]+$")?, ", dev DM"),
                // What is no text is not shown byte by byte by ours.
                (Regex::new(r"(\\x[0-9a-f]{2})+")?, "?"),
                (
                    Regex::new("rust-(linear|striped|error|zero|flakey|delay|dust|crypt)")?,
                    "$1",
                ),
                // Any word may be a name; others begin with these letters on both sides.
                (Regex::new(r"\b[to]")?, "%"),
            ],
            translated: RefCell::default(),
            seen: BTreeMap::new(),
            keepers,
            _lowers: lowers,
            _settings: [
                Setting::new("/proc/sys/kernel/printk", "3")?,
                Setting::new("/sys/kernel/rcu_expedited", "1")?,
                // No program is started to look for each target and cipher that there is not.
                Setting::new("/proc/sys/kernel/modprobe", "\n")?,
                // There is no I/O: each table keeps one bio ready, and not 16.
                Setting::new("/sys/module/dm_mod/parameters/reserved_bio_based_ios", "1")?,
            ],
        };
        raws.renew()?;
        Ok(raws)
    }

    /// Takes all devices away, and makes those that there are at first.
    fn renew(&mut self) -> Result<()> {
        let mut header = |command, flags: u32, dev: u64, name: String| {
            let mut raw = vec![0; 312];
            for (at, word) in [(0, 4_u32), (12, 312), (16, 312), (28, flags)] {
                raw[at..at + 4].copy_from_slice(&word.to_ne_bytes());
            }
            raw[40..48].copy_from_slice(&dev.to_ne_bytes());
            raw[48..48 + name.len()].copy_from_slice(name.as_bytes());
            let code = 0xc138_0000 | (DM_IOCTL << 8) | command;
            self.memory.device_mapper(&self.control, code, &mut raw)
        };
        header(DM_REMOVE_ALL_CMD, 0, 0, String::new()).context("removing all devices")?;
        for wear in &self.wears {
            for number in 0..DEVICES {
                let dev = (u64::from(wear.major) << 8) | u64::from(wear.minor + number);
                let name = format!("{}raw{number}", char::from(wear.letter));
                header(DM_DEV_CREATE_CMD, DM_PERSISTENT_DEV_FLAG, dev, name)
                    .context("making a device")?;
            }
        }
        // It says how many could not be removed: those that keep caches.
        self.log().map(drop)
    }

    /// What the kernel has said since, if it is of no bug.
    fn log(&self) -> Result<Vec<String>> {
        let log = self.ctx.take_whole_log()?;
        ensure!(
            log.iter().all(|l| judge(l) != Verdict::Fatal),
            "the kernel reports a bug:\n{}",
            log.join("\n")
        );
        Ok(log)
    }

    fn issue(&mut self, raw: &Raw, wear: Wear) -> Result<Outcome> {
        let mut bytes = raw.dressed(&wear);
        let result = self
            .memory
            .device_mapper(&self.control, raw.code, &mut bytes);
        if bytes.len() >= LONG {
            // What is cut off has lost its newline, and is shown when something else is said.
            fs::write("/dev/kmsg", "<7>guest-tests: end of a long one\n")?;
        }
        let log = self
            .log()?
            .into_iter()
            .filter(|line| !SELDOM.iter().any(|part| line.contains(part)));
        let log: Vec<_> = log.map(|line| self.translate(line)).collect();
        Ok((dm::outcome(result), raw.undressed(&wear, bytes), log))
    }

    /// What a line of the log says, whichever side it is about.
    fn translate(&self, line: String) -> String {
        const MOST: usize = 4096;
        let mut translated = self.translated.borrow_mut();
        if let Some(known) = translated.get(&line) {
            return known.clone();
        }
        if translated.len() == MOST {
            translated.clear();
        }
        let mut text = line.clone();
        for (from, to) in &self.words {
            text = from.replace_all(&text, *to).into_owned();
        }
        translated.insert(line, text.clone());
        text
    }

    /// Issues it on both sides.
    fn compare(&mut self, raw: &Raw) -> Result<()> {
        let [theirs, ours] = self.wears;
        let theirs = self.issue(raw, theirs).context("in-tree")?;
        let ours = self.issue(raw, ours).context("ours")?;
        *self.seen.entry((raw.command, ours.0.clone())).or_default() += 1;
        if ours == theirs {
            return Ok(());
        }
        let differ = ours.1.iter().zip(&theirs.1).position(|(a, b)| a != b);
        let mut text = format!("ours {}, in-tree {}", ours.0, theirs.0);
        if let Some(at) = differ {
            let from = at.saturating_sub(16);
            let part = |bytes: &[u8]| {
                bytes[from..bytes.len().min(at + 64)]
                    .escape_ascii()
                    .to_string()
            };
            text += &format!(
                "\nbyte {at} of what is left there; from {from} on ours \"{}\", in-tree \"{}\"",
                part(&ours.1),
                part(&theirs.1)
            );
        }
        if ours.2 != theirs.2 {
            text += &format!("\nlog: ours {:#?}, in-tree {:#?}", ours.2, theirs.2);
        }
        bail!(text)
    }

    /// Issues one after the other until one differs.
    fn run(&mut self, seed: Seed, rounds: u64) -> Result<()> {
        let begin = Instant::now();
        let mut said = begin;
        for index in seed.first..seed.first.saturating_add(rounds) {
            // A report of the kernel names the task: it shows the number then.
            rustix::thread::set_name(&std::ffi::CString::new(format!("raw-{index}"))?)?;
            if index % RENEWAL == 0 {
                self.renew()?;
            }
            let raw = Raw::generate(seed.run, index, &self.stock);
            if let Err(error) = self.compare(&raw) {
                let first = Seed {
                    first: index - index % RENEWAL,
                    ..seed
                };
                bail!(
                    "number {index} of seed {}: {error:#}\n{raw}replay: make test T=fuzz::ioctls SEED={first} ROUNDS={}",
                    seed.run,
                    (index - first.first + 1).div_ceil(super::RAWS_PER_ROUND)
                );
            }
            if said.elapsed() > Duration::from_secs(60) {
                said = Instant::now();
                println!(
                    "\n  seed {seed}: {} of {rounds} ioctls",
                    index - seed.first + 1
                );
            }
        }
        let taken = self.count(|_, how| how.starts_with("ok"));
        println!(
            "\n  seed {seed}: {rounds} ioctls in {:.0} s, {taken} of them taken, {} outcomes",
            begin.elapsed().as_secs_f64(),
            self.seen.len()
        );
        Ok(())
    }

    fn count(&self, wanted: impl Fn(u8, &str) -> bool) -> u64 {
        let seen = self
            .seen
            .iter()
            .filter(|((command, how), _)| wanted(*command, how));
        seen.map(|(_, count)| count).sum()
    }
}

impl Drop for Raws<'_> {
    fn drop(&mut self) {
        self.keepers.clear();
        if let Err(e) = self.renew() {
            dm_rust_tests::cleanup::left_behind("what was made of random ioctls", e);
        }
        // The devices that it made anew.
        let mut raw = vec![0; 312];
        for (at, word) in [(0, 4_u32), (12, 312), (16, 312)] {
            raw[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        let code = 0xc138_0000 | (DM_IOCTL << 8) | DM_REMOVE_ALL_CMD;
        let _ = self.memory.device_mapper(&self.control, code, &mut raw);
    }
}

fn major() -> Result<u32> {
    let devices = fs::read_to_string("/proc/devices")?;
    let line = devices
        .lines()
        .find_map(|l| l.trim().strip_suffix(" device-mapper"));
    Ok(line
        .context("no device-mapper in /proc/devices")?
        .trim()
        .parse()?)
}

/// Random ioctls: the twins answer the same, and the kernel has nothing to say of it but what the
/// in-tree one says.
pub fn run(ctx: &Ctx, seed: Seed, rounds: u64) -> Result<()> {
    let mut raws = Raws::new(ctx)?;
    raws.run(seed, rounds)?;
    if rounds >= ENOUGH {
        for command in 0..=DM_GET_TARGET_VERSION_CMD as u8 {
            let [taken, refused] = [true, false]
                .map(|taken| raws.count(|c, how| c == command && how.starts_with("ok") == taken));
            ensure!(
                taken > 0 && (refused > 0 || HARDLY_REFUSED.contains(&command)),
                "command {command} succeeded {taken} times, and failed {refused} times"
            );
        }
    }
    Ok(())
}

/// It finds a side that differs.
pub fn finds_what_differs(ctx: &Ctx) -> Result<()> {
    const SEED: Seed = Seed { run: 1, first: 0 };
    let mut raws = Raws::new(ctx)?;
    let wears = raws.wears;
    raws.wears[1].prefix = "";
    raws.run(SEED, 300)
        .context("in-tree targets are said to differ from themselves")?;
    // A target that is not there.
    raws.wears[1].prefix = "rusty";
    raws.renew()?;
    let found = format!(
        "{:#}",
        raws.run(SEED, 300)
            .err()
            .context("no difference was found")?
    );
    ensure!(found.contains("T=fuzz::ioctls SEED=1"), "{found}");
    ensure!(
        found.contains(&format!("command {DM_TABLE_LOAD_CMD}")),
        "{found}"
    );
    raws.wears = wears;
    Ok(())
}
