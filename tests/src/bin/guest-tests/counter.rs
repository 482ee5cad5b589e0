// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-counter`, the example target. It has no in-tree twin.

use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text, MappedDevice};
use dm_rust_tests::lower;

const TARGET: &str = "rust-counter";

pub fn cases() -> Vec<Case> {
    vec![
        case("counter::counts_and_forgets", counts_and_forgets),
        case("counter::refuses", refuses),
    ]
}

fn counts_and_forgets(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let device = MappedDevice::create(&[line(0, 4096, TARGET, lower.node())])?;
    let status = || -> Result<String> { Ok(device.status()?[0].params.clone()) };
    let expect = |what: &str, wanted: &str| -> Result<()> {
        let found = status()?;
        ensure!(found == wanted, "{what}: {found:?}, not {wanted:?}");
        Ok(())
    };

    ensure!(
        table_text(&device.table()?) == format!("0 4096 {TARGET} {}\n", lower.devno()),
        "the table is {}",
        table_text(&device.table()?)
    );
    // Opening the device may read from it.
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    device.message(0, "reset")?;
    expect("after a reset", "0 0")?;
    for i in 0..5 {
        disk.write(i * 8, &pattern(1, i * 8, 8))?;
    }
    disk.expect_pattern(0, 1, 0, 8)?;
    expect("one read, five writes", "1 5")?;
    lower.open()?.expect_pattern(32, 1, 32, 8)?;
    device.message(0, "reset")?;
    expect("after another reset", "0 0")
}

fn refuses(ctx: &Ctx) -> Result<()> {
    ctx.module()?;
    let lower = lower::ram()?;
    let device = MappedDevice::create(&[line(0, 8, TARGET, lower.node())])?;
    for message in ["set", "reset now", "RESET"] {
        let said = outcome(device.message(0, message));
        ensure!(said == "EINVAL", "{message:?}: {said}");
    }
    let two = format!("{} 0", lower.node());
    for (params, errno, reason) in [
        ("", "EINVAL", "Invalid argument count"),
        (two.as_str(), "EINVAL", "Invalid argument count"),
        ("/dev/none", "ENOENT", "Device lookup failed"),
    ] {
        let loaded = device.load(&[line(0, 8, TARGET, params)]);
        ctx.expect_refused(loaded, errno, reason)
            .with_context(|| format!("{params:?}"))?;
    }
    Ok(())
}
