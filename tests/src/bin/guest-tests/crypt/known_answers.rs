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

/// How many answers are lines of one table: each table that is made takes its time.
const LINES: usize = 24;

fn answers(ctx: &Ctx, large: bool) -> Result<()> {
    let answers: Vec<Answer> = serde_json::from_str(ANSWERS)?;
    let lower = Kind::Ram.make()?;
    let below = lower.open()?;
    let target = ctx.env.target(CRYPT.name);
    let plaintext = plaintext();
    let mut wrong = Vec::new();
    let fitting: Vec<_> = answers
        .iter()
        .filter(|a| (a.sector_size > SECTOR) == large)
        .collect();
    ensure!(fitting.len() > 50, "answers are missing");
    for answers in fitting.chunks(LINES) {
        let starts = || (0..).step_by(SECTORS as usize).zip(answers);
        let table: Vec<_> = starts()
            .map(|(start, answer)| {
                let Answer {
                    cipher,
                    key,
                    iv_offset,
                    options,
                    ..
                } = answer;
                let (node, first) = (lower.node(), START + start);
                let params = format!("{cipher} {key} {iv_offset} {node} {first} {options}");
                line(start, SECTORS, &target, params.trim_end())
            })
            .collect();
        let device = MappedDevice::create(&table)?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        for (start, answer) in starts() {
            let what = format!(
                "{} {} {:?} (key of {})",
                answer.cipher,
                answer.iv_offset,
                answer.options,
                answer.key.len() / 2
            );
            disk.write(start, &plaintext)
                .with_context(|| what.clone())?;
            let found = below.read(START + start, SECTORS)?;
            let begin = hex(found[..16].iter().copied());
            if begin != answer.start || hex(Sha256::digest(&found)) != answer.sha256 {
                wrong.push(format!(
                    "{what}: begins with {begin} instead of {}",
                    answer.start
                ));
            }
        }
        // Made by others, it can be read too.
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        for (start, answer) in starts() {
            let read = disk.read(start, SECTORS);
            if read.with_context(|| answer.cipher.clone())? != plaintext {
                wrong.push(format!("{answer:?} is not read back"));
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} wrong: {}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}
