// SPDX-License-Identifier: GPL-2.0

//! Tests that the harness can fail: a check that was never seen to fire proves nothing.

use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::line;
use dm_rust_tests::lower;
use dm_rust_tests::twin::Target;
use std::fs;
use std::sync::Arc;

const LINEAR: Target = Target {
    name: "linear",
    shapes: &[],
};

pub fn cases() -> Vec<Case> {
    vec![
        case("harness::a_warning_in_the_log_is_seen", |ctx| {
            // A line without its end may be added to, and is not shown yet.
            for line in ["WARNING: by a test\n", "device-mapper: by a test\n"] {
                let noisy = case("noisy", move |_| Ok(fs::write("/dev/kmsg", line)?));
                let error = noisy
                    .execute(Arc::clone(&ctx.env))
                    .err()
                    .context("not seen")?;
                ensure!(error.to_string().contains(line.trim_end()), "{error}");
                ctx.forget_log()?;
            }
            let quiet = case("quiet", |_| {
                Ok(fs::write("/dev/kmsg", "brd: nothing to see\n")?)
            });
            quiet.execute(Arc::clone(&ctx.env))
        }),
        case("harness::twins_that_differ_are_told_apart", |ctx| {
            let values = [("a", "a"), ("a", "b")].map(|(theirs, ours)| {
                LINEAR.compare(ctx, |side| {
                    side.note("value", if side.ours { ours } else { theirs });
                    Ok(())
                })
            });
            ensure!(values[0].is_ok(), "equal observations are said to differ");
            let message = format!(
                "{:#}",
                values[1].as_ref().err().context("no difference seen")?
            );
            ensure!(message.contains(r#"ours "b", in-tree "a""#), "{message}");
            ensure!(
                LINEAR.compare(ctx, |_| Ok(())).is_err(),
                "nothing was compared"
            );
            Ok(())
        }),
        case("harness::wrong_data_is_seen", |_| wrong_data()),
    ]
}

/// A table that is off by one sector must not pass for the right one.
fn wrong_data() -> Result<()> {
    let lower = lower::ram()?;
    let table = [line(0, 64, "linear", format!("{} 9", lower.node()))];
    let device = dm_rust_tests::dm::MappedDevice::create(&table)?;
    Disk::open(&device.path(), Mode::Direct)?.write(0, &pattern(1, 0, 64))?;
    let disk = lower.open()?;
    disk.expect_pattern(9, 1, 0, 64)?;
    ensure!(
        disk.expect_pattern(8, 1, 0, 64).is_err(),
        "data in the wrong place was not seen"
    );
    Ok(())
}
