// SPDX-License-Identifier: GPL-2.0

//! Devices made, changed and listed: dmsetup sees what `dmrs` does.

use super::{dmsetup, field, same, sorted, Tool};
use anyhow::{ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::lower;
use std::io::Write;
use std::path::Path;
use tempfile::NamedTempFile;

pub fn cases() -> Vec<Case> {
    vec![
        case("tool::devices_made_by_either", made_by_either),
        case("tool::a_life", a_life),
        case("tool::listings", listings),
    ]
}

/// Tables from the argument, a file and standard input, with comments, and of
/// several lines; both tools show the same of all of them.
fn made_by_either(ctx: &Ctx) -> Result<()> {
    let names = [
        "dmr-arg",
        "dmr-file",
        "dmr-stdin",
        "dmr-dmsetup",
        "dmr-readonly",
    ];
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &names)?;
    let [linear, striped] = ["linear", "striped"].map(|t| ctx.env.target(t));
    let node = lower.node();
    let table = format!(
        "# two lines\n\n0 64 {linear} {node} 1 # odd\n64 64 {striped} 2 8 {node} 128 {node} 256\n"
    );
    let mut file = NamedTempFile::new()?;
    file.write_all(table.as_bytes())?;
    tool.run(&[
        "create",
        "dmr-arg",
        "--table",
        &format!("0 64 {linear} {node} 7"),
        "--uuid",
        "DMR-u",
    ])?;
    tool.run(&["create", "dmr-file", &file.path().to_string_lossy()])?;
    tool.run_with(&["create", "dmr-stdin"], &table)?;
    tool.run(&[
        "create",
        "--readonly",
        "dmr-readonly",
        "--table",
        &format!("0 8 {linear} {node} 0"),
    ])?;
    dmsetup(&[
        "create",
        "dmr-dmsetup",
        "--table",
        &format!("0 8 {} ", ctx.env.target("zero")),
    ])?;
    for name in names {
        for command in ["table", "status"] {
            same(
                name,
                &tool.run(&[command, name])?,
                &dmsetup(&[command, name])?,
            )?;
        }
        ensure!(
            Path::new("/dev/mapper").join(name).exists(),
            "no node for {name}"
        );
    }
    for command in ["table", "status"] {
        same(
            command,
            &sorted(&tool.run(&[command])?),
            &sorted(&dmsetup(&[command])?),
        )?;
    }
    ensure!(field("dmr-arg", "uuid")? == "DMR-u", "the UUID is lost");
    ensure!(
        field("dmr-readonly", "attr")?.contains('r'),
        "not read-only"
    );
    let disk = Disk::open(Path::new("/dev/mapper/dmr-file"), Mode::Direct)?;
    disk.write(0, &pattern(1, 0, 64))?;
    lower.open()?.expect_pattern(1, 1, 0, 64)?;
    drop(disk);
    tool.run(&[
        "remove",
        "dmr-arg",
        "dmr-file",
        "dmr-stdin",
        "dmr-dmsetup",
        "dmr-readonly",
    ])?;
    ctx.take_log("caused an alignment inconsistency")?;
    let left = dmsetup(&["ls"])?;
    ensure!(!left.contains("dmr-"), "still there: {left}");
    Ok(())
}

/// Suspended, reloaded, resumed, removed: dmsetup sees each step.
fn a_life(ctx: &Ctx) -> Result<()> {
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-life"])?;
    let linear = ctx.env.target("linear");
    let table = |start| format!("0 64 {linear} {} {start}", lower.node());
    let state = || {
        dmsetup(&[
            "info",
            "-c",
            "--noheadings",
            "-o",
            "attr,suspended",
            "dmr-life",
        ])
    };
    tool.run(&["create", "dmr-life", "--notable"])?;
    ensure!(
        state()?.starts_with("--"),
        "a table from nowhere: {}",
        state()?
    );
    tool.run_with(&["load", "dmr-life"], &table(1))?;
    ensure!(
        state()?.starts_with("-I"),
        "no inactive table: {}",
        state()?
    );
    same(
        "inactive",
        &tool.run(&["table", "--inactive", "dmr-life"])?,
        &dmsetup(&["table", "--inactive", "dmr-life"])?,
    )?;
    tool.run(&["resume", "dmr-life"])?;
    ensure!(state()?.starts_with("L-"), "not live: {}", state()?);
    tool.run(&["reload", "dmr-life", "--table", &table(2)])?;
    ensure!(state()?.starts_with("LI"), "no second table: {}", state()?);
    tool.run(&["suspend", "dmr-life"])?;
    ensure!(
        state()?.contains("Suspended"),
        "not suspended: {}",
        state()?
    );
    tool.run(&["resume", "dmr-life"])?;
    ensure!(
        dmsetup(&["table", "dmr-life"])?.trim_end().ends_with(" 2"),
        "not the second table"
    );
    tool.run(&["remove", "dmr-life"])?;
    ensure!(
        !Path::new("/dev/mapper/dmr-life").exists(),
        "its node is left"
    );
    Ok(())
}

fn listings(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-one", "dmr-two"])?;
    let zero = ctx.env.target("zero");
    for name in ["dmr-one", "dmr-two"] {
        tool.run(&["create", name, "--table", &format!("0 8 {zero}")])?;
    }
    let names = |text: String, skip| -> Vec<String> {
        let lines = text.lines().skip(skip);
        let mut names: Vec<_> = lines
            .filter_map(|l| Some(l.split_ascii_whitespace().next()?.to_owned()))
            .collect();
        names.sort();
        names
    };
    // Ours has a heading.
    let (ours, theirs) = (names(tool.run(&["ls"])?, 1), names(dmsetup(&["ls"])?, 0));
    ensure!(
        ours == theirs && ours.len() >= 2,
        "ls: {ours:?}, dmsetup {theirs:?}"
    );
    let words = |text: String| -> Vec<String> {
        let mut lines: Vec<_> = text
            .lines()
            .map(|l| l.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort();
        lines
    };
    let (ours, theirs) = (
        words(tool.run(&["targets"])?),
        words(dmsetup(&["targets"])?),
    );
    ensure!(ours == theirs, "targets: {ours:?}, dmsetup {theirs:?}");
    Ok(())
}
