// SPDX-License-Identifier: GPL-2.0

//! Allocations fail in whatever thread a target's code makes them: in workers, in completions, in
//! the threads of others. Only those fail that have the target's module on the stack.

use super::{quiet, FAIL_PAGES, FAIL_SLABS};
use crate::{crypt, flakey, powercut};
use anyhow::{bail, ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{expect_equal, pattern, Disk, Mode};
use dm_rust_tests::dm::{line, MappedDevice, Suspend};
use dm_rust_tests::lower::Lower;
use dm_rust_tests::module::code;
use dm_rust_tests::setting::Setting;
use dm_rust_tests::twin::{Kind, Shape, Target};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;

/// Writes are copied, and their eighth byte made zero, which it is: that of a small number.
static COPIES: Target = Target {
    name: flakey::FLAKEY.name,
    shapes: &[Shape {
        name: "copies",
        lowers: 1,
        table: |target, lowers| {
            let lower = &lowers[0];
            let params = format!("{} 0 0 1 5 corrupt_bio_byte 8 w 0 0", lower.node());
            vec![line(0, lower.sectors(), target, params)]
        },
    }],
};

/// The targets that allocate for what passes through them.
static TARGETS: [&Target; 3] = [&crypt::CRYPT, &COPIES, &powercut::POWERCUT];

pub fn cases() -> Vec<Case> {
    if !Path::new(&format!("{FAIL_SLABS}/require-start")).exists() {
        return Vec::new();
    }
    let of = |target: &'static Target| {
        // Bad sectors fail whatever the memory.
        let reliable = |shape: &&Shape| shape.name != "options";
        target
            .fitting(Kind::Ram)
            .filter(reliable)
            .map(move |shape| {
                let name = format!("{}::allocations_fail_anywhere::{}", target.name, shape.name);
                case(name, move |ctx| run(ctx, target, shape)).limit(300)
            })
    };
    TARGETS.into_iter().flat_map(of).collect()
}

fn run(ctx: &Ctx, target: &Target, shape: &Shape) -> Result<()> {
    if target.name == powercut::POWERCUT.name {
        // It has no twin. A disk may fail a write that it has no memory for.
        return under_failure(
            ctx,
            &ctx.env.target(target.name),
            shape,
            &|what, outcome| {
                ensure!(
                    matches!(outcome, Ok(()) | Err(Errno::IO)),
                    "{what}: {outcome:?}"
                );
                Ok(())
            },
        );
    }
    target.compare(ctx, |side| {
        under_failure(ctx, &side.target, shape, &|what, outcome| {
            side.note(what, format!("{outcome:?}"));
            Ok(())
        })
    })
}

/// From now on, so many of a hundred allocations fail that are made by the code of a module, or on
/// its behalf, until this is dropped.
struct Failing(#[allow(dead_code, reason = "put back when it is dropped")] Vec<Setting>);

/// More than fail in any test; the kernel counts down from it.
const MANY: u32 = 1_000_000_000;

impl Failing {
    /// How many have failed.
    fn count(&self) -> Result<u32> {
        let left = |dir| -> Result<u32> {
            Ok(fs::read_to_string(format!("{dir}/times"))?.trim().parse()?)
        };
        Ok(2 * MANY - left(FAIL_SLABS)? - left(FAIL_PAGES)?)
    }
}

fn failing(module: &str, percent: u32) -> Result<Failing> {
    let code = code(module)?;
    let mut settings = Vec::new();
    for dir in [FAIL_SLABS, FAIL_PAGES] {
        let values = [
            ("require-start", format!("{:#x}", code.start)),
            ("require-end", format!("{:#x}", code.end)),
            ("times", MANY.to_string()),
        ];
        for (name, value) in values {
            settings.push(Setting::new(format!("{dir}/{name}"), &value)?);
        }
    }
    for dir in [FAIL_SLABS, FAIL_PAGES] {
        settings.push(Setting::new(
            format!("{dir}/probability"),
            &percent.to_string(),
        )?);
    }
    // The first to be put back: else all that anybody allocates would fail meanwhile.
    settings.reverse();
    Ok(Failing(settings))
}

fn outcome<T>(result: io::Result<T>) -> Result<(), Errno> {
    match result {
        Ok(_) => Ok(()),
        Err(e) => Err(Errno::from_io_error(&e).unwrap_or(Errno::INVAL)),
    }
}

/// In sectors: one page, a few of them, and what is cut in parts.
const SIZES: [u64; 3] = [8, 128, 2048];

/// How much each of the threads writes to and reads.
const REGION: u64 = 2048;

const THREADS: u64 = 3;

/// How often each of the threads does something.
const ROUNDS: u64 = 60;

fn under_failure(
    ctx: &Ctx,
    target: &str,
    shape: &Shape,
    note: &dyn Fn(String, Result<(), Errno>) -> Result<()>,
) -> Result<()> {
    let _settings = quiet()?;
    let module = match target.strip_prefix("rust-") {
        Some(_) => "dm_rust".to_owned(),
        None => format!("dm_{target}"),
    };
    let lowers = (0..shape.lowers).map(|_| Kind::Ram.make());
    let lowers = lowers.collect::<Result<Vec<Lower>>>()?;
    let device = MappedDevice::create(&(shape.table)(target, &lowers))?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    // What the lower device allocates for sectors that are new is not of interest.
    for region in 0..THREADS {
        disk.write(region * REGION, &pattern(0, region * REGION, REGION))?;
    }
    {
        let failing = failing(&module, 100)?;
        for (n, size) in (1..).zip(SIZES) {
            let data = pattern(n, 0, size);
            let written = disk.write(0, &data);
            let done = written.is_ok();
            note(format!("writing {size}"), outcome(written))?;
            let read = disk.read(0, size);
            if let Ok(read) = &read {
                ensure!(
                    !done || *read == data,
                    "{size} sectors: other data came back"
                );
            }
            note(format!("reading {size}"), outcome(read))?;
        }
        note("flushing".to_owned(), outcome(disk.sync()))?;
        ensure!(failing.count()? > 0, "no allocation failed");
    }
    let regions = thread::scope(|scope| -> Result<Vec<Vec<Option<u64>>>> {
        // Each fails for itself, wherever it is; what does not is done.
        let failing = failing(&module, 30)?;
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let path = device.path();
                scope.spawn(move || at_random(&Disk::open(&path, Mode::Direct)?, n))
            })
            .collect();
        let join = |t: thread::ScopedJoinHandle<_>| t.join().expect("threads do not panic");
        let regions = threads.into_iter().map(join).collect();
        ensure!(failing.count()? > 0, "no allocation failed at random");
        regions
    })?;
    for (n, region) in (0..).zip(regions) {
        let first = n * REGION;
        expect_known(&region, first, &disk.read(first, REGION)?)?;
    }
    drop(disk);
    device.suspend(Suspend::Flush)?;
    device.remove()?;
    // Some targets tell what they could not do.
    ctx.take_log("^device-mapper: |FAULT_INJECTION|I/O error")?;
    Ok(())
}

/// Compares data read from `first` on with what is known of each sector, if anything is.
fn expect_known(known: &[Option<u64>], first: u64, found: &[u8]) -> Result<()> {
    for ((sector, seed), found) in (first..).zip(known).zip(found.chunks(512)) {
        if let Some(seed) = *seed {
            expect_equal(found, &pattern(seed, sector, 1), sector)?;
        }
    }
    Ok(())
}

/// Writes and reads in the `n`th region. Returns the seed of what each sector holds, where that is
/// known: not where a write failed.
fn at_random(disk: &Disk, n: u64) -> Result<Vec<Option<u64>>> {
    let first = n * REGION;
    let mut rng = fastrand::Rng::with_seed(n);
    let mut held: Vec<Option<u64>> = vec![None; usize::try_from(REGION)?];
    for round in 1..=ROUNDS {
        let size = SIZES[rng.usize(..SIZES.len())];
        // Sectors may be of 4096 bytes.
        let at = rng.u64(..=(REGION - size) / 8) * 8;
        let range = usize::try_from(at)?..usize::try_from(at + size)?;
        let known = &mut held[range];
        let seed = n * ROUNDS + round;
        let result = if rng.bool() {
            let written = disk.write(first + at, &pattern(seed, first + at, size));
            known.fill(written.is_ok().then_some(seed));
            written
        } else {
            match disk.read(first + at, size) {
                Ok(found) => {
                    expect_known(known, first + at, &found)?;
                    Ok(())
                }
                Err(e) => Err(e),
            }
        };
        match result.map_err(|e| (Errno::from_io_error(&e), e)) {
            Ok(()) | Err((Some(Errno::NOMEM | Errno::IO | Errno::AGAIN), _)) => {}
            Err((_, e)) => bail!("round {round}, {size} sectors at {}: {e}", first + at),
        }
    }
    Ok(held)
}
