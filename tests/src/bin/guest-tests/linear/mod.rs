// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-linear`.

mod bad_tables;
mod data;
mod edges;
mod status;

use dm_rust_tests::case::Case;
use dm_rust_tests::dm::line;
use dm_rust_tests::scenario::{self, MIB};
use dm_rust_tests::twin::{Shape, Target};

/// `rust-linear` and `linear`: `<device> <first sector>`.
pub static LINEAR: Target = Target {
    name: "linear",
    shapes: &[
        Shape {
            name: "whole",
            lowers: 1,
            table: |target, lowers| {
                let lower = &lowers[0];
                vec![line(
                    0,
                    lower.sectors(),
                    target,
                    format!("{} 0", lower.node()),
                )]
            },
        },
        Shape {
            name: "partial",
            lowers: 1,
            table: |target, lowers| {
                let lower = &lowers[0];
                vec![line(0, 12 * MIB, target, format!("{} 0", lower.node()))]
            },
        },
        Shape {
            name: "offset",
            lowers: 1,
            table: |target, lowers| {
                let lower = &lowers[0];
                vec![line(
                    0,
                    12 * MIB,
                    target,
                    format!("{} {}", lower.node(), 8 * MIB),
                )]
            },
        },
        Shape {
            name: "two_segments",
            lowers: 1,
            table: |target, lowers| {
                let node = lowers[0].node();
                vec![
                    line(0, 8 * MIB, target, format!("{node} {}", 16 * MIB)),
                    line(8 * MIB, 4 * MIB, target, format!("{node} {}", 4 * MIB)),
                ]
            },
        },
        Shape {
            name: "two_devices",
            lowers: 2,
            table: |target, lowers| {
                let len = lowers[0].sectors();
                vec![
                    line(0, len, target, format!("{} 0", lowers[0].node())),
                    line(
                        len,
                        4 * MIB,
                        target,
                        format!("{} {}", lowers[1].node(), 4 * MIB),
                    ),
                ]
            },
        },
    ],
};

pub fn cases() -> Vec<Case> {
    let mut cases = data::cases();
    cases.extend(status::cases());
    cases.extend(bad_tables::cases());
    cases.extend(edges::cases());
    cases.extend(scenario::cases(&LINEAR));
    cases.extend(scenario::zones::cases(&LINEAR));
    cases.extend(scenario::dax::cases(&LINEAR));
    cases.extend(scenario::lvm::cases(&LINEAR));
    cases
}
