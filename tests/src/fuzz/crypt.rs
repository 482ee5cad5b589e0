// SPDX-License-Identifier: GPL-2.0

//! Tables and messages of the crypt target.

use super::tokens::{self, any, decorate, number, pick};
use crate::dm::Line;
use fastrand::Rng;

/// The target, which is not among [`super::TARGETS`]: it has a run of its own.
pub const CRYPT: &str = "crypt";

/// Ciphers that encrypt the same data in the same way each time, with the length
/// of their key in bytes and their largest sector in units of 512 bytes.
const CIPHERS: &[(&str, usize, u64)] = &[
    ("aes-xts-plain64", 64, 8),
    ("aes-xts-plain64", 32, 8),
    ("aes-xts-plain", 64, 8),
    ("aes-cbc-essiv:sha256", 32, 8),
    ("aes-cbc-plain64be", 16, 8),
    ("aes-cbc-benbi", 24, 8),
    ("aes-cbc-null", 32, 8),
    ("aes-cbc-eboiv", 32, 8),
    ("aes-cbc-elephant", 64, 8),
    ("aes-cbc-tcw", 64, 1),
    ("aes:64-cbc-lmk", 1040, 1),
    ("aes:2-cbc-plain64", 64, 8),
    ("aes", 32, 8),
    ("aes-plain", 16, 8),
    ("aes-ecb", 32, 8),
    ("capi:xts(aes)-plain64", 64, 8),
    ("capi:cbc(aes)-essiv:sha256", 32, 8),
    ("cipher_null-ecb", 0, 8),
];

/// Options without a value.
const FLAGS: &[&str] = &[
    "allow_discards",
    "same_cpu_crypt",
    "high_priority",
    "submit_from_crypt_cpus",
    "no_read_workqueue",
    "no_write_workqueue",
    "iv_large_sectors",
];

/// Pieces that tables are made of, good and bad.
const PIECES: &[&str] = &[
    "aes",
    "aes-",
    "aes-cbc",
    "aes-cbc-",
    "aes-cbc-plain",
    "aes:2-cbc-plain",
    "aes:3-cbc-plain",
    "aes-ecb-plain",
    "aes-cbc-essiv",
    "aes-cbc-essiv:",
    "aes-cbc-lmk",
    "aes-cbc-random",
    "aes-nonsense-plain",
    "aes-cbc-nonsense",
    "nonsense-cbc-plain",
    "xts(aes)-plain64",
    "capi:",
    "capi:xts(aes)",
    "capi:xts(aes)-",
    "capi:xts(nonsense)-plain64",
    "capi:gcm(aes)-random",
    "-",
    "--",
    ":",
    "::",
    ":32:user:no-such-key",
    ":32:logon:no-such:key",
    ":32:nonsense:x",
    ":x:user:x",
    "0",
    "00",
    "allow_discards",
    "ALLOW_DISCARDS",
    "nonsense",
    "integrity:16:none",
    "integrity:28:aead",
    "integrity:0:aead",
    "integrity:481:none",
    "integrity:x:none",
    "integrity:16:nonsense",
    "integrity_key_size:0",
    "integrity_key_size:16",
    "integrity_key_size:x",
    "sector_size:0",
    "sector_size:512",
    "sector_size:1024",
    "sector_size:4096",
    "sector_size:8192",
    "sector_size:66048",
    "sector_size:\\ 512",
    "sector_size:512x",
];

/// A key of that many bytes.
fn key(rng: &mut Rng, bytes: usize) -> String {
    match bytes {
        0 => "-".into(),
        _ => crate::hex((0..bytes).map(|_| rng.u8(..))),
    }
}

/// Arguments of a line that the kernel takes; `unit` is what the line and `start`
/// are a multiple of.
pub fn params(rng: &mut Rng, device: &str, start: u64, unit: u64) -> String {
    let (cipher, bytes, largest) = pick(rng, CIPHERS);
    let sizes: &[u64] = match unit.min(largest) {
        8 => &[1, 1, 2, 4, 8, 8, 8],
        _ => &[1],
    };
    let size = pick(rng, sizes);
    let iv_offset = size
        * match rng.u32(..4) {
            0 => (1 << 32) / size - rng.u64(..20),
            1 => rng.u64(..100),
            2 => (u64::MAX / size).saturating_sub(rng.u64(..30)),
            _ => 0,
        };
    let mut options: Vec<String> = Vec::new();
    for flag in FLAGS {
        if rng.u32(..5) == 0 {
            options.push((*flag).to_owned());
        }
    }
    if size > 1 || rng.u32(..8) == 0 {
        let at = rng.usize(..=options.len());
        options.insert(at, format!("sector_size:{}", size * 512));
    }
    let key = key(rng, bytes);
    let mut params = format!("{cipher} {key} {iv_offset} {device} {start}");
    if !options.is_empty() || rng.u32(..8) == 0 {
        params += &format!(" {} {}", options.len(), options.join(" "));
    }
    params.trim_end().to_owned()
}

/// A mistake that only lines of this target can have.
pub fn slip(rng: &mut Rng, params: &mut String) {
    let mut tokens: Vec<String> = params.split(' ').map(str::to_owned).collect();
    let at = rng.usize(..tokens.len());
    let piece = pick(rng, PIECES).to_owned();
    match rng.u32(..8) {
        0..3 => tokens[at] = piece,
        3 => tokens[at] = decorate(rng, &piece),
        4 => tokens.push(piece),
        5 if tokens.len() > 5 => tokens[5] = number(rng),
        6 if tokens.len() > 1 => {
            // A key of another length, or with a digit that is none.
            let key = &mut tokens[1];
            match rng.u32(..4) {
                0 => drop(key.pop()),
                1 => *key += "0",
                2 => *key += "00",
                _ => *key = key.replacen(|c: char| c.is_ascii_digit(), "x", 1),
            }
        }
        _ => tokens[0] = pick(rng, CIPHERS).0.to_owned(),
    }
    *params = tokens.join(" ");
}

/// Arguments of anything.
pub fn wild(rng: &mut Rng) -> String {
    let count = pick(rng, &[0, 1, 4, 5, 5, 5, 5, 6, 7, 7, 8, 9]);
    let mut tokens: Vec<String> = Vec::new();
    for i in 0..count {
        let size = pick(rng, &[0, 16, 32, 64]);
        tokens.push(match (i, rng.u32(..4)) {
            (0, 1..) => pick(rng, CIPHERS).0.to_owned(),
            (1, 1..) => key(rng, size),
            (2 | 4, 1..) => rng.u64(..64).to_string(),
            (3, 1..) => tokens::device(rng),
            (5, 1..) => (count - 6).to_string(),
            (6.., 1) => pick(rng, FLAGS).to_owned(),
            (_, 0) => any(rng),
            _ => pick(rng, PIECES).to_owned(),
        });
    }
    tokens.join(" ")
}

/// Messages, to a device that has this line.
pub fn messages(rng: &mut Rng, line: &Line) -> Vec<String> {
    let own = line.params.split(' ').nth(1).unwrap_or("-").to_owned();
    let mut messages = Vec::new();
    for _ in 0..rng.u32(1..=4) {
        let other = key(rng, own.len() / 2);
        messages.push(match rng.u32(..12) {
            0..3 => "key wipe".into(),
            3..5 => format!("key set {own}"),
            5..8 => format!("key set {other}"),
            8 => format!("key set {}", pick(rng, PIECES)),
            9 => format!("key set {other}{}", pick(rng, &["0", "00", "x", "\\ "])),
            10 => format!("key {}", pick(rng, PIECES)),
            _ => pick(
                rng,
                &["", "key", "KEY WIPE", "key wipe x", "key set", "x y z"],
            )
            .to_owned(),
        });
    }
    messages
}

/// Whether the in-tree target would follow a bad pointer or make the kernel warn.
///
/// It looks for a second colon in `integrity:16` that need not be there; it puts
/// the key in an order for `authenc`, which need not be the cipher; and it asks
/// for memory for as many keys, or as long ones, as the table says.
pub fn warns_in_tree(line: &Line) -> bool {
    if line.target != CRYPT {
        return false;
    }
    let args = tokens::split(&line.params);
    let text = |i: usize| args.get(i).map(|a| String::from_utf8_lossy(a).into_owned());
    let number = |text: &str| -> u128 {
        let digits: String = text
            .trim_start()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        // What is longer is more than enough in any case.
        digits.parse().unwrap_or(u128::from(digits.len() > 9) << 20) & u128::from(u32::MAX)
    };
    let integrity = |i: usize| {
        let text = text(i).unwrap_or_default();
        text.strip_prefix("integrity:")
            .is_some_and(|rest| !rest.contains(':'))
    };
    let begins =
        |prefix: &str| (5..args.len()).any(|i| text(i).is_some_and(|t| t.starts_with(prefix)));
    let other_order = begins("integrity:") && begins("integrity_key_size:");
    let long_key = text(1).is_some_and(|k| k.starts_with(':') && number(&k[1..]) > 4096);
    let keys = text(0).and_then(|c| Some(number(c.split_once(':')?.1)));
    let many_keys = text(0).is_some_and(|c| !c.starts_with("capi:")) && keys > Some(64);
    (5..args.len()).any(integrity) || other_order || long_key || many_keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm::line;

    #[test]
    fn what_would_crash_is_left_out() {
        let warns = |params: &str| warns_in_tree(&line(0, 8, CRYPT, params));
        assert!(warns("aes - 0 {0} 0 1 integrity:16"));
        assert!(warns("aes - 0 {0} 0 2 allow_discards integrity:16x"));
        assert!(!warns("aes - 0 {0} 0 1 integrity:16:"));
        assert!(warns(
            "aes - 0 {0} 0 2 integrity_key_size:1 integrity:16:aead"
        ));
        assert!(warns("aes :99999:user:x 0 {0} 0"));
        assert!(!warns("aes :64:user:x 0 {0} 0"));
        assert!(warns("aes:4294967295-cbc-plain 00 0 {0} 0"));
        assert!(warns("aes:\\ 128-cbc-plain 00 0 {0} 0"));
        assert!(!warns("aes:2-cbc-plain 00 0 {0} 0"));
        assert!(!warns_in_tree(&line(
            0,
            8,
            "linear",
            "aes - 0 {0} 0 1 integrity:16"
        )));
    }
}
