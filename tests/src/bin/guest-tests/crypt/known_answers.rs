// SPDX-License-Identifier: GPL-2.0

//! What is on the disk, compared with what `tests/known-answers/dm_crypt.py`
//! computed without a kernel: ours and the in-tree target could be wrong together.

use super::CRYPT;
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{Disk, Mode};
use dm_rust_tests::dm::{line, MappedDevice};
use dm_rust_tests::hex;
use dm_rust_tests::twin::Kind;
use dm_rust_tests::SECTOR;
use serde::Deserialize;
use sha2::{Digest, Sha256};

const ANSWERS: &str = include_str!("../../../../known-answers/dm_crypt.json");

/// Sectors that are written.
const SECTORS: u64 = 16;

/// First sector on the lower device.
const START: u64 = 40;

#[derive(Debug, Deserialize)]
struct Answer {
    cipher: String,
    key: String,
    iv_offset: u64,
    options: String,
    sector_size: u64,
    /// The first bytes that are to be on the disk, in hexadecimal.
    start: String,
    /// Digest of all.
    sha256: String,
}

pub fn cases() -> Vec<Case> {
    let run = |large: bool| move |ctx: &Ctx| answers(ctx, large);
    vec![
        case("crypt::known_answers::sectors_of_512", run(false)).limit(180),
        case("crypt::known_answers::large_sectors", run(true)).limit(180),
    ]
}

/// As the script has it: the byte at `i` follows from `i` alone.
pub fn plaintext() -> Vec<u8> {
    let bytes = 0..(SECTORS * SECTOR) as usize;
    bytes.map(|i| ((i * 197) ^ (i >> 7)) as u8).collect()
}

fn answers(ctx: &Ctx, large: bool) -> Result<()> {
    let answers: Vec<Answer> = serde_json::from_str(ANSWERS)?;
    let lower = Kind::Ram.make()?;
    let below = lower.open()?;
    let target = ctx.env.target(CRYPT.name);
    let plaintext = plaintext();
    let mut wrong = Vec::new();
    let fits = |a: &&Answer| (a.sector_size > SECTOR) == large;
    for answer in answers.iter().filter(fits) {
        let Answer {
            cipher,
            key,
            iv_offset,
            options,
            ..
        } = answer;
        let params = format!(
            "{cipher} {key} {iv_offset} {} {START} {options}",
            lower.node()
        );
        let device = MappedDevice::create(&[line(0, SECTORS, &target, params.trim_end())])?;
        Disk::open(&device.path(), Mode::Direct)?.write(0, &plaintext)?;
        let found = below.read(START, SECTORS)?;
        let start = hex(found[..16].iter().copied());
        if start != answer.start || hex(Sha256::digest(&found)) != answer.sha256 {
            let what = format!(
                "{cipher} {iv_offset} {options:?} (key of {})",
                key.len() / 2
            );
            wrong.push(format!(
                "{what}: begins with {start} instead of {}",
                answer.start
            ));
        }
        // Made by others, it can be read too.
        let read = Disk::open(&device.path(), Mode::Direct)?.read(0, SECTORS);
        let read = read.with_context(|| params.clone())?;
        if read != plaintext {
            wrong.push(format!("{cipher} {iv_offset} {options:?} is not read back"));
        }
    }
    ensure!(
        answers.iter().filter(fits).count() > 50,
        "answers are missing"
    );
    ensure!(
        wrong.is_empty(),
        "{} wrong: {}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}
