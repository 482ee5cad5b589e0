// SPDX-License-Identifier: GPL-2.0

//! Runs programs on a terminal of their own.

use anyhow::{ensure, Context, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

/// Runs a program to its end, and returns what it wrote to its terminal.
///
/// # Errors
/// If it cannot be started, or fails.
pub fn run(mut command: Command) -> Result<String> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no terminal")?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.into_string()?;
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits() as i32)
        .open(&name)
        .with_context(|| format!("cannot open {name}"))?;
    command
        .stdin(terminal.try_clone()?)
        .stdout(terminal.try_clone()?)
        .stderr(terminal);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    // Only the program has the terminal open now, and so its end is seen.
    drop(command);
    let mut written = Vec::new();
    match File::from(master).read_to_end(&mut written) {
        Err(error) if error.raw_os_error() != Some(Errno::IO.raw_os_error()) => {
            return Err(error).context("cannot read what is written to the terminal");
        }
        // Nobody is there any more.
        _ => {}
    }
    let status = child.wait()?;
    let text = String::from_utf8_lossy(&written).into_owned();
    ensure!(status.success(), "it ended with {status}: {text}");
    Ok(text)
}
