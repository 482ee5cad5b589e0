// SPDX-License-Identifier: GPL-2.0

//! Options of the table, good and bad.

use super::{bad_tables, fill, CRYPT};
use anyhow::{ensure, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::dm::{line, outcome, MappedDevice};
use dm_rust_tests::twin::Kind;

/// As in [`bad_tables`].
const ARGUMENTS: &[(&str, &[&str])] = &[
    (
        "number",
        &[
            "aes-cbc-plain <32> 0 {} 0 0",
            "aes-cbc-plain <32> 0 {} 0 1",
            "aes-cbc-plain <32> 0 {} 0 x",
            "aes-cbc-plain <32> 0 {} 0 -1",
            "aes-cbc-plain <32> 0 {} 0 +1 allow_discards",
            "aes-cbc-plain <32> 0 {} 0 01 allow_discards",
            "aes-cbc-plain <32> 0 {} 0 0x1 allow_discards",
            "aes-cbc-plain <32> 0 {} 0 1x allow_discards",
            "aes-cbc-plain <32> 0 {} 0 \\ 1 allow_discards",
            "aes-cbc-plain <32> 0 {} 0 \\  allow_discards",
            "aes-cbc-plain <32> 0 {} 0 0 allow_discards",
            "aes-cbc-plain <32> 0 {} 0 1 allow_discards same_cpu_crypt",
            "aes-cbc-plain <32> 0 {} 0 2 allow_discards",
            "aes-cbc-plain <32> 0 {} 0 1 allow_discards nonsense x y z",
            "aes-cbc-plain <32> 0 {} 0 4294967297 allow_discards",
            "aes-cbc-plain <32> 0 {} 0 allow_discards",
            "aes-cbc-plain <32> 0 {} 0 9 allow_discards allow_discards allow_discards \
             allow_discards allow_discards allow_discards allow_discards allow_discards \
             allow_discards",
            "aes-cbc-plain <32> 0 {} 0 10 allow_discards allow_discards allow_discards \
             allow_discards allow_discards allow_discards allow_discards allow_discards \
             allow_discards allow_discards",
            "aes-cbc-plain <32> 0 {} 0 9 allow_discards",
            "aes-cbc-plain <32> 0 {} 0 10",
        ],
    ),
    (
        "names",
        &[
            "aes-cbc-plain <32> 0 {} 0 1 nonsense",
            "aes-cbc-plain <32> 0 {} 0 1 \\ ",
            "aes-cbc-plain <32> 0 {} 0 1 ALLOW_DISCARDS",
            "aes-cbc-plain <32> 0 {} 0 1 Same_Cpu_Crypt",
            "aes-cbc-plain <32> 0 {} 0 1 allow_discards\\ ",
            "aes-cbc-plain <32> 0 {} 0 1 allow_discard",
            "aes-cbc-plain <32> 0 {} 0 1 allow_discardsx",
            "aes-cbc-plain <32> 0 {} 0 1 HIGH_priority",
            "aes-cbc-plain <32> 0 {} 0 1 submit_from_crypt_CPUS",
            "aes-cbc-plain <32> 0 {} 0 1 no_READ_workqueue",
            "aes-cbc-plain <32> 0 {} 0 1 no_WRITE_workqueue",
            "aes-cbc-plain <32> 0 {} 0 1 IV_large_sectors",
            "aes-cbc-plain <32> 0 {} 0 1 iv_large_sectors",
            "aes-cbc-plain <32> 0 {} 0 1 iv_large_sectors:1",
            "aes-cbc-plain <32> 0 {} 0 2 nonsense allow_discards",
            "aes-cbc-plain <32> 0 {} 0 2 allow_discards nonsense",
        ],
    ),
    (
        "sector_size",
        &[
            "aes-cbc-plain <32> 0 {} 0 1 sector_size",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:0",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:1",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:256",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:511",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:512",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:513",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:1024",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:1536",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:2048",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:4096",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:8192",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:65536",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:66048",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:4294967808",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:512x",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:+512",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:-512",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:\\ 512",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:512\\ ",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:0512",
            "aes-cbc-plain <32> 0 {} 0 1 sector_size:0x200",
            "aes-cbc-plain <32> 0 {} 0 1 SECTOR_SIZE:512",
            "aes-cbc-plain <32> 0 {} 0 2 sector_size:4096 sector_size:512",
            "aes-cbc-plain <32> 0 {} 0 2 sector_size:4096 sector_size:1",
            "aes-cbc-lmk <32> 0 {} 0 1 sector_size:1024",
            "aes-cbc-tcw <64> 0 {} 0 1 sector_size:1024",
            "aes-cbc-elephant <32> 0 {} 0 1 sector_size:4096",
            "aes-cbc-eboiv <32> 0 {} 0 1 sector_size:4096",
            "aes-cbc-benbi <32> 0 {} 0 1 sector_size:4096",
        ],
    ),
    (
        "integrity",
        &[
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity::aead",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:x:aead",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:-1:aead",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:0:aead",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:0:nonsense",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:480:aead",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:481:aead",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:4294967324:aead",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:28:",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:28:nonsense",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:28:aead:x",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:28:AEAD",
            "capi:gcm(aes)-random <32> 0 {} 0 1 integrity:28:aead",
            "capi:gcm(aes)-plain64 <32> 0 {} 0 1 integrity:28:aead",
            "capi:gcm(aes)-eboiv <32> 0 {} 0 1 integrity:28:aead",
            "capi:gcm(aes)-lmk <32> 0 {} 0 1 integrity:28:aead",
            "capi:gcm(aes) <32> 0 {} 0 1 integrity:28:aead",
            "capi:gcm(aes)-random <31> 0 {} 0 1 integrity:28:aead",
            "capi:xts(aes)-plain64 <64> 0 {} 0 1 integrity:28:aead",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity:28:aead",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity:28:none",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity:28:NONE",
            "aes-xts-random <64> 0 {} 0 1 integrity:16:none",
            "capi:authenc(hmac(sha256),xts(aes))-plain64 <96> 0 {} 0 1 integrity:32:aead",
            "capi:authenc(hmac(sha256),xts(aes))-plain64 <31> 0 {} 0 1 integrity:32:aead",
            "capi:authenc(hmac(sha256),xts(aes))-plain64 <32> 0 {} 0 1 integrity:32:aead",
            "capi:authenc(hmac(nonsense),xts(aes))-plain64 <96> 0 {} 0 1 integrity:32:aead",
            "capi:authenc(hmac(sha256)xts(aes))-plain64 <96> 0 {} 0 1 integrity:32:aead",
            "capi:authenc(,xts(aes))-plain64 <96> 0 {} 0 1 integrity:32:aead",
            "capi:authenc()-plain64 <96> 0 {} 0 1 integrity:32:aead",
            "capi:authenc(-plain64 <96> 0 {} 0 1 integrity:32:aead",
            "capi:authencx-plain64 <96> 0 {} 0 1 integrity:32:aead",
            "capi:nonsense-plain64 <96> 0 {} 0 1 integrity:32:aead",
        ],
    ),
    (
        "integrity_key_size",
        &[
            "aes-xts-plain64 <64> 0 {} 0 1 integrity_key_size:",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity_key_size:0",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity_key_size:x",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity_key_size:-1",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity_key_size:32",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity_key_size:32x",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity_key_size:4294967296",
            "aes-xts-plain64 <64> 0 {} 0 1 integrity_key_size:4294967297",
            "capi:authenc(hmac(sha256),xts(aes))-plain64 <96> 0 {} 0 2 integrity:32:aead \
             integrity_key_size:32",
            "capi:authenc(hmac(sha256),xts(aes))-plain64 <96> 0 {} 0 2 integrity:32:aead \
             integrity_key_size:96",
            "capi:authenc(hmac(sha256),xts(aes))-plain64 <96> 0 {} 0 2 integrity:32:aead \
             integrity_key_size:97",
            "capi:authenc(hmac(sha256),xts(aes))-plain64 <96> 0 {} 0 2 integrity:32:aead \
             integrity_key_size:4294967295",
        ],
    ),
];

pub fn cases() -> Vec<Case> {
    let mut cases = bad_tables::tables("options", ARGUMENTS, 64);
    cases.extend(bad_tables::tables("options_of_odd_length", ODD, 61));
    cases.push(case("crypt::options::integrity_without_profile", cut_short));
    cases.push(case(
        "crypt::options::integrity_key_size_without_hash",
        no_hash,
    ));
    cases
}

/// Those of a target whose length is no multiple of larger sectors.
const ODD: &[(&str, &[&str])] = &[(
    "sector_size",
    &[
        "aes-cbc-plain <32> 0 {} 0 1 sector_size:512",
        "aes-cbc-plain <32> 0 {} 0 1 sector_size:1024",
        "aes-cbc-plain <32> 0 {} 0 1 sector_size:4096",
        "aes-cbc-plain <32> 0 {} 0 1 sector_size:1025",
        "aes-cbc-plain <32> 0 {} 0 2 sector_size:512 sector_size:1024",
        "nonsense x x x x 1 sector_size:1024",
    ],
)];

/// The in-tree target looks for a colon that is not there, and follows the null
/// pointer that it finds: ours alone is asked.
fn cut_short(ctx: &Ctx) -> Result<()> {
    let options = ["integrity:28", "integrity:28x", "integrity:28\\ "];
    refused_by_ours(ctx, &options.map(|option| format!("1 {option}")))
}

/// The in-tree target puts the key in the order that only `authenc` wants, in
/// memory that it has for that cipher only: again a null pointer.
fn no_hash(ctx: &Ctx) -> Result<()> {
    refused_by_ours(ctx, &["2 integrity:28:aead integrity_key_size:16".into()])
}

fn refused_by_ours(ctx: &Ctx, options: &[String]) -> Result<()> {
    ctx.module()?;
    let lower = Kind::Ram.make()?;
    let device = MappedDevice::empty()?;
    for option in options {
        let template = format!("capi:gcm(aes)-random <32> 0 {{}} 0 {option}");
        let params = fill(&template, &lower.node());
        let target = ctx.env.target(CRYPT.name);
        let loaded = outcome(device.load(&[line(0, 64, &target, params)]));
        ensure!(loaded == "EINVAL", "{option}: {loaded}");
        let log = ctx.take_log("^device-mapper: ")?;
        ensure!(!log.is_empty(), "{option}: the log does not say why");
        dm_rust_tests::disk::expect_released(lower.path())?;
    }
    Ok(())
}
