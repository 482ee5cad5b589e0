// SPDX-License-Identifier: GPL-2.0

//! Every bad table: the first of its errors in the twin's order.

use super::STRIPED;
use anyhow::{ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::dm::{errno_name, line, MappedDevice};
use dm_rust_tests::scenario::loop_of;
use dm_rust_tests::scenario::refusal::{arguments, attempt, Arguments};

const ARGUMENTS: &[(&str, Arguments)] = &[
    (
        "too_few",
        &[(64, &["", " ", "2", "x", "0", "\\ "]), (63, &["2"])],
    ),
    (
        "stripe_count",
        &[(
            64,
            &[
                "0 8",
                "0 8 {} 0",
                "x 8 {} 0",
                "-1 8 {} 0",
                "-2 8 {} 0 {} 64",
                "+2 8 {} 0 {} 64",
                "2\\\n 8 {} 0 {} 64",
                "2\\\n\\\n 8 {} 0 {} 64",
                "2\\  8 {} 0 {} 64",
                "\\ 2 8 {} 0 {} 64",
                "02 8 {} 0 {} 64",
                "0x2 8 {} 0 {} 64",
                "2x 8 {} 0 {} 64",
                "2.0 8 {} 0 {} 64",
                "++2 8 {} 0 {} 64",
                "+ 8 {} 0 {} 64",
                "4294967295 8 {} 0",
                "4294967296 8 {} 0",
                "4294967298 8 {} 0 {} 64",
                "18446744073709551616 8 {} 0",
                "99999999999999999999999999 8 {} 0",
                "00000000000000000000000000002 8 {} 0 {} 64",
            ],
        )],
    ),
    (
        "chunk_size",
        &[(
            64,
            &[
                "2 0",
                "2 0 {} 0 {} 64",
                "2 x {} 0 {} 64",
                "2 -8 {} 0 {} 64",
                "2 +8 {} 0 {} 64",
                "2 8\\\n {} 0 {} 64",
                "2 8k {} 0 {} 64",
                "2 0x8 {} 0 {} 64",
                "2 010 {} 0 {} 64",
                "2 4294967295 {} 0 {} 64",
                "2 4294967296 {} 0 {} 64",
                "2 4294967304 {} 0 {} 64",
                "2 18446744073709551624 {} 0 {} 64",
                // The first error counts.
                "x x {} 0",
                "0 0 {} x",
                "3 0 {} x",
            ],
        )],
    ),
    (
        "length",
        &[
            (
                63,
                &[
                    "2 8 {} 0 {} 64",
                    "2 8 {} 0",
                    "3 1 {} 0 {} 64 {} 128",
                    "2 0 {} 0",
                ],
            ),
            (
                72,
                &[
                    "2 8 {} 0 {} 64",
                    "2 36 {} 0 {} 64",
                    "2 36 {} 0",
                    "5 8 {} 0",
                    "3 8 {} x",
                ],
            ),
            (
                64,
                &["2 64 {} 0 {} 64", "2 33 {} 0 {} 64", "2 24 {} 0 {} 64"],
            ),
            (1, &["1 1 {} 0", "2 1 {} 0 {} 64", "1 2 {} 0"]),
            (
                u64::MAX,
                &["1 1 {} 0", "2 8 {} 0 {} 0", "3 5 {} 0 {} 0 {} 0"],
            ),
            (
                1 << 63,
                &["2 4294967295 {} 0 {} 0", "2 2147483648 {} 0 {} 0"],
            ),
        ],
    ),
    (
        "destinations",
        &[(
            64,
            &[
                "2 8",
                "2 8 {}",
                "2 8 {} 0",
                "2 8 {} 0 {}",
                "2 8 {} 0 {} 64 x",
                "2 8 {} 0 {} 64 {} 128",
                "1 8",
                "1 8 {} 0 0",
                "4 8 {} 0 {} 8 {} 16",
                "64 1 {} 0",
            ],
        )],
    ),
    (
        "offsets",
        &[(
            64,
            &[
                "2 8 {} x {} 64",
                "2 8 {} 0 {} x",
                "2 8 {} -1 {} 64",
                "2 8 {} 0 {} -1",
                "2 8 {} +5 {} 64",
                "2 8 {} 0x10 {} 64",
                "2 8 {} 5x {} 64",
                "2 8 {} 0 {} 64\\\n",
                "2 8 {} \\  {} 64",
                "2 8 {} 18446744073709551616 {} 64",
                "2 8 {} 18446744073709551615 {} 64",
                "2 8 {} 0 {} 18446744073709551584",
                "2 8 {} 65536 {} 64",
                "2 8 {} 65505 {} 64",
                "2 8 {} 65504 {} 64",
                "2 8 {} 0 {} 65505",
                "2 8 {} 0 {} 65504",
                "2 8 {} 0 {} 36028797018963968",
            ],
        )],
    ),
    (
        "devices",
        &[(
            64,
            &[
                "2 8 /dev/no-such-device 0 {} 64",
                "2 8 {} 0 /dev/no-such-device 64",
                "4 8 {} 0 {} 16 {} 32 /dev/no-such-device 0",
                // Its offset is looked at before the device is.
                "2 8 /dev/no-such-device x {} 64",
                "2 8 {} 0 /dev/no-such-device x",
                "2 8 /dev/null 0 {} 64",
                "2 8 {} 0 / 0",
                "2 8 {} 0 \\  0",
                "2 8 {} 0 999:0 0",
                "2 8 {} 0 1: 0",
                "2 8 {} 0 1:4294967296 0",
            ],
        )],
    ),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = ARGUMENTS
        .iter()
        .map(|&(name, list)| {
            case(format!("striped::bad_tables::{name}"), move |ctx| {
                arguments(ctx, &STRIPED, list)
            })
        })
        .collect();
    cases.push(case("striped::bad_tables::misaligned", misaligned));
    cases.push(case("striped::bad_tables::huge_count", huge_count));
    cases
}

/// On a device with blocks of eight sectors.
fn misaligned(ctx: &Ctx) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let lower = side.lower(loop_of(4096), 0)?;
        let node = lower.node();
        for (chunk, first, second, len) in [
            (8, 0, 64, 64),
            (4, 0, 64, 64),
            (12, 0, 64, 48),
            (1, 0, 64, 64),
            (8, 1, 64, 64),
            (8, 0, 63, 64),
            (6, 0, 64, 60),
            (9, 0, 72, 144),
        ] {
            let params = format!("2 {chunk} {node} {first} {node} {second}");
            let key = format!("{chunk} {first} {second} {len}");
            attempt(side, &key, &[line(0, len, &side.target, params)], &[&lower])?;
        }
        Ok(())
    })
}

/// So many stripes that twice their number does not fit in 32 bits: the check of
/// the number of arguments lets them pass. No twin: it makes the kernel warn
/// of the size of the memory that it asks for.
fn huge_count(ctx: &Ctx) -> Result<()> {
    let target = ctx.env.target(STRIPED.name);
    ctx.module()?;
    for (count, params) in [(1_u64 << 31, ""), ((1 << 31) + 1, " /dev/ram0 0")] {
        let device = MappedDevice::empty()?;
        let params = format!("{count} 8{params}");
        let loaded = device.load(&[line(0, count * 8, &target, params)]);
        let errno = loaded.err().map(|e| errno_name(&e));
        ensure!(errno.as_deref() == Some("ENOMEM"), "{count}: {errno:?}");
        let log = ctx.take_log("^device-mapper: (table|ioctl): ")?.join("\n");
        ensure!(
            log.contains("Memory allocation for striped context failed"),
            "{count}: {log}"
        );
    }
    Ok(())
}
