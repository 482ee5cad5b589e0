// SPDX-License-Identifier: GPL-2.0

//! Runs the guest's commands.

use anyhow::{bail, Context, Result};
use std::process::{Command, Output, Stdio};

/// Runs a command without input; its output is returned whatever its status.
pub fn output(program: &str, args: &[&str]) -> Result<Output> {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}: is it installed in the guest?"))
}

/// Runs a command that must succeed, and returns its standard output.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    let out = output(program, args)?;
    if !out.status.success() {
        bail!(
            "`{program} {}` ended with {}: {}{}",
            args.join(" "),
            out.status,
            String::from_utf8_lossy(&out.stderr),
            String::from_utf8_lossy(&out.stdout),
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
