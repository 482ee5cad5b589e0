// SPDX-License-Identifier: GPL-2.0

//! `dmrs` against `dmsetup`: each sees what the other does.

use anyhow::{bail, ensure, Context, Result};
use dm_rust_tests::case::{case, skip, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::{lower, process};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::NamedTempFile;

pub fn cases() -> Vec<Case> {
    vec![
        case("tool::devices_made_by_either", made_by_either),
        case("tool::a_life", a_life),
        case("tool::listings", listings),
        case("tool::errors", errors),
    ]
}

/// The tool, and the devices that a test makes with it.
struct Tool<'a> {
    path: &'a Path,
    names: Vec<&'static str>,
}

impl Tool<'_> {
    fn new<'a>(ctx: &'a Ctx, names: &[&'static str]) -> Result<Tool<'a>> {
        let path = ctx.env.dmrs.as_deref();
        Ok(Tool {
            path: path.ok_or_else(|| skip("started without --dmrs"))?,
            names: names.to_vec(),
        })
    }

    fn output(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut child = Command::new(self.path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let sent = child
            .stdin
            .take()
            .context("no pipe")?
            .write_all(input.as_bytes());
        // Not every command reads its input.
        drop(sent);
        Ok(child.wait_with_output()?)
    }

    fn run_with(&self, args: &[&str], input: &str) -> Result<String> {
        let out = self.output(args, input)?;
        let stderr = String::from_utf8_lossy(&out.stderr);
        if !out.status.success() {
            bail!("dmrs {args:?} ended with {}: {stderr}", out.status);
        }
        ensure!(stderr.is_empty(), "dmrs {args:?} complained: {stderr}");
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        self.run_with(args, "")
    }

    /// Runs a command that must fail, and returns what it says.
    fn fail(&self, args: &[&str], input: &str, status: i32) -> Result<String> {
        let out = self.output(args, input)?;
        ensure!(
            out.status.code() == Some(status),
            "dmrs {args:?} ended with {}, not {status}",
            out.status
        );
        Ok(String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

impl Drop for Tool<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = process::output("dmsetup", &["remove", "--force", name]);
        }
    }
}

fn dmsetup(args: &[&str]) -> Result<String> {
    process::run("dmsetup", args)
}

fn same(what: &str, dmrs: &str, dmsetup: &str) -> Result<()> {
    ensure!(
        dmrs.trim_end() == dmsetup.trim_end(),
        "{what}:\ndmrs    {dmrs}\ndmsetup {dmsetup}"
    );
    Ok(())
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
    let tool = Tool::new(ctx, &names)?;
    let lower = lower::ram()?;
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
    let field = |name: &str, field| dmsetup(&["info", "-c", "--noheadings", "-o", field, name]);
    ensure!(
        field("dmr-arg", "uuid")?.trim() == "DMR-u",
        "the UUID is lost"
    );
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

fn sorted(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Suspended, reloaded, resumed, removed: dmsetup sees each step.
fn a_life(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-life"])?;
    let lower = lower::ram()?;
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
    let names = |text: String| -> Vec<String> {
        let mut names: Vec<_> = text
            .lines()
            .filter_map(|l| Some(l.split_ascii_whitespace().next()?.to_owned()))
            .collect();
        names.sort();
        names
    };
    let (ours, theirs) = (names(tool.run(&["ls"])?), names(dmsetup(&["ls"])?));
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

/// What the kernel finds wrong is told, and nothing is left behind.
fn errors(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-bad", "dmr-good"])?;
    let lower = lower::ram()?;
    let linear = ctx.env.target("linear");
    let bad = format!("0 64 {linear} {} x", lower.node());
    let said = tool.fail(&["create", "dmr-bad", "--table", &bad], "", 1)?;
    ensure!(
        said.contains("Invalid device sector"),
        "the kernel's reason is not told: {said}"
    );
    let said = tool.fail(&["create", "dmr-bad"], "0 64\n", 1)?;
    ensure!(said.contains("line 1"), "the line is not named: {said}");
    let said = tool.fail(&["remove", "dmr-bad"], "", 1)?;
    ensure!(said.contains("dmr-bad"), "the device is not named: {said}");
    tool.fail(&["create"], "", 2)?;
    let good = format!("0 64 {linear} {} 0", lower.node());
    tool.run(&["create", "dmr-good", "--table", &good])?;
    let said = tool.fail(&["create", "dmr-good", "--table", &good], "", 1)?;
    ensure!(said.contains("dmr-good"), "the device is not named: {said}");
    let open = Disk::open(Path::new("/dev/mapper/dmr-good"), Mode::Direct)?;
    let said = tool.fail(&["remove", "dmr-good"], "", 1)?;
    ensure!(
        said.contains("in use") || said.contains("busy"),
        "not said why: {said}"
    );
    drop(open);
    ctx.take_log("^device-mapper: ")?;
    lower_is_free(&lower, &tool)
}

fn lower_is_free(lower: &lower::Lower, tool: &Tool) -> Result<()> {
    tool.run(&["remove", "dmr-good"])?;
    dm_rust_tests::disk::expect_released(lower.path())
}
