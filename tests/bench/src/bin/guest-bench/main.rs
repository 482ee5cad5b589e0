// SPDX-License-Identifier: GPL-2.0

//! Measures the targets in the guest, and prints what it found, a line of JSON each; how far it is
//! goes to standard output too, in lines that are no JSON.

mod counts;
mod memory;
mod profile;
mod speed;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use dm_rust_bench::subject::{Plan, Subject, SUBJECTS};
use dm_rust_bench::{Record, Who};
use dm_rust_tests::dm::MappedDevice;
use dm_rust_tests::lower::Lower;
use dm_rust_tests::module::{modprobe, Module};
use std::path::PathBuf;

/// Measures the targets beside their in-tree twins, as root, in the guest.
#[derive(Parser)]
struct Options {
    /// The module with our targets.
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    /// Only the targets whose names hold this.
    #[arg(long, default_value = "")]
    only: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Instructions per I/O, in a guest that counts them.
    Counts {
        /// How often all is measured.
        #[arg(long, default_value_t = 3)]
        repeats: u64,
        /// Only what is compared with the baseline.
        #[arg(long)]
        quick: bool,
    },
    /// Instructions of each function, in a guest with the profiler.
    Profile,
    /// Bytes of memory.
    Memory,
    /// Throughput and latency by fio, in pairs.
    Speed {
        #[arg(long, default_value_t = 5)]
        pairs: u64,
        /// Of each run of fio.
        #[arg(long, default_value_t = 0.6)]
        seconds: f64,
        /// Only the loads whose names hold this, such as `64 KiB random read, depth 32`.
        #[arg(long, default_value = "")]
        load: String,
        /// Only what shows how the number of CPUs tells.
        #[arg(long)]
        scaling: bool,
        /// Reads and writes at once, instead of one after the other.
        #[arg(long)]
        mixed: bool,
    },
}

/// Says how far it is.
fn say(what: &str) {
    println!("{what}");
}

/// The targets that were asked for.
fn subjects(only: &str) -> impl Iterator<Item = &'static Subject> + '_ {
    SUBJECTS.iter().filter(move |s| match s.plan {
        Plan::Asked => only.len() > s.name.len() && s.label.contains(only),
        _ => s.label.contains(only),
    })
}

/// A mapped device of one segment on `lower`, or on nothing.
fn device(subject: &Subject, who: Who, lower: Option<&Lower>, len: u64) -> Result<MappedDevice> {
    let node = lower.map(Lower::node).unwrap_or_default();
    MappedDevice::create(&subject.table(who, &node, 1, len))
}

fn main() -> Result<()> {
    let options = Options::parse();
    for subject in subjects(&options.only) {
        modprobe(subject.module, &[])?;
    }
    Module::new(&options.module).ensure_loaded()?;
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot read the kernel's release")?;
    Record::Guest {
        kernel: kernel.trim().to_owned(),
        cpus,
    }
    .print();
    match options.command {
        Command::Counts { repeats, quick } => counts::run(&options.only, repeats, quick),
        Command::Profile => profile::run(&options.only),
        Command::Memory => memory::run(&options.only),
        Command::Speed {
            pairs,
            seconds,
            load,
            scaling,
            mixed,
        } => {
            let only = &options.only;
            let load = &load;
            let options = speed::Options {
                only,
                pairs,
                seconds,
                load,
                scaling,
                mixed,
            };
            speed::run(cpus, &options)
        }
    }
}
