// SPDX-License-Identifier: GPL-2.0

//! `dmrs swap`: live devices exchange their targets, and those who use them notice nothing.

use super::lvm::{lvm, Group};
use super::{dmsetup, expect_live, field, Tool};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::fio::{self, Fio};
use dm_rust_tests::{cleanup, fs, lower, process, wait};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use tempfile::NamedTempFile;

pub fn cases() -> Vec<Case> {
    vec![
        case("tool::swap_dry_run", dry_run),
        case("tool::swap_what_has_no_twin", what_has_no_twin),
        case("tool::swap_many_lines_read_only", many_lines_read_only),
        case("tool::swap_under_verified_io_on_lvm", on_lvm).limit(180),
        case(
            "tool::swap_below_a_mounted_file_system",
            below_a_file_system,
        )
        .limit(120),
        case("tool::swap_luks", luks).limit(180),
    ]
}

/// How often a device is swapped, each way.
const ROUNDS: usize = 10;

/// Random writes, each of them read back and compared.
const FIO: &[&str] = &[
    "rw=randwrite",
    "bsrange=4k-64k",
    "size=8m",
    "ioengine=libaio",
    "iodepth=8",
    "verify=crc32c",
    "verify_fatal=1",
    "verify_backlog=64",
    "time_based=1",
    "runtime=4",
];

/// The same for as long as it takes once.
const FIO_ONCE: &[&str] = &[
    "rw=randwrite",
    "bsrange=4k-64k",
    "size=4m",
    "ioengine=libaio",
    "iodepth=8",
    "verify=crc32c",
    "verify_fatal=1",
];

fn node(name: &str) -> PathBuf {
    Path::new("/dev/mapper").join(name)
}

/// The same table with the in-tree targets, or with those of the module.
fn in_rust(table: &str) -> String {
    let lines = table.lines().map(|line| {
        let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        words[2] = format!("rust-{}", words[2]);
        words.join(" ") + "\n"
    });
    lines.collect()
}

fn writes(name: &str) -> Result<u64> {
    let kernel = field(name, "blkdevname")?;
    let stat = dm_rust_tests::sysfs::file(&kernel, "stat")?;
    let count = stat.split_whitespace().nth(4).context("no count")?;
    Ok(count.parse()?)
}

/// Waits until a device is written to, so that each swap meets I/O.
fn wait_for_writes(name: &str) -> Result<()> {
    let before = writes(name)?;
    wait::until_true("a write", || Ok(writes(name)? > before))
}

/// Swaps a device there and back under I/O that is verified, ten times each way at least.
fn swap_under_io(tool: &Tool<'_>, name: &str) -> Result<()> {
    let table = dmsetup(&["table", "--showkeys", name])?;
    let ours = in_rust(&table);
    let mut swaps = 0;
    // Each run of fio reads back all that it wrote before it ends.
    while swaps < 2 * ROUNDS {
        let mut fio = Fio::start(&node(name), FIO)?;
        wait_for_writes(name)?;
        while fio.is_running()? {
            let (to, expected) = [("rust", &ours), ("c", &table)][swaps % 2];
            let said = tool.json(&["swap", name, "--to", to])?;
            ensure!(said["swapped"] == true, "not swapped: {said}");
            let live = dmsetup(&["table", "--showkeys", name])?;
            ensure!(live == *expected, "the table is {live}");
            swaps += 1;
        }
        let report = fio.finish()?;
        ensure!(
            report.written > 0 && report.read > 0,
            "no verified I/O: {report:?}"
        );
    }
    tool.run(&["swap", name, "--to", "c"])?;
    ensure!(
        dmsetup(&["table", "--showkeys", name])? == table,
        "not the table that it had"
    );
    let state = field(name, "attr,suspended")?;
    ensure!(
        state.starts_with("L-") && state.ends_with("Active"),
        "{state}"
    );
    Ok(())
}

fn dry_run(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-dry"])?;
    let table = format!("0 64 linear {} 8\n64 64 zero", lower.devno());
    tool.run_with(&["create", "dmr-dry"], &table)?;
    let before = dmsetup(&["table", "dmr-dry"])?;
    let said = tool.run(&["swap", "dmr-dry", "--to", "rust", "--dry-run"])?;
    for line in before.lines().chain(in_rust(&before).lines()) {
        ensure!(
            said.contains(line.trim_end()),
            "'{line}' is not shown: {said}"
        );
    }
    expect_live("dmr-dry", &before)?;
    let said = tool.json(&["swap", "dmr-dry", "--to", "rust", "--dry-run"])?;
    ensure!(said["swapped"] == false && said["changes"] == 2, "{said}");
    expect_live("dmr-dry", &before)?;
    let said = tool.run(&["swap", "dmr-dry", "--to", "c"])?;
    ensure!(said.contains("nothing to swap"), "{said}");
    tool.run(&["swap", "dmr-dry", "--to", "rust"])?;
    expect_live("dmr-dry", &in_rust(&before))?;
    tool.run(&["swap", "dmr-dry", "--to", "c"])?;
    expect_live("dmr-dry", &before)
}

/// A table that takes more than the first buffer, of a device that can only be read and stays so.
fn many_lines_read_only(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-many"])?;
    const LINES: usize = 500;
    let lines = (0..LINES).map(|n| match n % 3 {
        0 => format!("{} 8 zero\n", n * 8),
        _ => format!("{} 8 linear {} {}\n", n * 8, lower.devno(), n * 16),
    });
    let table: String = lines.collect();
    tool.run_with(&["create", "--readonly", "dmr-many"], &table)?;
    let before = dmsetup(&["table", "dmr-many"])?;
    let digest = || process::run("sha256sum", &["/dev/mapper/dmr-many"]);
    let sum = digest()?;
    for (to, expected) in [("rust", in_rust(&before)), ("c", before.clone())] {
        let said = tool.json(&["swap", "dmr-many", "--to", to])?;
        ensure!(
            said["changes"] == LINES,
            "{} lines were swapped",
            said["changes"]
        );
        ensure!(
            dmsetup(&["table", "dmr-many"])? == expected,
            "another table"
        );
        ensure!(
            field("dmr-many", "attr")? == "L--r",
            "{}",
            field("dmr-many", "attr")?
        );
        ensure!(digest()? == sum, "what is read has changed");
    }
    Ok(())
}

/// All of it or none of it, and only what is running.
fn what_has_no_twin(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-mixed", "dmr-counter"])?;
    let devno = lower.devno();
    let table = format!("0 64 linear {devno} 0\n64 64 snapshot-origin {devno}");
    tool.run_with(&["create", "dmr-mixed"], &table)?;
    let before = dmsetup(&["table", "dmr-mixed"])?;
    let said = tool.fail(&["swap", "dmr-mixed", "--to", "rust"], "", 1)?;
    ensure!(said.contains("no twin of snapshot-origin"), "{said}");
    expect_live("dmr-mixed", &before)?;

    let table = format!("0 64 rust-counter {devno}");
    tool.run(&["create", "dmr-counter", "--table", &table])?;
    let said = tool.fail(&["swap", "dmr-counter", "--to", "c"], "", 1)?;
    ensure!(said.contains("no twin of rust-counter"), "{said}");

    dmsetup(&["suspend", "dmr-counter"])?;
    let said = tool.fail(&["swap", "dmr-counter", "--to", "rust"], "", 1)?;
    ensure!(said.contains("suspended"), "{said}");
    ensure!(
        field("dmr-counter", "suspended")? == "Suspended",
        "it was resumed"
    );
    dmsetup(&["resume", "dmr-counter"])?;

    let other = format!("0 64 linear {devno} 256");
    dmsetup(&["load", "dmr-counter", "--table", &other])?;
    let said = tool.fail(&["swap", "dmr-counter", "--to", "rust"], "", 1)?;
    ensure!(said.contains("inactive"), "{said}");
    let left = dmsetup(&["table", "--inactive", "dmr-counter"])?;
    ensure!(
        left.trim() == other,
        "someone else's table was changed: {left}"
    );
    Ok(())
}

fn on_lvm(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let disks = [lower::ram()?, lower::ram()?];
    let tool = Tool::new(ctx, &[])?;
    let group = Group::new(&[&disks[0], &disks[1]])?;
    let linear = group.volume("linear", &[])?;
    let striped = group.volume("striped", &["--stripes=2", "--stripesize=64k"])?;
    for name in [&linear, &striped] {
        swap_under_io(&tool, name)?;
        fio::run(&node(name), FIO_ONCE)?;
    }
    // LVM still knows what is its own, and changes it, whichever target serves it.
    tool.run(&["swap", &linear, "--to", "rust"])?;
    lvm(&["lvextend", "--quiet", "--size=+4m", "dmrtool/linear"])?;
    let names = lvm(&["lvs", "--noheadings", "-o", "lv_name"])?;
    ensure!(
        names.contains("linear") && names.contains("striped"),
        "{names}"
    );
    drop(group);
    drop(tool);
    disks
        .iter()
        .try_for_each(|disk| dm_rust_tests::disk::expect_released(disk.path()))
}

/// Files are written all the while, and the file system is whole afterwards.
fn below_a_file_system(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &["dmr-fs"])?;
    let table = format!("0 32768 linear {} 0", lower.devno());
    tool.run(&["create", "dmr-fs", "--table", &table])?;
    fs::make(&node("dmr-fs"), "ext4")?;
    let mounted = fs::Mounted::new(&node("dmr-fs"), "ext4", "")?;
    let content = |n: usize| vec![n as u8; 50_000];
    for n in 0..2 * ROUNDS {
        let path = mounted.path().join(n.to_string());
        let writer = thread::spawn(move || -> std::io::Result<()> {
            std::fs::write(&path, content(n))?;
            std::fs::File::open(&path)?.sync_all()
        });
        let to = if n % 2 == 0 { "rust" } else { "c" };
        tool.run(&["swap", "dmr-fs", "--to", to])?;
        writer.join().expect("it does not panic")?;
    }
    process::run("sysctl", &["-q", "vm.drop_caches=3"])?;
    for n in 0..2 * ROUNDS {
        let found = std::fs::read(mounted.path().join(n.to_string()))?;
        ensure!(found == content(n), "file {n} is not what was written");
    }
    drop(mounted);
    fs::check(&node("dmr-fs"), "ext4")?;
    expect_live("dmr-fs", &table)
}

/// A LUKS mapping, closed when this is dropped.
struct Luks(&'static str);

impl Luks {
    fn open(name: &'static str, disk: &Path) -> Result<Luks> {
        let mut key = NamedTempFile::new()?;
        key.write_all(b"a passphrase for the tests")?;
        let key = key.path().display().to_string();
        let disk = disk.display().to_string();
        let format = [
            "--batch-mode",
            "--pbkdf=pbkdf2",
            "--pbkdf-force-iterations=1000",
        ];
        let mut args = vec!["luksFormat", "--type=luks2", "--key-file", &key];
        args.extend(format);
        args.push(&disk);
        process::run("cryptsetup", &args)?;
        // With a keyring, the key would go with cryptsetup's own.
        let args = ["open", "--disable-keyring", "--key-file", &key, &disk, name];
        process::run("cryptsetup", &args)?;
        Ok(Luks(name))
    }
}

impl Drop for Luks {
    fn drop(&mut self) {
        if let Err(e) = process::run("cryptsetup", &["close", self.0]) {
            cleanup::left_behind(format!("LUKS mapping {}", self.0), format!("{e:#}"));
        }
    }
}

/// The key goes along, and is not shown. Where there is no `rust-crypt`, the mapping is left as
/// it is.
fn luks(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let tool = Tool::new(ctx, &[])?;
    let luks = Luks::open("dmr-luks", lower.path())?;
    let table = dmsetup(&["table", "--showkeys", "dmr-luks"])?;
    let key = table.split(' ').nth(4).context("no key")?.to_owned();
    ensure!(
        key.len() >= 64 && key.bytes().all(|b| b.is_ascii_hexdigit()),
        "no key: {key}"
    );
    let hidden = tool.run(&["table", "dmr-luks"])?;
    ensure!(!hidden.contains(&key[..16]), "the key is shown");
    ensure!(
        tool.run(&["table", "--showkeys", "dmr-luks"])? == table,
        "another key"
    );
    if !dmsetup(&["targets"])?.contains("rust-crypt") {
        let said = tool.fail(&["swap", "dmr-luks", "--to", "rust"], "", 1)?;
        ensure!(
            said.contains("no twin of crypt") && !said.contains(&key[..16]),
            "{said}"
        );
        fio::run(&node("dmr-luks"), FIO_ONCE)?;
        drop(luks);
        return dm_rust_tests::disk::expect_released(lower.path());
    }
    for options in [&["--dry-run"][..], &["--dry-run", "--json"]] {
        let mut args = vec!["swap", "dmr-luks", "--to", "rust"];
        args.extend(options);
        let said = tool.run(&args)?;
        ensure!(said.contains("rust-crypt"), "{said}");
        ensure!(!said.contains(&key[..16]), "the key is shown");
    }
    swap_under_io(&tool, "dmr-luks")?;
    fio::run(&node("dmr-luks"), FIO_ONCE)?;
    drop(luks);
    dm_rust_tests::disk::expect_released(lower.path())
}
