// SPDX-License-Identifier: GPL-2.0

//! The commands one by one, each with dmsetup's view of what it did.

use super::{dmsetup, expect_live, field, same, sorted, Tool};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{Disk, Mode};
use dm_rust_tests::{fs, lower, process, wait};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    vec![
        case("tool::rename", rename),
        case("tool::set_uuid", set_uuid),
        case("tool::message", message),
        case("tool::deps_and_tree", deps_and_tree),
        case("tool::wait", wait),
        case("tool::mknodes", mknodes),
        case("tool::concise", concise),
        case("tool::concise_all_or_none", concise_all_or_none),
        case("tool::remove_tells_who_holds", remove_tells_who_holds),
        case(
            "tool::remove_deferred_and_forced",
            remove_deferred_and_forced,
        ),
        case("tool::odd_names", odd_names),
    ]
}

fn node_exists(name: &str) -> bool {
    Path::new("/dev/mapper").join(name).exists()
}

fn rename(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-old", "dmr-new", "dmr-other"])?;
    let zero = ctx.env.target("zero");
    for name in ["dmr-old", "dmr-other"] {
        tool.run(&["create", name, "--table", &format!("0 8 {zero}")])?;
    }
    tool.run(&["rename", "dmr-old", "dmr-new"])?;
    ensure!(
        node_exists("dmr-new") && !node_exists("dmr-old"),
        "the node was not renamed"
    );
    expect_live("dmr-new", &format!("0 8 {zero} "))?;
    let said = tool.fail(&["rename", "dmr-new", "dmr-other"], "", 5)?;
    ensure!(said.contains("already exists"), "not said why: {said}");
    tool.fail(&["rename", "dmr-gone", "dmr-x"], "", 3)?;
    let said = tool.fail(&["rename", "dmr-new", "a/b"], "", 1)?;
    ensure!(said.contains("slash"), "not said why: {said}");
    ensure!(node_exists("dmr-new"), "its node is gone");
    ctx.take_log("Unable to change name on mapped device")?;
    Ok(())
}

fn set_uuid(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-plain", "dmr-named"])?;
    let zero = ctx.env.target("zero");
    for name in ["dmr-plain", "dmr-named"] {
        tool.run(&["create", name, "--table", &format!("0 8 {zero}")])?;
    }
    tool.run(&["rename", "dmr-named", "--setuuid", "DMR 1"])?;
    ensure!(
        field("dmr-named", "uuid")? == "DMR 1",
        "dmsetup sees {}",
        field("dmr-named", "uuid")?
    );
    same(
        "by UUID",
        &tool.run(&["table", "--uuid", "DMR 1"])?,
        &dmsetup(&["table", "dmr-named"])?,
    )?;
    let said = tool.fail(&["rename", "dmr-named", "--setuuid", "DMR 2"], "", 1)?;
    ensure!(said.contains("already set"), "not said why: {said}");
    tool.fail(&["rename", "dmr-plain", "--setuuid", "DMR 1"], "", 5)?;
    ctx.take_log("Unable to change uuid of? ?")?;
    Ok(())
}

/// Messages that the device itself answers, and one that no target takes.
fn message(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-told"])?;
    let zero = ctx.env.target("zero");
    tool.run(&["create", "dmr-told", "--table", &format!("0 8 {zero}")])?;
    let region = tool.run(&["message", "dmr-told", "0", "@stats_create - /1"])?;
    let region = region.trim();
    same(
        "regions",
        &tool.run(&["message", "dmr-told", "0", "@stats_list"])?,
        &dmsetup(&["message", "dmr-told", "0", "@stats_list"])?,
    )?;
    let printed = ["message", "dmr-told", "0", "@stats_print", region];
    let answer = tool.json(&printed)?;
    ensure!(
        answer["answer"].as_str().map(str::trim_end) == Some(dmsetup(&printed)?.trim_end()),
        "the answers differ: {answer}"
    );
    tool.run(&["message", "dmr-told", "0", "@stats_delete", region])?;
    ensure!(
        dmsetup(&["message", "dmr-told", "0", "@stats_list"])?
            .trim()
            .is_empty(),
        "the region is left"
    );
    let said = tool.fail(&["message", "dmr-told", "0", "hello"], "", 1)?;
    ensure!(
        said.contains("takes no such message") || said.contains("EINVAL"),
        "{said}"
    );
    tool.fail(&["message", "dmr-told", "8", "hello"], "", 1)?;
    tool.fail(&["message", "dmr-told", "x", "hello"], "", 2)?;
    ctx.take_log("device-mapper: ")?;
    Ok(())
}

fn deps_and_tree(ctx: &Ctx) -> Result<()> {
    let (first, second) = (lower::ram()?, lower::ram()?);
    let tool = Tool::new(ctx, &["dmr-top", "dmr-low"])?;
    let linear = ctx.env.target("linear");
    tool.run(&[
        "create",
        "dmr-low",
        "--table",
        &format!("0 64 {linear} {} 0", first.node()),
    ])?;
    let table = format!(
        "0 64 {linear} /dev/mapper/dmr-low 0\n64 64 {linear} {} 0",
        second.node()
    );
    tool.run_with(&["create", "dmr-top"], &table)?;
    let theirs = dmsetup(&["deps", "-o", "devno", "dmr-top"])?;
    let ours = tool.json(&["deps", "dmr-top"])?;
    let devices = ours[0]["devices"].as_array().context("no devices")?;
    ensure!(devices.len() == 2, "{ours}");
    for device in devices {
        let number = format!("({}, {})", device["major"], device["minor"]);
        ensure!(theirs.contains(&number), "{number} is not in {theirs}");
    }
    let text = tool.run(&["deps", "dmr-top"])?;
    ensure!(
        text.contains("dmr-low (") && text.contains(&second.kernel_name()),
        "names are missing: {text}"
    );
    let tree = tool.run(&["ls", "--tree"])?;
    let at = |what: &str| {
        let line = tree.lines().position(|line| line.contains(what));
        line.with_context(|| format!("no {what} in {tree}"))
    };
    ensure!(at("dmr-top")? < at("dmr-low")?, "{tree}");
    ensure!(at("dmr-low")? < at(&first.kernel_name())?, "{tree}");
    let trees = tool.json(&["ls", "--tree"])?;
    let top = trees
        .as_array()
        .context("no list")?
        .iter()
        .find(|t| t["name"] == "dmr-top");
    let below = top.context("no dmr-top")?["devices"]
        .as_array()
        .context("no devices")?;
    let low = below
        .iter()
        .find(|d| d["name"] == "dmr-low")
        .context("no dmr-low")?;
    ensure!(
        low["devices"][0]["kernel_name"] == first.kernel_name(),
        "{low}"
    );
    Ok(())
}

/// A rename is an event.
fn wait(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-wait", "dmr-wait2"])?;
    let zero = ctx.env.target("zero");
    tool.run(&["create", "dmr-wait", "--table", &format!("0 8 {zero}")])?;
    let before = field("dmr-wait", "events")?;
    let mut child = tool
        .command(&["wait", "dmr-wait", &before, "--json"])
        .stdout(Stdio::piped())
        .spawn()?;
    thread::sleep(Duration::from_millis(300));
    ensure!(child.try_wait()?.is_none(), "it did not wait");
    dmsetup(&["rename", "dmr-wait", "dmr-wait2"])?;
    let out = child.wait_with_output()?;
    ensure!(out.status.success(), "ended with {}", out.status);
    let told: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    ensure!(
        told["event_nr"].as_u64() == Some(field("dmr-wait2", "events")?.parse()?),
        "told {told}"
    );
    // One that has been is not waited for.
    let begun = Instant::now();
    tool.run(&["wait", "dmr-wait2", &before])?;
    ensure!(begun.elapsed() < wait::patience(), "it waited");
    Ok(())
}

fn mknodes(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-node"])?;
    let zero = ctx.env.target("zero");
    tool.run(&["create", "dmr-node", "--table", &format!("0 8 {zero}")])?;
    let node = Path::new("/dev/mapper/dmr-node");
    let stale = "/dev/mapper/dmr-stale";
    std::fs::remove_file(node)?;
    process::run("mknod", &[stale, "b", "250", "1000"])?;
    let done = tool.json(&["mknodes"])?;
    ensure!(node.exists(), "the node was not made");
    ensure!(!Path::new(stale).exists(), "the stale node is left");
    ensure!(done["made"][0] == "/dev/mapper/dmr-node", "{done}");
    ensure!(done["removed"][0] == stale, "{done}");
    ensure!(
        Path::new("/dev/mapper/control").exists(),
        "the control node is gone"
    );
    ensure!(
        tool.run(&["mknodes"])?.is_empty(),
        "something was left to do"
    );
    std::fs::remove_file(node)?;
    tool.run(&["mknodes", "dmr-node"])?;
    ensure!(
        Disk::open(node, Mode::Direct)?.sectors()? == 8,
        "not its node"
    );
    Ok(())
}

/// What either writes, the other reads, with the characters that have to be escaped.
fn concise(ctx: &Ctx) -> Result<()> {
    let names = ["dmr-a,b;c", "dmr-two"];
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &names)?;
    let linear = ctx.env.target("linear");
    let node = lower.node();
    let minor = 200;
    let devices = format!(
        "dmr-a\\,b\\;c,DMR\\,u,{minor},ro,0 8 {linear} {node} 0,8 8 {linear} {node} 64; \
         dmr-two,,,rw,0 8 {linear} {node} 128"
    );
    let remove = || -> Result<()> {
        names
            .iter()
            .try_for_each(|name| dmsetup(&["remove", name]).map(drop))
    };
    tool.run(&["create", "--concise", &devices])?;
    let view = |name: &str| -> Result<String> {
        Ok(dmsetup(&["table", name])? + &field(name, "uuid,attr")?)
    };
    ensure!(field(names[0], "minor")? == "200", "not the minor number");
    ensure!(field(names[0], "attr")?.contains('r'), "not read-only");
    let seen = [view(names[0])?, view(names[1])?];
    let trimmed = |text: String| text.trim().replace(" ;", ";").replace(" ,", ",");
    let ours = trimmed(tool.run(&["table", "--concise"])?);
    let theirs = trimmed(dmsetup(&["table", "--concise"])?);
    same("concise", &ours, &theirs)?;
    remove()?;
    dmsetup(&["create", "--concise", &ours])?;
    ensure!(
        seen == [view(names[0])?, view(names[1])?],
        "dmsetup read another"
    );
    remove()?;
    tool.run_with(&["create", "--concise"], &theirs)?;
    ensure!(
        seen == [view(names[0])?, view(names[1])?],
        "dmrs read another"
    );
    tool.run(&["remove", names[0], names[1]]).map(drop)
}

fn concise_all_or_none(ctx: &Ctx) -> Result<()> {
    let tool = Tool::new(ctx, &["dmr-first", "dmr-second", "dmr-third"])?;
    let zero = ctx.env.target("zero");
    let bad = format!("dmr-first,,,rw,0 8 {zero};dmr-second,,,rw,0 8 nothing");
    let said = tool.fail(&["create", "--concise", &bad], "", 6)?;
    ensure!(said.contains("there is no target 'nothing'"), "{said}");
    let left = dmsetup(&["ls"])?;
    ensure!(!left.contains("dmr-"), "still there: {left}");
    let said = tool.fail(&["create", "--concise", "dmr-third,,x,rw,0 8 zero"], "", 6)?;
    ensure!(
        said.contains("--concise:1:12"),
        "the place is not named: {said}"
    );
    tool.fail(&["create", "--concise", "dmr-third"], "", 6)?;
    Ok(())
}

fn remove_tells_who_holds(ctx: &Ctx) -> Result<()> {
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-upper", "dmr-held"])?;
    let linear = ctx.env.target("linear");
    let table = format!("0 65536 {linear} {} 0", lower.node());
    tool.run(&["create", "dmr-held", "--table", &table])?;
    let node = Path::new("/dev/mapper/dmr-held");

    let open = Disk::open(node, Mode::Direct)?;
    let said = tool.fail(&["remove", "dmr-held"], "", 5)?;
    let pid = std::process::id().to_string();
    ensure!(
        said.contains(&format!("process {pid} (")),
        "the process is not named: {said}"
    );
    drop(open);

    fs::make(node, "ext4")?;
    let mounted = fs::Mounted::new(node, "ext4", "")?;
    let said = tool.fail(&["remove", "dmr-held"], "", 5)?;
    let path = mounted.path().display().to_string();
    ensure!(
        said.contains(&format!("mounted on {path} (ext4)")),
        "the mount is not named: {said}"
    );
    let error: serde_json::Value =
        serde_json::from_str(&tool.fail(&["--json", "remove", "dmr-held"], "", 5)?)?;
    ensure!(
        error["errno"] == "EBUSY" && error["exit_code"] == 5,
        "{error}"
    );
    drop(mounted);

    let table = format!("0 64 {linear} /dev/mapper/dmr-held 0");
    tool.run(&["create", "dmr-upper", "--table", &table])?;
    let said = tool.fail(&["remove", "dmr-held"], "", 5)?;
    ensure!(
        said.contains("device dmr-upper ("),
        "the device on it is not named: {said}"
    );
    let info = tool.json(&["info", "dmr-held"])?;
    ensure!(
        info[0]["used_by"].to_string().contains("dmr-upper"),
        "info does not name it: {info}"
    );
    tool.run(&["remove", "dmr-upper", "dmr-held"])?;
    dm_rust_tests::disk::expect_released(lower.path())
}

fn remove_deferred_and_forced(ctx: &Ctx) -> Result<()> {
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-later", "dmr-forced"])?;
    let linear = ctx.env.target("linear");
    let table = format!("0 64 {linear} {} 0", lower.node());
    tool.run(&["create", "dmr-later", "--table", &table])?;
    let open = Disk::open(Path::new("/dev/mapper/dmr-later"), Mode::Direct)?;
    tool.run(&["remove", "--deferred", "dmr-later"])?;
    let info = tool.json(&["info", "dmr-later"])?;
    ensure!(info[0]["deferred_remove"] == true, "{info}");
    drop(open);
    wait::until_true("its removal when it was closed", || {
        Ok(dmsetup(&["info", "dmr-later"]).is_err())
    })?;
    tool.run(&["mknodes"])?;

    tool.run(&["create", "dmr-forced", "--table", &table])?;
    let open = Disk::open(Path::new("/dev/mapper/dmr-forced"), Mode::Direct)?;
    thread::scope(|scope| -> Result<()> {
        let removal = scope.spawn(|| tool.run(&["remove", "--force", "dmr-forced"]));
        // All I/O fails from then on, and it waits for us.
        wait::until_true("the failure of all I/O", || Ok(open.read(0, 8).is_err()))?;
        drop(open);
        removal.join().expect("it does not panic")?;
        Ok(())
    })?;
    ensure!(!node_exists("dmr-forced"), "its node is left");
    ctx.take_log("I/O error|Buffer I/O")?;
    dm_rust_tests::disk::expect_released(lower.path())
}

/// Names are escaped as libdevmapper escapes them, so that each finds what the other made.
fn odd_names(ctx: &Ctx) -> Result<()> {
    let names = ["dmr a", "dmr-ü", "dmr\\b", "dmr*?"];
    let tool = Tool::new(ctx, &names)?;
    let zero = ctx.env.target("zero");
    for name in names {
        tool.run(&[
            "create",
            name,
            "--table",
            &format!("0 8 {zero}"),
            "--uuid",
            name,
        ])?;
        same(
            name,
            &tool.run(&["table", name])?,
            &dmsetup(&["table", name])?,
        )?;
        ensure!(
            field(name, "uuid")? == name,
            "the UUID is {}",
            field(name, "uuid")?
        );
        dmsetup(&["remove", name])?;
        dmsetup(&["create", name, "--table", &format!("0 8 {zero}")])?;
        let file = std::fs::read_dir("/dev/mapper")?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find(|file| file.starts_with("dmr"))
            .context("no node")?;
        tool.run(&["remove", name])?;
        match std::fs::symlink_metadata(Path::new("/dev/mapper").join(&file)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => anyhow::bail!("{file} is left: {other:?}"),
        }
    }
    ensure!(
        !sorted(&dmsetup(&["ls"])?).contains("dmr"),
        "something is left"
    );
    Ok(())
}
