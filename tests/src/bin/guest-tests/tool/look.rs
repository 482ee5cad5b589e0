// SPDX-License-Identifier: GPL-2.0

//! What is shown: for people, for scripts, and of keys nothing.

use super::{dmsetup, field, Tool};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{Disk, Mode};
use dm_rust_tests::{lower, terminal, wait};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    vec![
        case("tool::json", json),
        case("tool::colours", colours),
        case("tool::diff", diff),
        case("tool::stat", stat),
        case("tool::manual_and_completions", manual_and_completions),
    ]
}

/// Each field of each listing is what dmsetup has.
fn json(ctx: &Ctx) -> Result<()> {
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-j"])?;
    let linear = ctx.env.target("linear");
    let table = format!("0 64 {linear} {} 8", lower.node());
    tool.run(&[
        "create",
        "dmr-j",
        "--table",
        &table,
        "--uuid",
        "DMR-j",
        "--readonly",
    ])?;
    let of = |document: &Value| -> Result<Value> {
        let all = document.as_array().context("no list")?.iter();
        let mut ours = all.filter(|device| device["name"] == "dmr-j");
        ours.next().cloned().context("dmr-j is missing")
    };
    for document in [
        tool.json(&["ls"])?,
        tool.json(&["info"])?,
        tool.json(&["table"])?,
        tool.json(&["status", "dmr-j"])?,
        tool.json(&["deps"])?,
    ] {
        let device = of(&document)?;
        ensure!(device["uuid"] == "DMR-j", "{device}");
        for name in ["major", "minor"] {
            ensure!(
                device[name].as_u64() == Some(field("dmr-j", name)?.parse()?),
                "{name} of {device}"
            );
        }
    }
    let info = of(&tool.json(&["info"])?)?;
    ensure!(info["sectors"] == 64 && info["read_only"] == true, "{info}");
    ensure!(
        info["open_count"].as_u64() == Some(field("dmr-j", "open")?.parse()?),
        "{info}"
    );
    ensure!(
        info["event_nr"].as_u64() == Some(field("dmr-j", "events")?.parse()?),
        "{info}"
    );
    let target = &of(&tool.json(&["table"])?)?["targets"][0];
    let line = format!(
        "{} {} {} {}",
        target["start"],
        target["length"],
        target["target"].as_str().unwrap_or_default(),
        target["args"].as_str().unwrap_or_default()
    );
    ensure!(line == dmsetup(&["table", "dmr-j"])?.trim(), "{line}");
    let targets = tool.json(&["targets"])?;
    let ours = targets.as_array().context("no list")?.iter();
    for target in ours {
        let (name, version) = (&target["name"], &target["version"]);
        let line = dmsetup(&["targets"])?
            .lines()
            .find(|line| line.split_whitespace().next() == name.as_str())
            .context("dmsetup has no such target")?
            .to_owned();
        ensure!(
            line.ends_with(&format!("v{}", version.as_str().unwrap_or("?"))),
            "{line}"
        );
    }
    let version = tool.json(&["version"])?;
    let theirs = dmsetup(&["version"])?;
    ensure!(
        theirs.contains(version["driver"].as_str().unwrap_or("?")),
        "{version}"
    );
    let said = tool.fail(&["--json", "info", "dmr-nothing"], "", 3)?;
    let error: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    ensure!(
        error["exit_code"] == 3 && error["error"].is_string(),
        "{error}"
    );
    Ok(())
}

/// A terminal gets colours, unless `NO_COLOR` is set; all else gets none.
fn colours(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-red"])?;
    let zero = ctx.env.target("zero");
    tool.run(&["create", "dmr-red", "--table", &format!("0 8 {zero}")])?;
    let on_terminal = |no_color: Option<&str>| -> Result<String> {
        let mut command = tool.command(&["table"]);
        command.env("TERM", "xterm").env_remove("NO_COLOR");
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        terminal::run(command)
    };
    let [coloured, plain] = [on_terminal(None)?, on_terminal(Some("1"))?];
    for text in [&coloured, &plain] {
        ensure!(text.contains("dmr-red"), "no table on a terminal: {text}");
    }
    ensure!(coloured.contains('\u{1b}'), "no colours on a terminal");
    ensure!(!plain.contains('\u{1b}'), "NO_COLOR is not heeded");
    ensure!(
        !tool.run(&["table"])?.contains('\u{1b}'),
        "colours in a pipe"
    );
    let text = tool.run(&["ls"])?;
    ensure!(text.contains("4.00 KiB"), "no readable size: {text}");
    Ok(())
}

fn diff(ctx: &Ctx) -> Result<()> {
    let (first, second) = (lower::ram()?, lower::ram()?);
    let tool = Tool::new(ctx, &["dmr-da", "dmr-db"])?;
    let linear = ctx.env.target("linear");
    let create = |name, lower: &lower::Lower| {
        let table = format!("0 8192 {linear} {} 0", lower.node());
        tool.run(&["create", name, "--table", &table])
    };
    create("dmr-da", &first)?;
    create("dmr-db", &second)?;
    ensure!(
        tool.json(&["diff", "dmr-da", "dmr-da"])?["differ"] == false,
        "differs from itself"
    );
    // Three blocks that adjoin across the pieces that are read, and one more.
    let disk = Disk::open(Path::new("/dev/mapper/dmr-db"), Mode::Direct)?;
    for sector in [2040, 2048, 2056, 8184] {
        disk.write(sector, &[1; 4096])?;
    }
    drop(disk);
    let out = tool.output(&["--json", "diff", "dmr-da", "dmr-db"], "")?;
    ensure!(out.status.code() == Some(7), "ended with {}", out.status);
    let found: Value = serde_json::from_slice(&out.stdout)?;
    let expected = serde_json::json!([
        { "start": 2040, "length": 24 },
        { "start": 8184, "length": 8 },
    ]);
    ensure!(found["data"] == expected, "{found}");
    ensure!(found["tables_differ"] == true, "{found}");
    let out = tool.output(&["diff", "dmr-da", "dmr-db", "--range", "0+2040"], "")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(text.contains("data: the same"), "{text}");
    ensure!(
        text.contains(&format!("{linear} {}", second.devno())),
        "{text}"
    );
    // Less than a block is compared as one.
    let out = tool.output(
        &["--json", "diff", "dmr-da", "dmr-db", "--range", "2041+1"],
        "",
    )?;
    let found: Value = serde_json::from_slice(&out.stdout)?;
    let expected = serde_json::json!([{ "start": 2040, "length": 8 }]);
    ensure!(found["data"] == expected, "{found}");
    // Any block device will do.
    let node = second.node();
    let out = tool.output(
        &["--json", "diff", "--range", "2040+8", &node, "dmr-db"],
        "",
    )?;
    let found: Value = serde_json::from_slice(&out.stdout)?;
    ensure!(found["data"] == serde_json::json!([]), "{found}");
    ensure!(found["tables_differ"].is_null(), "{found}");
    tool.fail(&["diff", "dmr-da", "dmr-nothing"], "", 3)?;
    Ok(())
}

/// Each command has a page, and the completions are what their shell can read.
fn manual_and_completions(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &[])?;
    let directory = tempfile::TempDir::new()?;
    tool.run(&["manual", &directory.path().to_string_lossy()])?;
    let help = tool.run(&["--help"])?;
    let commands = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| {
            line.split_whitespace()
                .next()
                .filter(|_| !line.starts_with("   "))
        });
    let mut pages = 0;
    for command in commands {
        let page = directory.path().join(format!("dmrs-{command}.8"));
        let text =
            std::fs::read_to_string(&page).with_context(|| format!("no page of {command}"))?;
        ensure!(
            text.contains(".SH SYNOPSIS"),
            "the page of {command} is {text}"
        );
        pages += 1;
    }
    ensure!(pages >= 20, "only {pages} commands in {help}");
    let main = std::fs::read_to_string(directory.path().join("dmrs.8"))?;
    ensure!(main.contains("Exit codes"), "no exit codes in {main}");
    let bash = directory.path().join("bash");
    std::fs::write(&bash, tool.run(&["completions", "bash"])?)?;
    dm_rust_tests::process::run("bash", &["-n", &bash.to_string_lossy()])?;
    for shell in ["zsh", "fish"] {
        let text = tool.run(&["completions", shell])?;
        ensure!(
            text.contains("swap") && text.contains("dry-run"),
            "{shell}: {text}"
        );
    }
    Ok(())
}

/// Each target's own I/O is counted, and nothing is left in the kernel, even after a kill.
fn stat(ctx: &Ctx) -> Result<()> {
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-busy"])?;
    let linear = ctx.env.target("linear");
    let node = lower.node();
    let table = format!("0 64 {linear} {node} 0\n64 64 {linear} {node} 64");
    tool.run_with(&["create", "dmr-busy"], &table)?;
    let disk = Disk::open(Path::new("/dev/mapper/dmr-busy"), Mode::Direct)?;
    let list = || dmsetup(&["message", "dmr-busy", "0", "@stats_list"]);
    let start = |count: &str| {
        let mut command = tool.command(&["--json", "stat", "dmr-busy", "-i", "1", "-c", count]);
        command.stdout(Stdio::piped()).spawn()
    };
    let regions = |n: usize| -> Result<()> {
        wait::until_true(&format!("{n} regions"), || Ok(list()?.lines().count() == n))
    };
    // All of it within the second that is counted, which may not come off at once: the guest may have
    // to wait for its CPUs.
    let mut told = Value::Null;
    let mut counted = || -> Result<bool> {
        let mut child = start("1")?;
        wait::until_true("2 regions", || {
            Ok(list()?.lines().count() == 2 || child.try_wait()?.is_some())
        })?;
        thread::sleep(Duration::from_millis(100));
        for _ in 0..5 {
            disk.write(64, &[1; 4096])?;
        }
        disk.read(0, 8)?;
        let out = child.wait_with_output()?;
        ensure!(out.status.success(), "ended with {}", out.status);
        told = serde_json::from_slice(&out.stdout)?;
        let targets = &told["devices"][0]["targets"];
        let counts = |n: usize| {
            let of = |name: &str| targets[n][name].as_u64().unwrap_or(u64::MAX);
            (
                of("reads"),
                of("sectors_read"),
                of("writes"),
                of("sectors_written"),
            )
        };
        Ok(counts(0) == (1, 8, 0, 0) && counts(1) == (0, 0, 5, 40))
    };
    let mut tries = 0..10;
    while !counted()? {
        ensure!(tries.next().is_some(), "{told}");
    }
    regions(0)?;
    let mut child = start("100")?;
    regions(2)?;
    child.kill()?;
    child.wait()?;
    ensure!(
        list()?.lines().count() == 2,
        "nothing was left to take down"
    );
    let child = start("1")?;
    child.wait_with_output()?;
    regions(0)
}
