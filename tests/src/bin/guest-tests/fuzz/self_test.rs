// SPDX-License-Identifier: GPL-2.0

//! Shows that the fuzzer finds a target that differs, and makes it small.

use super::{Fuzzer, Pool};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::Ctx;
use dm_rust_tests::dm::Line;
use dm_rust_tests::fuzz::{Plan, Seed};

/// How many tables it has to be found in.
const ROUNDS: u64 = 400;

pub fn run(ctx: &Ctx) -> Result<()> {
    let mut fuzzer = Fuzzer::new(ctx, Box::new(|_, _| {}))?;
    fuzzer.enough = 1;
    let run = fuzzer.run(SEED, 20)?;
    ensure!(
        run.failures.is_empty(),
        "in-tree targets are said to differ from themselves: {}",
        run.failures[0].text
    );

    // A linear target that is off by a sector.
    fuzzer.twist = Box::new(shifted);
    let (small, text) = found(&fuzzer)?;
    ensure!(small.table[0].target == "linear", "{text}");

    // One that answers where the other fails, under the same name.
    fuzzer.twist = Box::new(|line, _| {
        if line.target == "error" {
            line.target = "zero".to_owned();
            line.params.clear();
        }
    });
    fuzzer.aliases = vec![(false, "zero".into(), "error".into())];
    let (small, text) = found(&fuzzer)?;
    ensure!(small.table[0].target == "error", "{text}");

    // One that takes one device for another, and says that it is the right one:
    // only the data can tell.
    fuzzer.twist = Box::new(exchanged);
    fuzzer.aliases = fuzzer.sides[1].borrow().pool.devices[..2]
        .iter()
        .zip([1, 0])
        .flat_map(|(below, other)| {
            let token = format!("LOWER{other}");
            [
                (true, below.devno.clone(), token.clone()),
                (true, below.name.clone(), token),
            ]
        })
        .collect();
    let (small, text) = found(&fuzzer)?;
    ensure!(small.io.len() == 1 && text.contains("data: ours"), "{text}");
    Ok(())
}

const SEED: Seed = Seed { run: 1, first: 0 };

/// Runs it, and looks at whether what it reports is small.
fn found(fuzzer: &Fuzzer) -> Result<(Plan, String)> {
    fuzzer.start_anew(|_| true)?;
    let failure = fuzzer.run(SEED, ROUNDS)?.failures.into_iter().next();
    let failure = failure.context("no difference was found")?;
    let text = failure.text;
    let small = failure
        .small
        .with_context(|| format!("not made smaller: {text}"))?;
    ensure!(
        small.table.len() == 1 && small.io.len() <= 1,
        "not small: {text}"
    );
    ensure!(
        text.contains("replay: make test T=fuzz::tables SEED=1"),
        "{text}"
    );
    Ok((small, text))
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
