// SPDX-License-Identifier: GPL-2.0

//! Makes the report of what was measured, and compares reports.

mod compare;
mod markdown;
mod page;
mod profile;
mod results;
mod sections;

use anyhow::{bail, ensure, Context, Result};
use clap::{Parser, Subcommand};
use compare::Verdict;
use dm_rust_bench::Record;
use profile::Symbols;
use results::Results;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Makes the report of what was measured, and compares reports.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes results.json, results.md and report.html.
    Make {
        /// What guest-bench has printed.
        records: Vec<PathBuf>,
        /// Where to.
        #[arg(long)]
        out: PathBuf,
        /// Something that was measured with, for the report: NAME=VALUE.
        #[arg(long = "meta")]
        meta: Vec<String>,
        /// Our module, to tell its size.
        #[arg(long)]
        module: PathBuf,
        /// The directory of the kernel's own modules of device mapper.
        #[arg(long)]
        tree: PathBuf,
        /// What the profiler has written.
        #[arg(long)]
        profile: Option<PathBuf>,
    },
    /// Says what moved since the baseline; fails if a target got slower, or is slower than its twin.
    Compare {
        results: PathBuf,
        #[arg(long)]
        baseline: PathBuf,
    },
    /// Takes results for the baseline, and puts their table into a text, between two marks.
    Accept {
        results: PathBuf,
        #[arg(long)]
        baseline: PathBuf,
        #[arg(long)]
        readme: PathBuf,
    },
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn results(path: &Path) -> Result<Results> {
    serde_json::from_str(&read(path)?).with_context(|| format!("{} is no results", path.display()))
}

fn make(command: Command) -> Result<()> {
    let Command::Make {
        records: paths,
        out,
        meta,
        module,
        tree,
        profile,
    } = command
    else {
        return Ok(());
    };
    let mut records: Vec<Record> = Vec::new();
    let mut symbols = String::new();
    for path in &paths {
        let text = read(path)?;
        for line in text.lines().filter(|l| l.starts_with('{')) {
            let record = serde_json::from_str(line);
            records.push(record.with_context(|| format!("in {}: {line}", path.display()))?);
        }
        for line in text.lines().filter(|l| l.starts_with("symbol ")) {
            symbols.push_str(line);
            symbols.push('\n');
        }
    }
    let meta: BTreeMap<String, String> = meta
        .iter()
        .filter_map(|m| m.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut results = Results::of(&records, meta);
    if let Some(raw) = &profile {
        results.profiles = profile::profiles(&records, &read(raw)?, &Symbols::of(symbols.lines()))?;
    }
    (results.modules, results.code) = sections::sizes(&module, &tree)?;
    ensure!(
        !results.counts.is_empty() || !results.speed.is_empty() || !results.profiles.is_empty(),
        "nothing was measured"
    );
    write(
        &out.join("results.json"),
        &(serde_json::to_string_pretty(&results)? + "\n"),
    )?;
    write(&out.join("results.md"), &markdown::full(&results))?;
    write(&out.join("report.html"), &page::page(&results)?)
}

fn compare(now: &Path, baseline: &Path) -> Result<bool> {
    let (now, baseline) = (results(now)?, results(baseline)?);
    let mut verdict = Verdict::default();
    compare::with_twins(&now, &mut verdict);
    compare::with_baseline(&now, &baseline, &mut verdict);
    ensure!(
        verdict.rows > 0,
        "no row is in both: there is nothing to compare"
    );
    for difference in compare::surroundings(&now, &baseline) {
        println!("Other surroundings: {difference}. What the twin moved by is not counted.");
    }
    match verdict.moved.len() {
        0 => println!(
            "Of {} rows none moved by more than the noise.",
            verdict.rows
        ),
        n => println!("Of {} rows {n} moved by more than the noise:", verdict.rows),
    }
    for line in &verdict.moved {
        println!("  {line}");
    }
    if verdict.failures.is_empty() {
        println!("No target executes more per I/O than its twin, or 2 % more than the baseline.");
    } else {
        println!("Too much, against the twin or the baseline:");
        for line in &verdict.failures {
            println!("  {line}");
        }
    }
    Ok(verdict.failures.is_empty())
}

/// The baseline holds the counts, a row a line.
fn baseline_text(results: &Results) -> Result<String> {
    let rows: Result<Vec<String>, _> = results.counts.iter().map(serde_json::to_string).collect();
    Ok(format!(
        "{{\n\"meta\": {},\n\"counts\": [\n{}\n]\n}}\n",
        serde_json::to_string_pretty(&results.meta)?,
        rows?.join(",\n")
    ))
}

/// Puts `table` between the marks in `text`.
fn replaced(text: &str, table: &str) -> Result<String> {
    const BEGIN: &str = "<!-- table of make bench -->\n";
    const END: &str = "<!-- end of the table -->";
    let parts = text
        .split_once(BEGIN)
        .and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let Some((head, tail)) = parts else {
        bail!("there are no marks for the table");
    };
    Ok(format!("{head}{BEGIN}{table}{END}{tail}"))
}

fn accept(from: &Path, baseline: &Path, readme: &Path) -> Result<()> {
    let results = results(from)?;
    write(baseline, &baseline_text(&results)?)?;
    let meta = |name: &str| results.meta.get(name).map_or("?", String::as_str);
    let table = format!(
        "{}\n`{}`, kernel {}, {}; {} boots.\n",
        markdown::short(&results),
        meta("command"),
        meta("kernel"),
        meta("qemu"),
        meta("boots"),
    );
    write(readme, &replaced(&read(readme)?, &table)?)
}

fn main() -> Result<ExitCode> {
    let fine = match Options::parse().command {
        command @ Command::Make { .. } => make(command).map(|()| true)?,
        Command::Compare { results, baseline } => compare(&results, &baseline)?,
        Command::Accept {
            results,
            baseline,
            readme,
        } => accept(&results, &baseline, &readme).map(|()| true)?,
    };
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_last() {
        let text = "a\n<!-- table of make bench -->\nold\n<!-- end of the table -->\nb\n";
        let once = replaced(text, "new\n").unwrap();
        assert_eq!(once, text.replace("old", "new"));
        assert_eq!(replaced(&once, "new\n").unwrap(), once);
        assert!(replaced("no marks", "new").is_err());
    }

    #[test]
    fn a_baseline_is_read_as_results() {
        let records = [
            results::tests::count("linear", "read", dm_rust_bench::Who::C, 2.0),
            results::tests::count("linear", "read", dm_rust_bench::Who::Rust, 1.0),
        ];
        let results = Results::of(&records, BTreeMap::new());
        let again: Results = serde_json::from_str(&baseline_text(&results).unwrap()).unwrap();
        assert_eq!(again.counts[0].difference(), -1.0);
    }
}
