// SPDX-License-Identifier: GPL-2.0

//! Throughput and latency by fio, the twin and ours in alternation.

use crate::{device, say, subjects};
use anyhow::{ensure, Context, Result};
use dm_rust_bench::row::{size_text, Device};
use dm_rust_bench::subject::{Plan, SECTORS};
use dm_rust_bench::{Record, Who};
use dm_rust_tests::lower::ram;
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
    clat_ns: Latency,
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

/// What fio is asked to do.
struct Load {
    write: bool,
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
            if self.write { "write" } else { "read" },
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
            "--percentile_list=99",
        ]);
        let rw = if self.write { "randwrite" } else { "randread" };
        fio.arg(format!("--rw={rw}"));
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
            let side = if self.write { &job.write } else { &job.read };
            ensure!(side.total_ios > 0, "fio did no I/O");
            let p99 = side.clat_ns.percentile.values().next();
            Ok(Done {
                iops: side.iops,
                latency_ns: side.clat_ns.mean,
                p99_ns: *p99.context("fio reports no percentile")?,
            })
        });
        each.collect()
    }
}

/// Loads of each kind.
fn loads(sizes: &[u64], jobs: &[u64]) -> Vec<Load> {
    let mut loads = Vec::new();
    for write in [false, true] {
        for &size in sizes {
            for depth in [1, 32] {
                loads.extend(jobs.iter().map(|&jobs| Load {
                    write,
                    size,
                    depth,
                    jobs,
                }));
            }
        }
    }
    loads
}

pub fn run(
    only: &str,
    cpus: u64,
    pairs: u64,
    seconds: f64,
    load: &str,
    scaling: bool,
) -> Result<()> {
    let lower = ram()?;
    Device::open(lower.path(), false)?.fill()?;
    for subject in subjects(only).filter(|s| !s.fails && s.plan.speed()) {
        let loads = match (scaling, subject.plan) {
            (true, _) => vec![Load {
                write: false,
                size: 4096,
                depth: 32,
                jobs: cpus,
            }],
            (false, Plan::All) if cpus > 1 => loads(&[4096], &[1, cpus]),
            (false, Plan::All) => loads(&[4096], &[1]),
            (false, _) => loads(&[4096, 65_536, 1 << 20], &[1, 4]),
        };
        // There are many loads of the others.
        let seconds = match subject.plan {
            Plan::All => seconds,
            _ => seconds * 2.0 / 3.0,
        };
        let sides = [Who::C, Who::Rust];
        let [theirs, ours] = sides.map(|who| device(subject, who, Some(&lower), SECTORS));
        let (theirs, ours) = (theirs?, ours?);
        let paths = [theirs.path(), ours.path()];
        let turns: Vec<_> = (0..pairs).flat_map(|_| paths.clone()).collect();
        for load in loads.iter().filter(|l| l.name().contains(load)) {
            let row = match scaling {
                true => format!("scaling: {}", load.name()),
                false => load.name(),
            };
            say(&format!("{}: {row}, {cpus} CPUs", subject.label));
            let done = load.run(&turns, seconds)?;
            for (turn, done) in done.into_iter().enumerate() {
                Record::Speed {
                    target: subject.label.to_owned(),
                    row: row.clone(),
                    cpus,
                    pair: turn as u64 / 2,
                    who: sides[turn % 2],
                    iops: done.iops,
                    latency_ns: done.latency_ns,
                    p99_ns: done.p99_ns,
                }
                .print();
            }
        }
    }
    Ok(())
}
