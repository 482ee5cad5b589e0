// SPDX-License-Identifier: GPL-2.0

//! What every target must have in common with its in-tree twin, whatever it
//! maps: a target is given its name and its shapes, and gets these tests.

use crate::case::Case;
use crate::lower::Loop;
use crate::trace::Order;
use crate::twin::{Kind, Target};

pub mod access;
mod bios;
mod cgroup;
pub mod concurrency;
mod crash;
pub mod dax;
mod ioctls;
mod limits;
mod live;
pub mod lvm;
pub mod memory;
mod pass_through;
pub mod refusal;
pub mod status;
pub mod zones;

/// Sectors in a mebibyte.
pub const MIB: u64 = 2048;

/// All common tests of a target that keeps what is written.
pub fn cases(target: &'static Target) -> Vec<Case> {
    let mut cases = cases_without_data(target);
    cases.extend(data_cases(target));
    cases.extend(pass_through::cases(target));
    cases.extend(cgroup::cases(target));
    cases
}

/// All common tests of a target that keeps what is written, but does its work
/// on threads of its own, where requests overtake each other.
pub fn queued_cases(target: &'static Target) -> Vec<Case> {
    let mut cases = common_cases(target, Order::Any);
    cases.extend(data_cases(target));
    cases.extend(cgroup::cases(target));
    cases
}

fn data_cases(target: &'static Target) -> Vec<Case> {
    let mut cases = bios::data_cases(target);
    cases.extend(live::cases(target));
    cases.extend(concurrency::cases(target, true));
    cases.extend(crash::cases(target));
    cases.extend(memory::cases(target));
    cases
}

/// Those of them that do not need what is written to be there later.
pub fn cases_without_data(target: &'static Target) -> Vec<Case> {
    common_cases(target, Order::Kept)
}

fn common_cases(target: &'static Target, order: Order) -> Vec<Case> {
    let mut cases = status::cases(target);
    cases.extend(limits::cases(target));
    cases.extend(bios::cases(target, order));
    cases.extend(ioctls::cases(target));
    cases.extend(access::cases(target));
    cases.extend(refusal::cases(target));
    cases
}

/// Keeps those whose names end so for when time does not matter.
pub fn long_ones<'a>(
    cases: impl IntoIterator<Item = Case> + 'a,
    ends: &'a [&'a str],
) -> impl Iterator<Item = Case> + 'a {
    cases.into_iter().map(move |case| {
        let is_one = ends.iter().any(|end| case.name().ends_with(end));
        if is_one {
            case.long()
        } else {
            case
        }
    })
}

/// What of the common tests is run for a target that few use: some of each kind, and all of them
/// with `long`.
pub fn unless_long(
    long: bool,
    cases: impl IntoIterator<Item = Case>,
) -> impl Iterator<Item = Case> {
    const ALWAYS: [&str; 8] = [
        "::status::version",
        "::status::lines",
        "::limits::null_cache",
        "::limits::scsi_integrity",
        "::bios::ram",
        "::ioctls::ram",
        "::refusal::undone",
        "::zones::null",
    ];
    cases
        .into_iter()
        .filter(move |case| long || ALWAYS.iter().any(|name| case.name().ends_with(name)))
}

/// For a target that stands on nothing one kind of lower device is as good as all.
fn kinds<'a>(target: &Target, kinds: &'a [(&'a str, Kind)]) -> &'a [(&'a str, Kind)] {
    match target.shapes.iter().all(|s| s.lowers == 0) {
        true => &kinds[..1],
        false => kinds,
    }
}

/// A loop device of 32 MiB.
pub const fn loop_of(block: u64) -> Kind {
    Kind::Loop(Loop {
        sectors: 32 * MIB,
        block,
        read_only: false,
    })
}

/// A host-managed zoned device: 16 zones of 4 MiB, of which 3 MiB can be
/// written; the first four are conventional.
pub const ZONED: Kind = Kind::Null(&[
    ("memory_backed", 1),
    ("zoned", 1),
    ("zone_size", 4),
    ("zone_capacity", 3),
    ("zone_nr_conv", 4),
    ("zone_max_open", 4),
    ("zone_max_active", 6),
]);
