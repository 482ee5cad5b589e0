// SPDX-License-Identifier: GPL-2.0

//! Where udev runs, nodes are its work, and each change waits until it is done.

use super::{dmsetup, Tool};
use anyhow::{ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::{cleanup, lower, process};
use std::path::Path;

pub fn cases() -> Vec<Case> {
    // udev leaves its database, and links in /dev, behind.
    vec![case("tool::with_udev", with_udev).limit(120).last()]
}

struct Udev;

impl Udev {
    fn start() -> Result<Udev> {
        process::run("/usr/lib/systemd/systemd-udevd", &["--daemon"])?;
        process::run("udevadm", &["settle", "--timeout=30"])?;
        Ok(Udev)
    }
}

impl Drop for Udev {
    fn drop(&mut self) {
        if let Err(e) = process::run("udevadm", &["control", "--exit"]) {
            cleanup::left_behind("systemd-udevd", format!("{e:#}"));
        }
    }
}

/// Semaphores that programs wait on for udev.
fn cookies() -> Result<usize> {
    let text = process::run("ipcs", &["-s"])?;
    Ok(text
        .lines()
        .filter(|line| line.starts_with("0x0d4d"))
        .count())
}

fn is_link(name: &str) -> bool {
    let path = Path::new("/dev/mapper").join(name);
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn with_udev(ctx: &Ctx) -> Result<()> {
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-udev", "dmr-udev2"])?;
    let udev = Udev::start()?;
    let run = |args: &[&str]| -> Result<()> {
        let out = tool.command(args).env_remove("DM_DISABLE_UDEV").output()?;
        ensure!(
            out.status.success(),
            "dmrs {args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        // Whoever made a semaphore takes it away.
        ensure!(cookies()? == 0, "dmrs {args:?} left a cookie");
        Ok(())
    };
    let linear = ctx.env.target("linear");
    let table = |start| format!("0 64 {linear} {} {start}", lower.node());
    for _ in 0..3 {
        run(&[
            "create",
            "dmr-udev",
            "--table",
            &table(0),
            "--uuid",
            "DMR-udev",
        ])?;
        ensure!(is_link("dmr-udev"), "the node is not udev's");
        ensure!(
            Path::new("/dev/disk/by-id/dm-uuid-DMR-udev").exists(),
            "udev's rules were not run to their end"
        );
        run(&["load", "dmr-udev", "--table", &table(8)])?;
        run(&["suspend", "dmr-udev"])?;
        run(&["resume", "dmr-udev"])?;
        run(&["rename", "dmr-udev", "dmr-udev2"])?;
        ensure!(
            is_link("dmr-udev2") && !is_link("dmr-udev"),
            "the links were not renamed"
        );
        let done = process::run("udevadm", &["info", "/dev/mapper/dmr-udev2"])?;
        ensure!(done.contains("DM_NAME=dmr-udev2"), "{done}");
        if ctx.env.module.is_some() {
            run(&["swap", "dmr-udev2", "--to", "c"])?;
            run(&["swap", "dmr-udev2", "--to", "rust"])?;
        }
        run(&["mknodes"])?;
        ensure!(is_link("dmr-udev2"), "mknodes replaced udev's link");
        run(&["remove", "dmr-udev2"])?;
        ensure!(!is_link("dmr-udev2"), "its link is left");
    }
    ensure!(!dmsetup(&["ls"])?.contains("dmr-udev"), "it is left");
    drop(udev);
    Ok(())
}
