// SPDX-License-Identifier: GPL-2.0

//! Data lands at the right sector of the lower device.

use super::LINEAR;
use anyhow::{ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{Disk, Mode};
use dm_rust_tests::dm::{line, Line, MappedDevice};
use dm_rust_tests::lower::Lower;
use dm_rust_tests::model::Model;
use dm_rust_tests::scenario::loop_of;
use dm_rust_tests::twin::Kind;

/// Watched part of each lower device, in sectors; what no segment covers must stay zero.
const REGION: u64 = 8192;

/// A piece of a table: its length, the lower device and the first sector there.
type Segment = (u64, usize, u64);

const SINGLE: &[Segment] = &[(REGION, 0, 0)];
const OFFSET: &[Segment] = &[(4001, 0, 1037)];
/// Short ones, odd ones and some that swap the order; no two overlap.
const CONCATENATED: &[Segment] = &[
    (1, 0, 100),
    (7, 1, 3),
    (8, 0, 0),
    (1000, 1, 2000),
    (255, 0, 3000),
    (1, 1, 8191),
    (2049, 0, 5001),
    (63, 1, 101),
    (777, 1, 4000),
];

fn table(target: &str, lowers: &[String], segments: &[Segment]) -> Vec<Line> {
    let mut start = 0;
    let mut lines = Vec::new();
    for &(len, lower, at) in segments {
        lines.push(line(start, len, target, format!("{} {at}", lowers[lower])));
        start += len;
    }
    lines
}

fn model(segments: &'static [Segment], below: u64) -> Model {
    let sectors = segments.iter().map(|(len, ..)| len).sum();
    let lowers = segments.iter().map(|(_, l, _)| l + 1).max().unwrap_or(1);
    Model::new(sectors, lowers, REGION + below, move |mut sector| {
        for &(len, lower, at) in segments {
            if sector < len {
                return (lower, at + sector + below);
            }
            sector -= len;
        }
        unreachable!("beyond the end of the table");
    })
}

/// What the kernel says of each odd segment, whatever its target.
const ALIGNMENT: &str = "caused an alignment inconsistency$";

/// How the table is used.
struct Plan {
    kind: Kind,
    segments: &'static [Segment],
    mode: Mode,
    /// Sectors that every request is a multiple of.
    unit: u64,
    rounds: u32,
    /// Sectors of the largest request.
    most: u64,
}

fn placed(ctx: &Ctx, plan: &Plan) -> Result<()> {
    LINEAR.compare(ctx, |side| {
        let mut model = model(plan.segments, 0);
        let count = plan
            .segments
            .iter()
            .map(|(_, l, _)| l + 1)
            .max()
            .unwrap_or(1);
        let lowers = (0..count)
            .map(|i| side.lower(plan.kind, i))
            .collect::<Result<Vec<_>>>()?;
        let nodes: Vec<_> = lowers.iter().map(Lower::node).collect();
        let device = side.device(&table(&side.target, &nodes, plan.segments))?;
        let disk = Disk::open(&device.path(), plan.mode)?;
        side.note("sectors", disk.sectors()?);
        let mut rng = fastrand::Rng::with_seed(1);
        model.random_io(&disk, &mut rng, plan.rounds, plan.unit, plan.most)?;
        disk.sync()?;
        model.check(&lowers)?;
        side.note_log("log", ALIGNMENT)
    })
}

const ANY: Plan = Plan {
    kind: Kind::Ram,
    segments: SINGLE,
    mode: Mode::Direct,
    unit: 1,
    rounds: 120,
    most: 64,
};

/// A second table on top of the first one: each name is a target, from the top down.
fn stacked(ctx: &Ctx, upper_ours: bool, lower_ours: bool) -> Result<()> {
    const BELOW: u64 = 11;
    let ours = ctx.env.target(LINEAR.name);
    let name = |is_ours: bool| if is_ours { ours.as_str() } else { LINEAR.name };
    let lowers = [dm_rust_tests::lower::ram()?, dm_rust_tests::lower::ram()?];
    let under = |lower: &Lower| {
        MappedDevice::create(&[line(
            0,
            REGION,
            name(lower_ours),
            format!("{} {BELOW}", lower.node()),
        )])
    };
    let middle = [under(&lowers[0])?, under(&lowers[1])?];
    let nodes = middle.each_ref().map(|m| m.path().display().to_string());
    let device = MappedDevice::create(&table(name(upper_ours), &nodes, CONCATENATED))?;
    let mut model = model(CONCATENATED, BELOW);
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    model.random_io(&disk, &mut fastrand::Rng::with_seed(2), 120, 1, 256)?;
    model.check(&lowers)?;
    ctx.take_log(ALIGNMENT)?;
    drop(disk);
    // A device that another one stands on cannot go away.
    ensure!(middle[0].remove().is_err(), "a device in use was removed");
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let plan = |name: &str, plan: Plan| {
        case(format!("linear::data::{name}"), move |ctx| {
            placed(ctx, &plan)
        })
    };
    vec![
        plan("single", Plan { ..ANY }),
        plan(
            "offset",
            Plan {
                segments: OFFSET,
                ..ANY
            },
        ),
        plan(
            "concatenated",
            Plan {
                segments: CONCATENATED,
                rounds: 200,
                ..ANY
            },
        ),
        plan(
            "large_requests",
            Plan {
                segments: CONCATENATED,
                rounds: 30,
                most: 2048,
                ..ANY
            },
        ),
        plan(
            "largest_requests",
            Plan {
                rounds: 8,
                most: REGION,
                ..ANY
            },
        ),
        plan(
            "one_sector_requests",
            Plan {
                segments: CONCATENATED,
                rounds: 300,
                most: 1,
                ..ANY
            },
        ),
        plan(
            "buffered",
            Plan {
                segments: OFFSET,
                mode: Mode::Buffered,
                ..ANY
            },
        ),
        plan(
            "buffered_concatenated",
            Plan {
                segments: CONCATENATED,
                mode: Mode::Buffered,
                rounds: 40,
                most: 2048,
                ..ANY
            },
        ),
        plan(
            "blocks_of_4096",
            Plan {
                kind: loop_of(4096),
                unit: 8,
                most: 512,
                rounds: 40,
                ..ANY
            },
        ),
        plan(
            "small_max_sectors",
            Plan {
                kind: Kind::Null(&[("memory_backed", 1), ("max_sectors", 24)]),
                segments: CONCATENATED,
                most: 1024,
                rounds: 40,
                ..ANY
            },
        ),
        plan(
            "virtio",
            Plan {
                kind: Kind::Virtio,
                segments: &[(4001, 0, 1037)],
                rounds: 30,
                ..ANY
            },
        ),
        case("linear::data::stacked_ours_on_ours", |ctx| {
            stacked(ctx, true, true)
        }),
        case("linear::data::stacked_ours_on_in_tree", |ctx| {
            stacked(ctx, true, false)
        }),
        case("linear::data::stacked_in_tree_on_ours", |ctx| {
            stacked(ctx, false, true)
        }),
    ]
}
