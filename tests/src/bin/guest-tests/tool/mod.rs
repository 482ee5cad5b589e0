// SPDX-License-Identifier: GPL-2.0

//! `dmrs` against `dmsetup`: each sees what the other does.

use anyhow::{bail, ensure, Context, Result};
use dm_rust_tests::case::{skip, Case, Ctx};
use dm_rust_tests::process;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

mod checks;
mod commands;
mod life;
mod look;
mod lvm;
mod swap;
mod swap_failures;
mod udev;

pub fn cases() -> Vec<Case> {
    let mut cases = life::cases();
    cases.extend(commands::cases());
    cases.extend(checks::cases());
    cases.extend(look::cases());
    cases.extend(swap::cases());
    cases.extend(swap_failures::cases());
    cases.extend(udev::cases());
    cases
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

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.path);
        command.args(args);
        command
    }

    fn output(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut child = self
            .command(args)
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

    /// Runs a command with `--json`, and reads what it prints.
    fn json(&self, args: &[&str]) -> Result<Value> {
        let mut all = vec!["--json"];
        all.extend(args);
        let text = self.run(&all)?;
        serde_json::from_str(&text).with_context(|| format!("dmrs {args:?} printed {text}"))
    }

    /// Runs a command that must fail, and returns what it says.
    fn fail(&self, args: &[&str], input: &str, status: i32) -> Result<String> {
        let out = self.output(args, input)?;
        ensure!(
            out.status.code() == Some(status),
            "dmrs {args:?} ended with {}, not {status}: {}",
            out.status,
            String::from_utf8_lossy(&out.stderr)
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

fn sorted(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// A column of `dmsetup info` for a device.
fn field(name: &str, field: &str) -> Result<String> {
    let text = dmsetup(&["info", "-c", "--noheadings", "-o", field, name])?;
    Ok(text.trim().to_owned())
}

/// That a device runs, and has this table and no other.
fn expect_live(name: &str, table: &str) -> Result<()> {
    same(name, table, &dmsetup(&["table", name])?)?;
    let state = field(name, "attr,suspended")?;
    ensure!(
        state.starts_with("L-") && state.ends_with("Active"),
        "{name} is not live, or has another table in wait: {state}"
    );
    Ok(())
}
