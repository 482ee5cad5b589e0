// SPDX-License-Identifier: GPL-2.0

//! Swap on an encrypted device, when memory is short: what encrypts must not
//! need memory that only it could free.

use super::{Params, CRYPT};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{asked_seconds, case, is_watched, Case, Ctx};
use dm_rust_tests::cgroup::Cgroup;
use dm_rust_tests::dm::MappedDevice;
use dm_rust_tests::process;
use dm_rust_tests::setting::Setting;
use dm_rust_tests::twin::Kind;
use memmap2::MmapMut;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many seconds each part takes at least, if `SWAP_SECONDS` does not say for all.
const SECONDS: u64 = 4;

/// Ways of working, each for its part of the time; only the first, unless there is time.
const OPTIONS: &[&str] = &[
    "",
    "2 no_read_workqueue no_write_workqueue",
    "2 same_cpu_crypt submit_from_crypt_cpus",
];

/// What is left of the memory, and what is swapped out, in MiB.
const SIZES: [usize; 2] = [96, 64];

/// The same on kernels that watch all that they do.
const SIZES_WATCHED: [usize; 2] = [32, 16];

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

pub fn cases() -> Vec<Case> {
    let seconds = asked_seconds("SWAP_SECONDS");
    vec![case("crypt::swap::memory_is_short", move |ctx| {
        short(ctx, seconds)
    })
    .limit(300 + seconds.unwrap_or(0) * 3)]
}

/// A device that is swapped to, until it is dropped.
struct Swap(PathBuf);

impl Swap {
    fn new(path: &Path) -> Result<Swap> {
        let node = path.display().to_string();
        process::run("mkswap", &[&node])?;
        process::run("swapon", &["--discard", &node])?;
        Ok(Swap(path.into()))
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let node = self.0.display().to_string();
        if let Err(e) = process::run("swapoff", &[&node]) {
            dm_rust_tests::cleanup::left_behind(&node, format!("{e:#}"));
        }
    }
}

/// What makes memory short until it is dropped.
enum Shortage {
    /// Huge pages are not swapped: they take the rest of the memory away from all.
    OfAll { _huge: Setting },
    /// Only this process has little.
    OfThis { _group: Cgroup },
}

impl Shortage {
    /// Leaves so many MiB, and tells how many they are.
    ///
    /// A kernel that watches all that it does complains of itself where all have little: that a page took
    /// seconds, and that `kswapd` needs memory to forget files of the guest's root.
    fn new(left: usize) -> Result<(Shortage, usize)> {
        if is_watched() {
            let group = Cgroup::enter("dmr-swap", "memory")?;
            group.set("memory.max", &(left * MIB).to_string())?;
            return Ok((Shortage::OfThis { _group: group }, left));
        }
        let available = || anyhow::Ok(number("/proc/meminfo", "MemAvailable")? as usize / 1024);
        let taken = available()?.saturating_sub(left) / 2;
        let huge = Setting::new("/proc/sys/vm/nr_hugepages", &taken.to_string())?;
        Ok((Shortage::OfAll { _huge: huge }, available()?))
    }
}

/// A number of a file of `/proc`: after its name, at the start of a line.
fn number(file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file)?;
    let mut words = text
        .lines()
        .map(str::split_whitespace)
        .filter_map(|mut words| {
            (words.next()?.trim_end_matches(':') == name).then(|| words.next())
        });
    let number = words.next().flatten().and_then(|n| n.parse().ok());
    number.with_context(|| format!("{file} has no {name}"))
}

/// What the page `at` of a thread's memory holds in round `round`: each eight bytes of it.
fn word(round: u64, thread: u64, page: usize, at: usize) -> [u8; 8] {
    let n = (round << 48) ^ (thread << 40) ^ ((page as u64) << 12) ^ at as u64;
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}

fn fill(memory: &mut [u8], round: u64, thread: u64) {
    for (n, page) in memory.chunks_exact_mut(PAGE).enumerate() {
        for at in (0..PAGE).step_by(256) {
            page[at..at + 8].copy_from_slice(&word(round, thread, n, at));
        }
    }
}

fn check(memory: &[u8], round: u64, thread: u64) -> Result<()> {
    for (n, page) in memory.chunks_exact(PAGE).enumerate() {
        for at in (0..PAGE).step_by(256) {
            ensure!(
                page[at..at + 8] == word(round, thread, n, at),
                "round {round}: other data in page {n} of thread {thread}, at {at}"
            );
        }
    }
    Ok(())
}

fn short(ctx: &Ctx, seconds: Option<u64>) -> Result<()> {
    let lower = Kind::Virtio.make()?;
    let [left, out] = if is_watched() { SIZES_WATCHED } else { SIZES };
    let all = seconds.is_some() || ctx.env.long;
    let ways = &OPTIONS[..if all { OPTIONS.len() } else { 1 }];
    let each = seconds.map_or(Duration::from_secs(SECONDS), |all| {
        Duration::from_secs(all) / ways.len() as u32
    });
    for options in ways {
        let params = Params {
            options,
            ..Params::new("aes-xts-plain64", 64)
        };
        let table = params.over(&ctx.env.target(CRYPT.name), &lower, lower.sectors());
        let device = MappedDevice::create(&[table])?;
        let swap = Swap::new(&device.path())?;
        let (shortage, left) = Shortage::new(left)?;
        // At least so many pages each way, of those that do not fit.
        let least = (out * MIB / PAGE / 2) as u64;
        let most = left + (lower.sectors() / 2048) as usize * 3 / 4;
        let before = swapped()?;
        let end = Instant::now() + each;
        let (mut size, mut rounds) = (left + out, 0);
        let [read, written] = loop {
            rounds += press(size * MIB, end)?;
            let now = swapped()?;
            let done = [now[0] - before[0], now[1] - before[1]];
            if done.iter().all(|pages| *pages > least) {
                break done;
            }
            // The kernel found other memory to free first.
            size += out;
            ensure!(
                size < most,
                "too little was swapped: {done:?} pages, {left} MiB were left"
            );
        };
        println!("\n  {options:?}: {rounds} rounds, {read} pages read, {written} pages written");
        drop(shortage);
        drop(swap);
    }
    // That memory is short is told now and then.
    ctx.take_log("^Adding .* swap on|swapoff")?;
    Ok(())
}

/// Pages read from swap, and written to it, since the kernel started.
fn swapped() -> Result<[u64; 2]> {
    Ok([
        number("/proc/vmstat", "pswpin")?,
        number("/proc/vmstat", "pswpout")?,
    ])
}

/// Fills and checks so many bytes, by two threads, at least once and until `end`: how many rounds.
fn press(bytes: usize, end: Instant) -> Result<u64> {
    let half = bytes / 2 / PAGE * PAGE;
    let threads: Vec<_> = (0..2)
        .map(|thread| {
            std::thread::spawn(move || -> Result<u64> {
                let mut memory = MmapMut::map_anon(half)?;
                let mut round = 0;
                while round == 0 || Instant::now() < end {
                    fill(&mut memory, round, thread);
                    check(&memory, round, thread)?;
                    round += 1;
                }
                Ok(round)
            })
        })
        .collect();
    let mut rounds = 0;
    for thread in threads {
        let done = thread.join().expect("a thread does not panic")?;
        rounds += done;
    }
    Ok(rounds)
}
