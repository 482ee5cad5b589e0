// SPDX-License-Identifier: GPL-2.0

//! Tests of `rust-striped`.

mod bad_tables;
mod data;
mod failing;
mod status;

use dm_rust_tests::case::Case;
use dm_rust_tests::dm::{line, Line};
use dm_rust_tests::lower::Lower;
use dm_rust_tests::scenario::{self, MIB};
use dm_rust_tests::twin::{Shape, Target};

/// `rust-striped` and `striped`: `<stripes> <chunk> [<device> <first sector>]+`.
pub static STRIPED: Target = Target {
    name: "striped",
    shapes: &[
        Shape {
            name: "one",
            lowers: 1,
            table: |target, lowers| vec![over(target, 128, &[(&lowers[0], 0)])],
        },
        Shape {
            name: "same_device",
            lowers: 1,
            table: |target, lowers| {
                let lower = &lowers[0];
                let params = format!("2 8 {0} 0 {0} {1}", lower.node(), 16 * MIB);
                vec![line(0, 16 * MIB, target, params)]
            },
        },
        Shape {
            name: "two",
            lowers: 2,
            table: |target, lowers| vec![over(target, 16, &[(&lowers[0], 0), (&lowers[1], 0)])],
        },
        Shape {
            name: "three_of_odd_chunks",
            lowers: 3,
            table: |target, lowers| {
                let at = [
                    (&lowers[0], 8 * MIB),
                    (&lowers[1], 3 * MIB),
                    (&lowers[2], 0),
                ];
                vec![over(target, 24, &at)]
            },
        },
        Shape {
            name: "two_lines",
            lowers: 4,
            table: |target, lowers| {
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| lowers[i].node());
                let (start, len) = (8 * MIB, 9 * MIB);
                let four = format!("4 2048 {a} 0 {b} {start} {c} 0 {d} 0");
                let three = format!("3 8 {d} {start} {b} 0 {a} {start}");
                vec![
                    line(0, 8 * MIB, target, four),
                    line(8 * MIB, len, target, three),
                ]
            },
        },
    ],
};

/// One line over as much of the devices as all of them have.
fn over(target: &str, chunk: u64, at: &[(&Lower, u64)]) -> Line {
    let room = at.iter().map(|(lower, start)| lower.sectors() - start);
    let width = room.min().unwrap_or(0) / chunk * chunk;
    let mut params = format!("{} {chunk}", at.len());
    for (lower, start) in at {
        params += &format!(" {} {start}", lower.node());
    }
    line(0, width * at.len() as u64, target, params)
}

/// Common tests that take long, and in which stripes do what a linear map does.
const LIKE_LINEAR: &[&str] = &[
    "::limits::null_rotational",
    "::limits::null_virt_boundary",
    "::limits::loop_512",
    "::limits::scsi_host_aware",
    "::limits::scsi_integrity_type3_4096",
    "::limits::scsi_misaligned",
    "::limits::scsi_write_same",
    "::live::reload_noflush",
    "::live::reload_ours_and_in_tree_noflush",
    "::live::rename",
    "::bios::loop_4096",
    "::bios::null_cache_no_fua",
    "::pass_through::integrity",
    "::lvm::below",
    "::dax::xfs",
];

pub fn cases() -> Vec<Case> {
    let mut cases = data::cases();
    cases.extend(status::cases());
    cases.extend(bad_tables::cases());
    cases.extend(failing::cases());
    let mut common = scenario::cases(&STRIPED);
    common.extend(scenario::dax::cases(&STRIPED));
    common.extend(scenario::lvm::cases(&STRIPED));
    cases.extend(scenario::long_ones(common, LIKE_LINEAR));
    cases
}
