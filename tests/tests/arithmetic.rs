// SPDX-License-Identifier: GPL-2.0

//! The parts of the module that know no kernel type, tested on the host against plain models.

use proptest::prelude::*;

#[path = "../../rust/dm/parse.rs"]
mod parse;
#[path = "../../rust/targets/stripes.rs"]
mod stripes;

use parse::{kstrtouint, scan_u64, KstrtoError};
use stripes::Stripes;

#[test]
fn scan_u64_takes_what_sscanf_takes() {
    let taken: [(&[u8], u64); 6] = [
        (b"0", 0),
        (b"0008", 8),
        (b" \t\n\x0b\x0c\r\xa07", 7),
        (b"18446744073709551615", u64::MAX),
        // Beyond 64 bits the kernel takes the largest.
        (b"18446744073709551616", u64::MAX),
        (b"99999999999999999999999", u64::MAX),
    ];
    for (text, value) in taken {
        assert_eq!(scan_u64(text), Some(value), "{:?}", text.escape_ascii());
    }
    let refused: [&[u8]; 11] = [
        b"", b" ", b"+1", b"-1", b"1 ", b"1\n", b"0x10", b"1a", b"a", b"1:", b"\xff",
    ];
    for text in refused {
        assert_eq!(scan_u64(text), None, "{:?}", text.escape_ascii());
    }
}

#[test]
fn kstrtouint_takes_what_the_kernel_takes() {
    let cases: [(&[u8], Result<u32, KstrtoError>); 14] = [
        (b"0", Ok(0)),
        (b"+12", Ok(12)),
        (b"12\n", Ok(12)),
        (b"4294967295", Ok(u32::MAX)),
        (b"4294967296", Err(KstrtoError::Range)),
        (b"18446744073709551616", Err(KstrtoError::Range)),
        (b"18446744073709551616x", Err(KstrtoError::Range)),
        (b"4294967296x", Err(KstrtoError::Invalid)),
        (b"", Err(KstrtoError::Invalid)),
        (b"+", Err(KstrtoError::Invalid)),
        (b"++1", Err(KstrtoError::Invalid)),
        (b"-1", Err(KstrtoError::Invalid)),
        (b" 1", Err(KstrtoError::Invalid)),
        (b"1\n\n", Err(KstrtoError::Invalid)),
    ];
    for (text, result) in cases {
        assert_eq!(kstrtouint(text), result, "{:?}", text.escape_ascii());
    }
}

proptest! {
    #[test]
    fn scan_u64_agrees_with_wide_arithmetic(digits in "[0-9]{1,38}") {
        let wide: u128 = digits.parse().unwrap();

        prop_assert_eq!(
            scan_u64(digits.as_bytes()),
            Some(wide.try_into().unwrap_or(u64::MAX))
        );
    }

    #[test]
    fn scan_u64_takes_any_bytes(text: Vec<u8>) {
        if let Some(value) = scan_u64(&text) {
            prop_assert!(text.last().unwrap().is_ascii_digit());
            prop_assert!(text.len() > 19 || value < 10u64.pow(text.len() as u32));
        }
    }

    #[test]
    fn kstrtouint_agrees_with_the_standard_library(text in "[+]?[0-9]{1,24}\n?") {
        let plain = text.trim_end();

        prop_assert_eq!(kstrtouint(text.as_bytes()).ok(), plain.parse().ok());
    }
}

/// Numbers of stripes and chunk sizes: small ones, powers of two, and any.
fn sizes() -> impl Strategy<Value = u32> {
    prop_oneof![
        1u32..20,
        (0u32..32).prop_map(|shift| 1 << shift),
        1u32..=u32::MAX,
        Just(u32::MAX),
    ]
}

/// Sectors: near the start, around multiples, anywhere, and at the end of what 64 bits hold.
fn sectors() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..100_000,
        any::<u64>(),
        (0u64..1000).prop_map(|n| u64::MAX - n)
    ]
}

/// The plain model: count chunk by chunk.
fn model(count: u32, chunk: u32, sector: u64) -> (u32, u64) {
    let (count, chunk, sector) = (u128::from(count), u128::from(chunk), u128::from(sector));
    let number = sector / chunk;

    (
        (number % count) as u32,
        (number / count * chunk + sector % chunk) as u64,
    )
}

/// The inverse of the model, where it fits in 64 bits.
fn inverse(count: u32, chunk: u32, stripe: u32, at: u64) -> u128 {
    let (count, chunk, at) = (u128::from(count), u128::from(chunk), u128::from(at));

    (at / chunk * count + u128::from(stripe)) * chunk + at % chunk
}

proptest! {
    #[test]
    fn map_agrees_with_the_model(count in sizes(), chunk in sizes(), sector in sectors()) {
        let stripes = Stripes::new(count, chunk).unwrap();

        prop_assert_eq!(stripes.map(sector), model(count, chunk, sector));
    }

    #[test]
    fn map_is_a_bijection(count in sizes(), chunk in sizes(), sector in sectors()) {
        let (stripe, at) = Stripes::new(count, chunk).unwrap().map(sector);

        // Each sector comes back from where it went, so no two go to the same place; and each place
        // is reached, since the inverse of one that fits is a sector that maps to it.
        prop_assert!(stripe < count);
        prop_assert_eq!(inverse(count, chunk, stripe, at), u128::from(sector));
    }

    #[test]
    fn each_place_is_reached(count in sizes(), chunk in sizes(), stripe: u32, at in sectors()) {
        let stripe = stripe % count;

        if let Ok(sector) = u64::try_from(inverse(count, chunk, stripe, at)) {
            prop_assert_eq!(Stripes::new(count, chunk).unwrap().map(sector), (stripe, at));
        }
    }

    #[test]
    fn ranges_cover_what_their_sectors_cover(
        count in 1u32..9,
        chunk in 1u32..40,
        start in prop_oneof![0u64..2000, Just(1u64 << 40)],
        len in 1u64..600,
    ) {
        let stripes = Stripes::new(count, chunk).unwrap();

        for stripe in 0..count {
            // What lies on the stripe, sector by sector, is one range without holes.
            let places: Vec<u64> = (start..start + len)
                .map(|sector| stripes.map(sector))
                .filter(|(on, _)| *on == stripe)
                .map(|(_, at)| at)
                .collect();
            let range = stripes.map_range(start, start + len, stripe);

            match (places.first(), places.last()) {
                (Some(first), Some(last)) => prop_assert_eq!(range, Some((*first, last + 1))),
                _ => prop_assert_eq!(range, None),
            }
        }
    }

    #[test]
    fn limits_do_not_overflow(count in sizes(), chunk in sizes(), max: u32) {
        let stripes = Stripes::new(count, chunk).unwrap();
        let row = u128::from(count) * u128::from(chunk);
        let wide = u128::from(max) * u128::from(count);

        let sizes = stripes.io_sizes();
        prop_assert_eq!(sizes.is_some(), row * 512 <= u128::from(u32::MAX));
        if let Some((min, opt)) = sizes {
            prop_assert_eq!(u128::from(min), u128::from(chunk) * 512);
            prop_assert_eq!(u128::from(opt), row * 512);
        }

        let expected = if max < chunk {
            u128::from(max)
        } else if wide > u128::from(u32::MAX) {
            u128::from(u32::MAX >> 9)
        } else {
            wide - wide % row
        };
        prop_assert_eq!(u128::from(stripes.max_discard(max)), expected);
    }
}

#[test]
fn zero_stripes_or_sectors_are_none() {
    assert!(Stripes::new(0, 8).is_none());
    assert!(Stripes::new(2, 0).is_none());
}
