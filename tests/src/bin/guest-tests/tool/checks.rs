// SPDX-License-Identifier: GPL-2.0

//! Wrong tables: what is said of them, and that the kernel says the same.

use super::{dmsetup, Tool};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{Disk, Mode};
use dm_rust_tests::{fs, lower};
use std::path::Path;

pub fn cases() -> Vec<Case> {
    vec![
        case("tool::errors", errors),
        case("tool::check_agrees_with_the_kernel", agrees_with_the_kernel).limit(120),
        case("tool::check_knows_who_has_a_device", knows_who_has_a_device),
        case("tool::check_hides_keys", hides_keys),
        case("tool::exit_codes", exit_codes),
    ]
}

/// What is found wrong is pointed at, the kernel's own reason told, and nothing left behind.
fn errors(ctx: &Ctx) -> Result<()> {
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-bad", "dmr-good"])?;
    let linear = ctx.env.target("linear");
    let bad = format!("0 64 {linear} {} x", lower.node());
    let said = tool.fail(&["create", "dmr-bad", "--table", &bad], "", 6)?;
    ensure!(said.contains("the offset 'x'"), "not said what: {said}");
    let said = tool.fail(&["create", "dmr-bad", "--nocheck", "--table", &bad], "", 1)?;
    ensure!(
        said.contains("Invalid device sector"),
        "the kernel's reason is not told: {said}"
    );
    let said = tool.fail(&["create", "dmr-bad"], "0 64\n", 6)?;
    ensure!(
        said.contains("standard input:1:5"),
        "the place is not named: {said}"
    );
    let said = tool.fail(&["remove", "dmr-bad"], "", 3)?;
    ensure!(said.contains("dmr-bad"), "the device is not named: {said}");
    let good = format!("0 64 {linear} {} 0", lower.node());
    tool.run(&["create", "dmr-good", "--table", &good])?;
    let said = tool.fail(&["create", "dmr-good", "--table", &good], "", 5)?;
    ensure!(said.contains("dmr-good"), "the device is not named: {said}");
    let said = tool.fail(&["load", "dmr-good", "--table", &bad], "", 6)?;
    ensure!(said.contains("the offset 'x'"), "not said what: {said}");
    let said = tool.fail(&["--json", "load", "dmr-good", "--table", &bad], "", 6)?;
    let error: serde_json::Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let finding = &error["findings"][0];
    ensure!(error["exit_code"] == 6 && finding["line"] == 1, "{error}");
    let column = bad.find(" x").context("no x")? as u64 + 2;
    ensure!(finding["column"] == column, "{error}");
    let own = format!("0 64 {linear} /dev/mapper/dmr-good 0");
    let said = tool.fail(&["load", "dmr-good", "--table", &own], "", 6)?;
    ensure!(said.contains("stand on itself"), "not said what: {said}");
    super::expect_live("dmr-good", &dmsetup(&["table", "dmr-good"])?)?;
    let open = Disk::open(Path::new("/dev/mapper/dmr-good"), Mode::Direct)?;
    tool.fail(&["remove", "dmr-good"], "", 5)?;
    drop(open);
    ctx.take_log("^device-mapper: ")?;
    tool.run(&["remove", "dmr-good"])?;
    dm_rust_tests::disk::expect_released(lower.path())
}

/// What is an error here is one for the kernel, and what is none the kernel takes.
fn agrees_with_the_kernel(ctx: &Ctx) -> Result<()> {
    let lower = lower::ram()?;
    let blocks = lower::scsi(&["sector_size=4096", "dev_size_mb=8"])?;
    let tool = Tool::new(ctx, &["dmr-judged"])?;
    let [linear, striped, zero] = ["linear", "striped", "zero"].map(|t| ctx.env.target(t));
    let (node, size) = (lower.node(), lower.sectors());
    let big = blocks.node();
    let end = size - 8;
    let tables = [
        (true, format!("0 64 {linear} {node} 0")),
        (true, format!("0 64 {linear} {} 0", lower.devno())),
        (true, format!("0 8 {linear} {node} {end}")),
        (false, format!("0 9 {linear} {node} {end}")),
        (false, format!("0 8 {linear} {node} {size}")),
        (false, format!("8 8 {linear} {node} 0")),
        (false, format!("0 8 {zero}\n16 8 {zero}")),
        (false, format!("0 8 {zero}\n4 8 {zero}")),
        (false, format!("8 8 {zero}\n0 8 {zero}")),
        (true, format!("0 8 {zero}\n8 8 {zero}")),
        (false, format!("0 8 {zero} 1")),
        (false, format!("0 8 {linear} {node}")),
        (false, format!("0 8 {linear} {node} 0 0")),
        (false, format!("0 8 {linear} {node} -1")),
        (false, format!("0 8 {linear} {node} 0x8")),
        (false, format!("0 8 {linear} /dev/nothing 0")),
        (false, format!("0 8 {linear} /dev/null 0")),
        (false, format!("0 8 {linear} 250:1000 0")),
        (false, "0 8 nothing 0".to_owned()),
        (true, format!("0 64 {striped} 2 8 {node} 0 {node} 64")),
        (false, format!("0 64 {striped} 2 8 {node} 0")),
        (false, format!("0 63 {striped} 2 8 {node} 0 {node} 64")),
        (false, format!("0 40 {striped} 2 8 {node} 0 {node} 64")),
        (false, format!("0 64 {striped} 0 8 {node} 0 {node} 64")),
        (false, format!("0 64 {striped} 2 0 {node} 0 {node} 64")),
        (false, format!("0 64 {striped} 2 8 {node} 0 {node} {size}")),
        (false, format!("0 64 {striped} 2 8 {node} 0 {node} 64 1")),
        (true, format!("0 64 {linear} {big} 8")),
        (false, format!("0 64 {linear} {big} 1")),
        (false, format!("0 9 {linear} {big} 8")),
        (true, format!("0 8 {}", ctx.env.target("error"))),
    ];
    for (good, table) in tables {
        let args = ["create", "dmr-judged", "--notable"];
        tool.run(&args)?;
        let kernel = dmsetup(&["load", "dmr-judged", "--table", &table]).is_ok();
        // dmsetup takes one line from its argument only.
        let kernel = match table.contains('\n') {
            true => tool
                .output(&["load", "--nocheck", "dmr-judged"], &table)?
                .status
                .success(),
            false => kernel,
        };
        tool.run(&["remove", "dmr-judged"])?;
        ensure!(kernel == good, "the kernel judges '{table}' otherwise");
        let ours = tool.output(&["check"], &table)?;
        let status = ours.status.code().context("no status")?;
        ensure!(
            status == if good { 0 } else { 6 },
            "check ended with {status} for '{table}': {}",
            String::from_utf8_lossy(&ours.stdout)
        );
        let found: serde_json::Value =
            serde_json::from_slice(&tool.output(&["check", "--json"], &table)?.stdout)?;
        ensure!((found["errors"] == 0) == good, "{table}: {found}");
    }
    ctx.take_log("^device-mapper: ")?;
    Ok(())
}

fn knows_who_has_a_device(ctx: &Ctx) -> Result<()> {
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-taker"])?;
    fs::make(lower.path(), "ext4")?;
    let mounted = fs::Mounted::new(lower.path(), "ext4", "")?;
    let table = format!("0 64 {} {} 0", ctx.env.target("linear"), lower.node());
    let said = tool.fail(&["create", "dmr-taker", "--table", &table], "", 6)?;
    let path = mounted.path().display().to_string();
    ensure!(said.contains(&path), "the mount is not named: {said}");
    let said = tool.fail(
        &["create", "dmr-taker", "--nocheck", "--table", &table],
        "",
        5,
    )?;
    ensure!(said.contains("EBUSY"), "{said}");
    drop(mounted);
    tool.run(&["create", "dmr-taker", "--table", &table])?;
    ctx.take_log("Device lookup failed|error adding target")?;
    Ok(())
}

/// Not even when the line with the key is the one that is pointed at.
fn hides_keys(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-secret"])?;
    let key = "00112233445566778899aabbccddeeff";
    let tables = [
        format!("0 8 crypt aes-xts-plain64 {key} 0 /dev/nothing 0"),
        format!("0 8 rust-crypt aes-xts-plain64 {key} 0 /dev/nothing 0"),
        format!("0 8 crypt aes-xts-plain64 {key}xyz 0 /dev/ram0 0"),
        format!("0 8x crypt aes-xts-plain64 {key} 0 /dev/ram0 0"),
        format!("8 8 crypt aes-xts-plain64 {key} 0 /dev/ram0 0"),
    ];
    for table in tables {
        for args in [
            &["check"][..],
            &["check", "--json"],
            &["create", "dmr-secret"],
        ] {
            let out = tool.output(args, &table)?;
            ensure!(out.status.code() == Some(6), "{args:?} takes '{table}'");
            let said = [out.stdout, out.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            ensure!(!said.contains("8899aabb"), "a key is shown: {said}");
        }
    }
    Ok(())
}

fn exit_codes(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &[])?;
    tool.run(&["version"])?;
    tool.fail(&["create"], "", 2)?;
    tool.fail(&["nonsense"], "", 2)?;
    tool.fail(&["info", "dmr-nothing"], "", 3)?;
    tool.fail(&["table", "/dev/mapper/dmr-nothing"], "", 3)?;
    tool.fail(&["table", "/dev/null"], "", 3)?;
    tool.fail(&["check", "--table", "0 8"], "", 6)?;
    let as_user = |args: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", "--bounding-set=-all"]);
        command.arg(tool.path).args(args).output()
    };
    let out = as_user(&["ls"])?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(
        out.status.code() == Some(4),
        "ended with {}: {said}",
        out.status
    );
    ensure!(said.lines().count() == 1 && said.contains("root"), "{said}");
    // What needs no root works without.
    let out = as_user(&["check", "--table", "0 8 zero"])?;
    ensure!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}
