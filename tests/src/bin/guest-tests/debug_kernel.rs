// SPDX-License-Identifier: GPL-2.0

//! What only a kernel with fault injection and kmemleak can show (`KERNEL=debug`):
//! every allocation fails once, and nothing is left of it. On other kernels these
//! tests are not there.

use crate::{crypt, delay, dust, error, flakey, linear, powercut, striped, zero};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{MappedDevice, Suspend};
use dm_rust_tests::lower::Lower;
use dm_rust_tests::setting::Setting;
use dm_rust_tests::twin::{Kind, Shape, Target};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

mod anywhere;

/// Says how many sites that could fail the thread is to pass before one does; what is read is what
/// is left of that, and nothing when one has failed.
const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

/// It, open: opening it would be a site as well.
struct FailNth(fs::File);

impl FailNth {
    fn open() -> io::Result<FailNth> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).open(FAIL_NTH).map(FailNth)
    }

    fn set(&self, nth: &str) -> io::Result<()> {
        self.0.write_all_at(nth.as_bytes(), 0)
    }

    fn left(&self) -> Result<u32> {
        let mut text = [0; 16];
        let len = self.0.read_at(&mut text, 0)?;
        Ok(std::str::from_utf8(&text[..len])?.trim().parse()?)
    }
}

/// Where is set which allocations fail.
const FAIL_SLABS: &str = "/sys/kernel/debug/failslab";
const FAIL_PAGES: &str = "/sys/kernel/debug/fail_page_alloc";

const LEAKS: &str = "/sys/kernel/debug/kmemleak";

/// Nothing passes as many sites.
const MOST_SITES: u32 = 3000;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    if Path::new(FAIL_NTH).exists() {
        for target in [
            &linear::LINEAR,
            &striped::STRIPED,
            &zero::ZERO,
            &error::ERROR,
            &flakey::FLAKEY,
            &delay::DELAY,
            &dust::DUST,
            &powercut::POWERCUT,
            &crypt::CRYPT,
        ] {
            cases.extend(target.fitting(Kind::Ram).map(|shape| {
                let name = format!("{}::allocations_fail::{}", target.name, shape.name);
                case(name, move |ctx| allocations_fail(ctx, target, shape)).limit(900)
            }));
        }
    }
    cases.extend(anywhere::cases());
    if Path::new(LEAKS).exists() {
        cases.push(
            case("kernel::nothing_has_leaked", no_leaks)
                .limit(120)
                .in_each_part(),
        );
    }
    cases
}

/// What a call fails with when an allocation does.
const USUAL: &[Errno] = &[Errno::NOMEM, Errno::IO, Errno::AGAIN];

fn each_site(attempt: impl FnMut() -> io::Result<()>) -> Result<u32> {
    each_site_with(USUAL, attempt)
}

/// Calls `attempt` until it succeeds with no failure injected: first the first site fails, then the
/// second one, and so on; the call may then fail with one of `known`. Returns how many sites there
/// were.
fn each_site_with(known: &[Errno], mut attempt: impl FnMut() -> io::Result<()>) -> Result<u32> {
    let fail_nth = FailNth::open()?;
    for nth in 1..MOST_SITES {
        let text = nth.to_string();
        fail_nth.set(&text)?;
        let result = attempt();
        let left = fail_nth.left()?;
        fail_nth.set("0")?;
        if left > 0 {
            result.context("with no failure at all")?;
            return Ok(nth - 1);
        }
        // Where there is a way around, the call succeeds.
        if let Err(e) = result {
            let errno = e.raw_os_error().unwrap_or_default();
            ensure!(
                known.iter().any(|k| k.raw_os_error() == errno),
                "when site {nth} fails, so does the call, but with {e}"
            );
        }
    }
    anyhow::bail!("more than {MOST_SITES} sites")
}

/// What fails: also what may wait, and pages, single ones too; without a trace in the log for each.
fn quiet() -> Result<Vec<Setting>> {
    let mut settings = vec![Setting::new(format!("{FAIL_PAGES}/min-order"), "0")?];
    for dir in [FAIL_SLABS, FAIL_PAGES] {
        settings.push(Setting::new(format!("{dir}/ignore-gfp-wait"), "N")?);
        settings.push(Setting::new(format!("{dir}/verbose"), "0")?);
    }
    Ok(settings)
}

fn allocations_fail(ctx: &Ctx, target: &Target, shape: &Shape) -> Result<()> {
    let _settings = quiet()?;
    let lowers = (0..shape.lowers).map(|_| Kind::Ram.make());
    let lowers = lowers.collect::<Result<Vec<Lower>>>()?;
    each_call(ctx, target, shape, &lowers)?;
    // What was refused is told.
    ctx.take_log("^device-mapper: |page allocation failure|FAULT_INJECTION")?;
    Ok(())
}

/// What a target can be told, which leaves it as it was.
fn messages(target: &Target) -> &'static [&'static str] {
    match target.name {
        "dust" => &[
            "queryblock 3",
            "enable",
            "countbadblocks",
            "listbadblocks",
            "disable",
            "clearbadblocks",
        ],
        // The others can be told but once.
        "powercut" => &["powercut after 1000"],
        _ => &[],
    }
}

fn each_call(ctx: &Ctx, target: &Target, shape: &Shape, lowers: &[Lower]) -> Result<()> {
    let table = (shape.table)(&ctx.env.target(target.name), lowers);
    let device = MappedDevice::empty()?;
    // What it needs is there from now on: no process has to look for it each time that it is not found.
    device.load(&table)?;
    device.clear()?;
    let _no_modprobe = Setting::new("/proc/sys/kernel/modprobe", "\n")?;
    // In-tree dust says so of any lookup of a device that fails, and so does ours.
    let known = match target.name {
        "dust" => &[Errno::NOMEM, Errno::INVAL][..],
        _ => USUAL,
    };
    let sites = each_site_with(known, || device.load(&table)).context("loading the table")?;
    ensure!(
        sites > 0,
        "no allocation failed: is fault injection at work?"
    );
    // It is an inactive table until now.
    device.clear()?;
    device.load(&table)?;
    each_site(|| device.resume()).context("resuming")?;
    each_site(|| device.table().map(drop)).context("asking for the table")?;
    each_site(|| device.status().map(drop)).context("asking for the status")?;
    if target.name == crypt::CRYPT.name {
        device.suspend(Suspend::Flush)?;
        each_site(|| device.message(0, "key wipe")).context("key wipe")?;
        let key = table[0]
            .params
            .split(' ')
            .nth(1)
            .context("no key")?
            .to_owned();
        each_site(|| device.message(0, &format!("key set {key}"))).context("key set")?;
        for line in &table[1..] {
            let key = line.params.split(' ').nth(1).context("no key")?;
            device.message(line.start, &format!("key set {key}"))?;
        }
        device.resume()?;
    }
    for message in messages(target) {
        each_site(|| device.message(0, message).map(drop)).context(message)?;
    }
    if target.name != error::ERROR.name {
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        let data = pattern(1, 0, 64);
        each_site(|| disk.write(0, &data)).context("writing")?;
        if target.name != zero::ZERO.name {
            each_site(|| disk.read(0, 64).map(drop)).context("reading")?;
            ensure!(disk.read(0, 64)? == data, "other data came back");
        }
    }
    device.suspend(Suspend::Flush)?;
    device.remove()?;
    Ok(())
}

/// Nothing that the module, or the kernel for it, allocated is lost.
fn no_leaks(_: &Ctx) -> Result<()> {
    // What was freed a moment ago may still be looked at by others; an object has to be unreachable
    // in two scans.
    std::thread::sleep(Duration::from_secs(6));
    for _ in 0..2 {
        fs::write(LEAKS, "scan")?;
        std::thread::sleep(Duration::from_secs(1));
    }
    let found = fs::read_to_string(LEAKS)?;
    let ours: Vec<_> = found
        .split("unreferenced object")
        .filter(|report| {
            ["dm_rust", "dm_mod", "dm_crypt"]
                .iter()
                .any(|m| report.contains(m))
        })
        .collect();
    ensure!(ours.is_empty(), "kmemleak found:\n{}", ours.join("\n"));
    Ok(())
}
