// SPDX-License-Identifier: GPL-2.0

//! Shows that the fuzzer finds a target that differs, and makes it small.

use super::{Fuzzer, Pool};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::Ctx;
use dm_rust_tests::dm::Line;
use dm_rust_tests::fuzz::Seed;

/// How many tables each has to be found in.
const ROUNDS: u64 = 200;

pub fn run(ctx: &Ctx) -> Result<()> {
    let mut fuzzer = Fuzzer::new(ctx, Box::new(|_, _| {}))?;
    // The in-tree targets do not differ from themselves.
    let seed = Seed { run: 1, first: 0 };
    fuzzer.run(seed, 50)?;

    // A linear target that is off by a sector.
    fuzzer.twist = Box::new(shifted);
    let report = found(&fuzzer)?;
    ensure!(report.contains("linear"), "{report}");

    // One that answers where the other fails: only I/O can tell.
    fuzzer.twist = Box::new(|line, _| {
        if line.target == "error" {
            line.target = "zero".to_owned();
            line.params.clear();
        }
    });
    fuzzer.aliases = vec![(false, "zero".into(), "error".into())];
    let report = found(&fuzzer)?;
    ensure!(
        report.contains("Read") || report.contains("Write"),
        "{report}"
    );

    // One that takes one device for another, and tells the names of the right
    // ones: only the data can tell.
    fuzzer.twist = Box::new(exchanged);
    let devices = fuzzer.sides[1].borrow();
    let [a, b] = [0, 1].map(|i| &devices.pool.devices[i]);
    fuzzer.aliases = Vec::new();
    let mut aliases = Vec::new();
    for (i, below) in [(0, b), (1, a)] {
        aliases.push((true, below.devno.clone(), format!("LOWER{i}")));
        aliases.push((true, below.name.clone(), format!("LOWER{i}")));
    }
    drop(devices);
    fuzzer.aliases = aliases;
    let report = found(&fuzzer)?;
    ensure!(report.contains("data: ours"), "{report}");
    Ok(())
}

/// Runs it, and looks at how small what it reports is.
fn found(fuzzer: &Fuzzer) -> Result<String> {
    fuzzer.start_anew()?;
    let result = fuzzer.run(Seed { run: 1, first: 0 }, ROUNDS);
    let report = format!("{:#}", result.err().context("no difference was found")?);
    let (_, small) = report
        .split_once("Made smaller:\n")
        .context("not made smaller")?;
    let (small, _) = small.split_once("replay: make test").context("no replay")?;
    let lines = |start: &str| small.lines().filter(|l| l.starts_with(start)).count();
    // A line of the table, and an operation at most.
    ensure!((1..=2).contains(&lines("  ")), "not small enough: {report}");
    Ok(report)
}

fn shifted(line: &mut Line, _: &Pool) {
    let offset = line
        .params
        .rsplit_once(' ')
        .map(|(d, o)| (d, o.parse::<u64>()));
    if let ("linear", Some((device, Ok(offset)))) = (line.target.as_str(), offset) {
        line.params = format!("{device} {}", offset.wrapping_add(1));
    }
}

fn exchanged(line: &mut Line, pool: &Pool) {
    let [a, b] = [0, 1].map(|i| &pool.devices[i]);
    for (a, b) in [(&a.node, &b.node), (&a.devno, &b.devno)] {
        let words = line.params.split(' ').map(|word| match word {
            word if word == a => b.as_str(),
            word if word == b => a.as_str(),
            word => word,
        });
        line.params = words.collect::<Vec<_>>().join(" ");
    }
}
