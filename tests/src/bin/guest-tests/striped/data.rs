// SPDX-License-Identifier: GPL-2.0

//! Where data lands, against a model of the stripes.

use super::STRIPED;
use anyhow::Result;
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{Disk, Mode};
use dm_rust_tests::dm::{line, MappedDevice};
use dm_rust_tests::lower::Lower;
use dm_rust_tests::model::Model;
use dm_rust_tests::twin::Kind;

/// A table: how many stripes, sectors in a chunk, chunks on each stripe.
#[derive(Clone, Copy, Debug)]
struct Plan {
    stripes: u64,
    chunk: u64,
    rows: u64,
    kind: Kind,
    mode: Mode,
}

/// Lower devices that the stripes are on in turn.
const DEVICES: u64 = 3;

/// Sectors before the first stripe of a device, which differ from one to the next.
fn before(device: u64) -> u64 {
    [5, 0, 13][device as usize]
}

impl Plan {
    fn devices(self) -> u64 {
        self.stripes.min(DEVICES)
    }

    /// Device and first sector of a stripe.
    fn place(self, stripe: u64) -> (u64, u64) {
        let device = stripe % DEVICES;
        let scale = if self.aligned() { 8 } else { 1 };
        // Stripes that share a device have a gap between them.
        let apart = (self.chunk * self.rows).next_multiple_of(8) + scale;
        (device, before(device) * scale + stripe / DEVICES * apart)
    }

    /// Whether all of it is in blocks of 4096 bytes.
    fn aligned(self) -> bool {
        self.chunk % 8 == 0
    }

    fn sectors(self) -> u64 {
        self.stripes * self.chunk * self.rows
    }

    fn params(self, nodes: &[String]) -> String {
        let mut params = format!("{} {}", self.stripes, self.chunk);
        for stripe in 0..self.stripes {
            let (device, start) = self.place(stripe);
            params += &format!(" {} {start}", nodes[device as usize]);
        }
        params
    }

    /// The map, told the long way: chunk by chunk.
    fn model(self, below: u64) -> Model {
        let most = (0..self.stripes)
            .map(|s| self.place(s).1)
            .max()
            .unwrap_or(0);
        let region = most + self.chunk * self.rows + 64 + below;
        Model::new(
            self.sectors(),
            self.devices() as usize,
            region,
            move |sector| {
                let number = sector / self.chunk;
                let (stripe, row) = (number % self.stripes, number / self.stripes);
                let (device, start) = self.place(stripe);
                let within = row * self.chunk + sector % self.chunk;
                (device as usize, below + start + within)
            },
        )
    }
}

fn placed(ctx: &Ctx, plan: Plan) -> Result<()> {
    STRIPED.compare(ctx, |side| {
        let lowers: Vec<Lower> = (0..plan.devices())
            .map(|i| side.lower(plan.kind, i as usize))
            .collect::<Result<_>>()?;
        let nodes: Vec<_> = lowers.iter().map(Lower::node).collect();
        let device = side.device(&[line(0, plan.sectors(), &side.target, plan.params(&nodes))])?;
        let disk = Disk::open(&device.path(), plan.mode)?;
        side.note("sectors", disk.sectors()?);
        let mut rng = fastrand::Rng::with_seed(plan.stripes * 1000 + plan.chunk);
        let unit = if matches!(plan.kind, Kind::Loop(_)) {
            8
        } else {
            1
        };
        let mut model = plan.model(0);
        // Up to several rows of chunks at a time.
        let most = (plan.chunk * plan.stripes * 3).clamp(64, 512);
        model.random_io(&disk, &mut rng, 40, unit, most)?;
        disk.sync()?;
        model.check(&lowers)?;
        side.note_log("log", "caused an alignment inconsistency")
    })
}

/// Ours on ours, and in turn with the in-tree one.
fn stacked(ctx: &Ctx, upper: bool, lower: bool) -> Result<()> {
    const BELOW: u64 = 16;
    let ours = ctx.env.target(STRIPED.name);
    let name = |is_ours: bool| if is_ours { ours.as_str() } else { STRIPED.name };
    let plan = Plan {
        stripes: 3,
        chunk: 24,
        rows: 40,
        kind: Kind::Ram,
        mode: Mode::Direct,
    };
    let lowers = (0..DEVICES)
        .map(|_| Kind::Ram.make())
        .collect::<Result<Vec<_>>>()?;
    let under = |below: &Lower| {
        // One stripe: an offset and nothing more, so that the model holds.
        let params = format!("1 16 {} {BELOW}", below.node());
        MappedDevice::create(&[line(0, 4096, name(lower), params)])
    };
    let middle = lowers.iter().map(under).collect::<Result<Vec<_>>>()?;
    let nodes: Vec<_> = middle
        .iter()
        .map(|m| m.path().display().to_string())
        .collect();
    let device =
        MappedDevice::create(&[line(0, plan.sectors(), name(upper), plan.params(&nodes))])?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    let mut model = plan.model(BELOW);
    model.random_io(&disk, &mut fastrand::Rng::with_seed(5), 100, 1, 512)?;
    model.check(&lowers)?;
    ctx.take_log("caused an alignment inconsistency").map(drop)
}

pub fn cases() -> Vec<Case> {
    const ANY: Plan = Plan {
        stripes: 2,
        chunk: 8,
        rows: 20,
        kind: Kind::Ram,
        mode: Mode::Direct,
    };
    let mut plans = Vec::new();
    for stripes in 1..=5 {
        for chunk in [1, 8, 9, 24, 100, 256] {
            let rows = (600 / chunk).max(3);
            let name = format!("{stripes}_stripes_of_{chunk}");
            plans.push((
                name,
                Plan {
                    stripes,
                    chunk,
                    rows,
                    ..ANY
                },
            ));
        }
    }
    let many = Plan {
        stripes: 64,
        chunk: 8,
        rows: 5,
        ..ANY
    };
    plans.push(("64_stripes_of_8".into(), many));
    let buffered = Plan {
        stripes: 3,
        chunk: 40,
        mode: Mode::Buffered,
        ..ANY
    };
    plans.push(("buffered".into(), buffered));
    let blocks = Plan {
        stripes: 3,
        chunk: 16,
        kind: dm_rust_tests::scenario::loop_of(4096),
        ..ANY
    };
    plans.push(("blocks_of_4096".into(), blocks));
    let small = Kind::Null(&[("memory_backed", 1), ("max_sectors", 24)]);
    let small = Plan {
        stripes: 3,
        chunk: 64,
        kind: small,
        ..ANY
    };
    plans.push(("small_max_sectors".into(), small));
    let mut cases: Vec<_> = plans
        .into_iter()
        .map(|(name, plan)| {
            case(format!("striped::data::{name}"), move |ctx| {
                placed(ctx, plan)
            })
        })
        .collect();
    for (name, upper, lower) in [
        ("ours_on_ours", true, true),
        ("ours_on_in_tree", true, false),
        ("in_tree_on_ours", false, true),
    ] {
        cases.push(case(format!("striped::data::stacked_{name}"), move |ctx| {
            stacked(ctx, upper, lower)
        }));
    }
    cases
}
