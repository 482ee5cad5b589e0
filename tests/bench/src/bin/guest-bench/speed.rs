// SPDX-License-Identifier: GPL-2.0

//! Throughput and latency by fio, the twins and ours in alternation.

use crate::{say, subjects};
use anyhow::{ensure, Context, Result};
use dm_rust_bench::row::{size_text, Device};
use dm_rust_bench::subject::{Plan, Subject, SECTORS};
use dm_rust_bench::{Record, Who};
use dm_rust_tests::dm::MappedDevice;
use dm_rust_tests::integrity::Integrity;
use dm_rust_tests::lower::ram;
use dm_rust_tests::SECTOR;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The part of fio's report that is used.
#[derive(Deserialize)]
struct Report {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    error: i64,
    read: Side,
    write: Side,
}

#[derive(Deserialize)]
struct Side {
    total_ios: u64,
    iops: f64,
    /// From before the system call to when the I/O is done. What comes after the call alone, fio's
    /// `clat`, says little of a target that works within it.
    lat_ns: Latency,
}

#[derive(Deserialize)]
struct Latency {
    mean: f64,
    #[serde(default)]
    percentile: BTreeMap<String, f64>,
}

/// What one run did: I/Os in a second, and nanoseconds for one.
struct Done {
    iops: f64,
    latency_ns: f64,
    p99_ns: f64,
}

/// Which way the data goes.
#[derive(Clone, Copy)]
enum Way {
    Read,
    Write,
    /// As many writes as reads.
    Mixed,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Read => "read",
            Way::Write => "write",
            Way::Mixed => "mixed",
        }
    }

    /// What fio calls it, at random places.
    fn fio(self) -> &'static str {
        match self {
            Way::Read => "randread",
            Way::Write => "randwrite",
            Way::Mixed => "randrw",
        }
    }
}

/// What fio is asked to do.
struct Load {
    way: Way,
    /// Bytes.
    size: u64,
    depth: u64,
    jobs: u64,
}

impl Load {
    fn name(&self) -> String {
        format!(
            "{} random {}, depth {}, {} {}",
            size_text(self.size),
            self.way.name(),
            self.depth,
            self.jobs,
            if self.jobs == 1 { "job" } else { "jobs" }
        )
    }

    /// Runs it on each of the devices in turn. All turns are one run of fio, whose start takes as
    /// long as a turn.
    fn run(&self, turns: &[PathBuf], seconds: f64) -> Result<Vec<Done>> {
        let mut fio = Command::new("fio");
        fio.args([
            "--output-format=json",
            "--thread",
            "--direct=1",
            "--ioengine=libaio",
            "--norandommap",
            "--randrepeat=1",
            "--time_based",
            "--group_reporting",
            "--ramp_time=100ms",
            "--clat_percentiles=0",
            "--lat_percentiles=1",
            "--percentile_list=99",
        ]);
        fio.arg(format!("--rw={}", self.way.fio()));
        fio.arg(format!("--bs={}", self.size));
        fio.arg(format!("--iodepth={}", self.depth));
        fio.arg(format!("--numjobs={}", self.jobs));
        fio.arg(format!("--runtime={}ms", (seconds * 1000.0) as u64));
        for (number, path) in turns.iter().enumerate() {
            fio.arg(format!("--name=turn{number}"));
            fio.arg(format!("--filename={}", path.display()));
            fio.args(["--stonewall", "--new_group"]);
        }
        let out = fio
            .stdin(Stdio::null())
            .output()
            .context("cannot start fio: is it installed in the guest?")?;
        let text = String::from_utf8_lossy(&out.stdout);
        let errors = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "fio: {}\n{text}{errors}", out.status);
        let start = text.find('{').context("fio printed no report")?;
        let report: Report = serde_json::from_str(&text[start..]).context("fio's report")?;
        ensure!(
            report.jobs.len() == turns.len(),
            "fio reports {} turns of {}",
            report.jobs.len(),
            turns.len()
        );
        let each = report.jobs.iter().map(|job| {
            ensure!(job.error == 0, "fio: error {}", job.error);
            let sides = match self.way {
                Way::Read => &[&job.read][..],
                Way::Write => &[&job.write],
                Way::Mixed => &[&job.read, &job.write],
            };
            let mut done = Done {
                iops: 0.0,
                latency_ns: 0.0,
                p99_ns: 0.0,
            };
            for side in sides {
                ensure!(side.total_ios > 0, "fio did no I/O");
                let p99 = side.lat_ns.percentile.values().next();
                done.iops += side.iops;
                // There are as many of each.
                done.latency_ns += side.lat_ns.mean / sides.len() as f64;
                // That of the slower.
                done.p99_ns = done.p99_ns.max(*p99.context("fio reports no percentile")?);
            }
            Ok(done)
        });
        each.collect()
    }
}

/// Loads of each kind.
fn loads(ways: &[Way], sizes: &[u64], jobs: &[u64]) -> Vec<Load> {
    let mut loads = Vec::new();
    for &way in ways {
        for &size in sizes {
            for depth in [1, 32] {
                loads.extend(jobs.iter().map(|&jobs| Load {
                    way,
                    size,
                    depth,
                    jobs,
                }));
            }
        }
    }
    loads
}

/// Those that are measured, together where ours is the same: it has its turns but once.
fn groups(only: &str) -> Vec<Vec<&'static Subject>> {
    let mut groups: Vec<Vec<&'static Subject>> = Vec::new();
    for subject in subjects(only).filter(|s| !s.fails && s.plan.speed()) {
        match groups.iter_mut().find(|group| group[0].same_ours(subject)) {
            Some(group) => group.push(subject),
            None => groups.push(vec![subject]),
        }
    }
    groups
}

pub struct Options<'a> {
    pub only: &'a str,
    pub pairs: u64,
    /// Of each turn.
    pub seconds: f64,
    /// Part of the names of loads.
    pub load: &'a str,
    pub scaling: bool,
    pub mixed: bool,
}

pub fn run(cpus: u64, options: &Options<'_>) -> Result<()> {
    let lower = ram()?;
    Device::open(lower.path(), false)?.fill()?;
    let ways: &[Way] = match options.mixed {
        true => &[Way::Mixed],
        false => &[Way::Read, Way::Write],
    };
    for group in groups(options.only) {
        let first = group[0];
        let loads = match (options.scaling, first.plan) {
            (true, _) => vec![Load {
                way: Way::Read,
                size: 4096,
                depth: 32,
                jobs: cpus,
            }],
            (false, Plan::All) if cpus > 1 => loads(ways, &[4096], &[1, cpus]),
            (false, Plan::All) => loads(ways, &[4096], &[1]),
            (false, _) => loads(ways, &[4096, 65_536, 1 << 20], &[1, 4]),
        };
        // There are many loads of the others.
        let seconds = match first.plan {
            Plan::All => options.seconds,
            _ => options.seconds * 2.0 / 3.0,
        };
        // One twin, ours, and the other twins.
        const OURS: usize = 1;
        let below = match first.tag {
            0 => None,
            tag => {
                let lower = ram()?;
                let below = Integrity::new(&lower, tag, SECTOR)?;
                Some((below, lower))
            }
        };
        let (node, len) = match &below {
            None => (lower.node(), SECTORS),
            Some((below, _)) => (below.node(), below.sectors.min(SECTORS)),
        };
        let device = |subject: &Subject, who| -> Result<MappedDevice> {
            MappedDevice::create(&subject.table(who, &node, 1, len))
        };
        let mut devices = Vec::new();
        for subject in &group {
            devices.push(device(subject, Who::C)?);
        }
        devices.insert(OURS, device(first, Who::Rust)?);
        if below.is_some() {
            // What was never written cannot be read.
            Device::open(&devices[0].path(), false)?.fill()?;
        }
        let paths: Vec<_> = devices.iter().map(|device| device.path()).collect();
        let turns: Vec<_> = (0..options.pairs).flat_map(|_| paths.clone()).collect();
        for load in loads.iter().filter(|l| l.name().contains(options.load)) {
            let row = match options.scaling {
                true => format!("scaling: {}", load.name()),
                false => load.name(),
            };
            say(&format!("{}: {row}, {cpus} CPUs", first.label));
            let done = load.run(&turns, seconds)?;
            for (pair, done) in (0..).zip(done.chunks_exact(paths.len())) {
                for (number, subject) in group.iter().enumerate() {
                    let theirs = if number < OURS { number } else { number + 1 };
                    for (who, done) in [(Who::C, &done[theirs]), (Who::Rust, &done[OURS])] {
                        Record::Speed {
                            target: subject.label.to_owned(),
                            row: row.clone(),
                            cpus,
                            pair,
                            who,
                            iops: done.iops,
                            latency_ns: done.latency_ns,
                            p99_ns: done.p99_ns,
                        }
                        .print();
                    }
                }
            }
        }
    }
    Ok(())
}
