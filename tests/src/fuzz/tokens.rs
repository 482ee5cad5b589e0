// SPDX-License-Identifier: GPL-2.0

//! Tokens of which tables are made.

use super::{POOL, TRANSIENT};
use crate::dm::Line;
use fastrand::Rng;

/// Any of a list that is not empty.
pub fn pick<T: Copy>(rng: &mut Rng, list: &[T]) -> T {
    list[rng.usize(..list.len())]
}

/// A number of sectors where arithmetic has its borders, or a device has.
pub fn edge(rng: &mut Rng) -> u64 {
    let near = match rng.u32(..10) {
        0 => 0,
        1 => 1 << 31,
        2 => 1 << 32,
        3 => 1 << 63,
        4 => u64::MAX,
        // The largest device, in sectors; and 32 bits of bytes.
        5 => 1 << 54,
        6 => 1 << 23,
        7 => 1 << rng.u32(0..64),
        _ => POOL[rng.usize(..POOL.len())].sectors,
    };
    match rng.u32(..8) {
        0 | 1 => near.wrapping_add(1),
        2 | 3 => near.wrapping_sub(1),
        4 => near.wrapping_add(8),
        5 => near.wrapping_sub(8),
        _ => near,
    }
}

/// A number, or what one might take for a number.
pub fn number(rng: &mut Rng) -> String {
    let number = match rng.u32(..3) {
        0 => rng.u64(..16),
        1 => rng.u64(..4096),
        _ => edge(rng),
    };
    match rng.u32(..6) {
        0 => decorate(rng, &number.to_string()),
        1 => pick(
            rng,
            &[
                "18446744073709551616",
                "18446744073709551617",
                "36893488147419103232",
                "99999999999999999999999999999999",
                "4294967296",
                "2147483648",
            ],
        )
        .to_owned(),
        _ => number.to_string(),
    }
}

/// Writes a token in another way, which may or may not be the same number.
///
/// No digit is put after a device: another device could be meant then.
pub fn decorate(rng: &mut Rng, token: &str) -> String {
    match rng.u32(..20) {
        0 => format!("+{token}"),
        1 => format!("-{token}"),
        2 => format!("0x{token}"),
        3 => format!("0{token}"),
        4 => format!("00000000000000000000000000000000{token}"),
        5 => format!("{token}x"),
        6 => format!("{token}."),
        7 => format!("{token}:"),
        8 => format!("{token}\n"),
        9 => format!("{token}\\ "),
        10 => format!("\\ {token}"),
        11 => format!("\\{token}"),
        12 => format!("{token}\\"),
        13 => format!("{token}\\\n"),
        14 => format!("\\\t{token}"),
        15 => format!("{token}\u{e9}"),
        // A space to the kernel, which reads bytes.
        16 => format!("{token}\u{a0}"),
        17 => format!("\t{token}\t"),
        18 => format!("\"{token}\""),
        _ => format!("{token}/"),
    }
}

/// A device of the pool, by node or by number. The one that can vanish is there
/// only where that is wanted.
pub fn device(rng: &mut Rng) -> String {
    let device = rng.usize(..TRANSIENT);
    device_form(rng, device)
}

/// A device by node or, less often, by number.
pub fn device_form(rng: &mut Rng, device: usize) -> String {
    match rng.u32(..4) {
        0 => format!("{{#{device}}}"),
        _ => format!("{{{device}}}"),
    }
}

/// What stands in the place of a device.
///
/// Numbers of devices are only those that no guest has: with another, both
/// sides would write to one device. (An unused number of a RAM disk or a loop
/// device would even make one.)
pub fn bad_device(rng: &mut Rng) -> String {
    let list = [
        "/dev/no-such-device",
        "/no/such/directory/file",
        "/",
        ".",
        "..",
        "/dev",
        "/dev/",
        "/dev/null",
        "/dev/mapper/control",
        "/proc/self/exe",
        "/proc/self/fd/999",
        "\\ ",
        "\\",
        "{dm}",
        "{#dm}",
        "0:0",
        "60:0",
        "60:1048575",
        "60:1048576",
        "4095:0",
        "4096:0",
        "4294967296:0",
        "0x3c:0",
        "60:",
        ":0",
        ":",
        "60,0",
        "60:0:0",
        "-60:0",
        "loop0",
        "rust-linear",
    ];
    match rng.u32(..8) {
        0 => long(rng),
        1 => {
            let device = device(rng);
            decorate(rng, &device)
        }
        _ => pick(rng, &list).to_owned(),
    }
}

/// A very long token, longer than paths and names may be at times.
pub fn long(rng: &mut Rng) -> String {
    let len = pick(rng, &[64, 255, 256, 4095, 4096, 9000]);
    let start = pick(rng, &["/", "0", "9", "x", "/dev/../dev/"]);
    let rest = pick(rng, &["0", "x", "/", "9"]);
    format!("{start}{}", rest.repeat(len))
}

/// Any token.
pub fn any(rng: &mut Rng) -> String {
    match rng.u32(..16) {
        0..7 => number(rng),
        7..13 => device(rng),
        13 => bad_device(rng),
        14 => pick(
            rng,
            &[
                "linear", "striped", "x", "-", "+", "\\", "\\\\", "\t", "\n", "%s%n", "\u{7f}",
            ],
        )
        .to_owned(),
        _ => long(rng),
    }
}

/// Splits a line as `dm_split_args()` does.
pub fn split(params: &str) -> Vec<Vec<u8>> {
    let space = |c: u8| matches!(c, b' ' | b'\t'..=b'\r' | 0xa0);
    let mut tokens = Vec::new();
    let mut bytes = params.bytes().peekable();
    loop {
        while bytes.next_if(|c| space(*c)).is_some() {}
        if bytes.peek().is_none() {
            return tokens;
        }
        let mut token = Vec::new();
        while let Some(c) = bytes.next_if(|c| !space(*c)) {
            match bytes.peek() {
                Some(quoted) if c == b'\\' => {
                    token.push(*quoted);
                    bytes.next();
                }
                _ => token.push(c),
            }
        }
        tokens.push(token);
    }
}

/// Whether the in-tree `striped` would make the kernel warn.
///
/// It counts arguments in 32 bits, so that 2^31 stripes go with two arguments,
/// 2^31 + 1 with four, and so on. It then asks for the memory for all those
/// stripes, and the allocator puts a warning in the log about any request of
/// that size. (Refused with `ENOMEM` on both sides; but a warning fails a test.)
pub fn warns_in_tree(line: &Line) -> bool {
    if line.target != "striped" {
        return false;
    }
    let args = split(&line.params);
    let count = args.first().and_then(|c| std::str::from_utf8(c).ok());
    let count = count.and_then(|c| c.trim_end().parse::<u32>().ok());
    let wanted = |c: u32| 2_u32.wrapping_add(c.wrapping_mul(2));
    count.is_some_and(|c| c >= 1 << 31 && wanted(c) as usize == args.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm::line;

    #[test]
    fn lines_are_split_as_the_kernel_does() {
        let split = |text: &str| -> Vec<String> {
            let tokens = super::split(text).into_iter();
            tokens
                .map(|t| String::from_utf8_lossy(&t).into_owned())
                .collect()
        };
        assert!(split(" \t\n").is_empty());
        assert_eq!(split(" a  b\tc\n"), ["a", "b", "c"]);
        assert_eq!(split("a\\ b c"), ["a b", "c"]);
        assert_eq!(split("a\\\\b \\"), ["a\\b", "\\"]);
        assert_eq!(split("\\\tx"), ["\tx"]);
    }

    #[test]
    fn only_stripes_that_wrap_are_left_out() {
        let warns = |params| warns_in_tree(&line(0, 1 << 32, "striped", params));
        assert!(warns("2147483648 8"));
        assert!(warns("+2147483649 8 {0} 0"));
        assert!(!warns("2147483649 8"));
        assert!(!warns("2147483647 8"));
        assert!(!warns("4294967295 8 {0} 0"));
        assert!(!warns("4294967296 8"));
        assert!(!warns_in_tree(&line(0, 8, "linear", "2147483648 8")));
    }

    #[test]
    fn no_foreign_device_is_named() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..20_000 {
            let token = bad_device(&mut rng);
            let name = token.trim_matches(|c: char| !c.is_ascii_digit());
            if let Some((major, minor)) = name.split_once(':') {
                let (major, minor) = (major.parse::<u64>(), minor.parse::<u64>());
                let unused = matches!(major, Err(_) | Ok(0 | 60 | 4095..)) || minor.is_err();
                assert!(unused, "{token}");
            }
        }
    }
}
