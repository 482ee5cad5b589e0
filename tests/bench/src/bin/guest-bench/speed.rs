// SPDX-License-Identifier: GPL-2.0

//! Throughput and latency by fio, the twin and ours in alternation.

use crate::{device, say, subjects};
use anyhow::{ensure, Context, Result};
use dm_rust_bench::row::Device;
use dm_rust_bench::subject::SECTORS;
use dm_rust_bench::{Record, Who};
use dm_rust_tests::lower::ram;
use serde::Deserialize;
use std::path::Path;
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
}

/// What fio is asked to do.
struct Load {
    write: bool,
    depth: u64,
    jobs: u64,
}

impl Load {
    fn name(&self) -> String {
        format!(
            "4 KiB random {}, depth {}, {} {}",
            if self.write { "write" } else { "read" },
            self.depth,
            self.jobs,
            if self.jobs == 1 { "job" } else { "jobs" }
        )
    }

    /// I/Os in a second, and nanoseconds for one.
    fn run(&self, path: &Path, seconds: f64) -> Result<(f64, f64)> {
        let out = Command::new("fio")
            .args([
                "--output-format=json",
                "--name=job",
                "--thread",
                "--direct=1",
                "--bs=4k",
                "--ioengine=libaio",
                "--norandommap",
                "--randrepeat=1",
                "--time_based",
                "--group_reporting",
                "--ramp_time=100ms",
            ])
            .arg(format!("--filename={}", path.display()))
            .arg(format!(
                "--rw={}",
                if self.write { "randwrite" } else { "randread" }
            ))
            .arg(format!("--iodepth={}", self.depth))
            .arg(format!("--numjobs={}", self.jobs))
            .arg(format!("--runtime={}ms", (seconds * 1000.0) as u64))
            .stdin(Stdio::null())
            .output()
            .context("cannot start fio: is it installed in the guest?")?;
        let text = String::from_utf8_lossy(&out.stdout);
        let errors = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "fio: {}\n{text}{errors}", out.status);
        let start = text.find('{').context("fio printed no report")?;
        let report: Report = serde_json::from_str(&text[start..]).context("fio's report")?;
        let job = report.jobs.first().context("fio's report has no jobs")?;
        ensure!(job.error == 0, "fio: error {}", job.error);
        let side = if self.write { &job.write } else { &job.read };
        ensure!(side.total_ios > 0, "fio did no I/O");
        Ok((side.iops, side.clat_ns.mean))
    }
}

pub fn run(only: &str, cpus: u64, pairs: u64, seconds: f64, scaling: bool) -> Result<()> {
    let lower = ram()?;
    Device::open(lower.path(), false)?.fill()?;
    let jobs = if cpus > 1 { vec![1, cpus] } else { vec![1] };
    let mut loads = Vec::new();
    for write in [false, true] {
        for depth in [1, 32] {
            loads.extend(jobs.iter().map(|&jobs| Load { write, depth, jobs }));
        }
    }
    if scaling {
        loads = vec![Load {
            write: false,
            depth: 32,
            jobs: cpus,
        }];
    }
    for subject in subjects(only).filter(|s| !s.fails) {
        let both =
            [Who::C, Who::Rust].map(|who| (who, device(subject, who, Some(&lower), SECTORS)));
        for load in &loads {
            let row = match scaling {
                true => format!("scaling: {}", load.name()),
                false => load.name(),
            };
            say(&format!("{}: {row}, {cpus} CPUs", subject.name));
            for pair in 0..pairs {
                for (who, device) in &both {
                    let device = device.as_ref().map_err(|e| anyhow::anyhow!("{e:#}"))?;
                    let (iops, latency_ns) = load.run(&device.path(), seconds)?;
                    Record::Speed {
                        target: subject.name.to_owned(),
                        row: row.clone(),
                        cpus,
                        pair,
                        who: *who,
                        iops,
                        latency_ns,
                    }
                    .print();
                }
            }
        }
    }
    Ok(())
}
