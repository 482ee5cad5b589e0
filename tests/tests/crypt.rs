// SPDX-License-Identifier: GPL-2.0

//! The parts of rust-crypt that know no kernel type, tested on the host: against known values, and
//! against plain models.

use proptest::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

#[path = "../../rust/targets/crypt/iv.rs"]
mod iv;
#[path = "../../rust/targets/crypt/options.rs"]
mod options;
#[path = "../../rust/targets/crypt/scan.rs"]
mod scan;
#[path = "../../rust/targets/crypt/spec.rs"]
mod spec;
#[path = "../../rust/targets/crypt/split.rs"]
mod split;

use options::Options;
use scan::{KeyArgument, KeySource};
use spec::SpecError;

fn words(bytes: &[u8]) -> Vec<AtomicU32> {
    bytes
        .chunks_exact(4)
        .map(|word| AtomicU32::new(u32::from_ne_bytes(word.try_into().unwrap())))
        .collect()
}

fn bytes(words: &[AtomicU32]) -> Vec<u8> {
    words
        .iter()
        .flat_map(|word| word.load(Relaxed).to_ne_bytes())
        .collect()
}

/// The name, the number of keys, the IV mode and its options.
type Parts<'a> = (&'a str, u32, Option<&'a str>, Option<&'a str>);

fn parse(text: &str) -> Result<spec::Spec<'_>, SpecError> {
    spec::parse(text.as_bytes(), false)
}

#[test]
fn specifications_become_names() {
    let cases: [(&str, Parts<'_>); 13] = [
        ("aes", ("cbc(aes)", 1, Some("plain"), None)),
        ("aes-plain", ("cbc(aes)", 1, Some("plain"), None)),
        ("aes-ecb", ("ecb(aes)", 1, None, None)),
        ("aes-xts-plain64", ("xts(aes)", 1, Some("plain64"), None)),
        ("aes:64-cbc-lmk", ("cbc(aes)", 64, Some("lmk"), None)),
        ("aes: 4-cbc-lmk", ("cbc(aes)", 4, Some("lmk"), None)),
        (
            "aes-cbc-essiv:sha256",
            ("essiv(cbc(aes),sha256)", 1, Some("essiv"), Some("sha256")),
        ),
        (
            "aes-cbc-plain:x:y-z",
            ("cbc(aes)", 1, Some("plain"), Some("x:y-z")),
        ),
        ("-cbc-null", ("cbc()", 1, Some("null"), None)),
        (
            "capi:xts(aes)-plain64",
            ("xts(aes)", 1, Some("plain64"), None),
        ),
        ("capi:ecb(aes)", ("ecb(aes)", 1, None, None)),
        ("capi:cbc(aes)-lmk", ("cbc(aes)", 64, Some("lmk"), None)),
        (
            "capi:cbc(aes)-essiv:sha3-256",
            // The last hyphen parts the mode, the last colon its options, in this order.
            (
                "essiv(cbc(aes),sha3-256)",
                1,
                Some("essiv"),
                Some("sha3-256"),
            ),
        ),
    ];

    for (text, (name, key_count, iv_mode, iv_options)) in cases {
        let spec = parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));

        assert_eq!(
            spec.name.with_nul(),
            format!("{name}\0").as_bytes(),
            "{text}"
        );
        assert_eq!(spec.key_count, key_count, "{text}");
        assert_eq!(spec.iv_mode, iv_mode.map(str::as_bytes), "{text}");
        assert_eq!(spec.iv_options, iv_options.map(str::as_bytes), "{text}");
        assert_eq!(spec.auth_hash, None, "{text}");
    }
}

#[test]
fn specifications_are_refused() {
    let long = "x".repeat(128);
    let cases = [
        ("xts(aes)-plain64".to_owned(), SpecError::BadSpecification),
        ("aes:3-cbc-plain".to_owned(), SpecError::BadKeyCount),
        ("aes:0-cbc-plain".to_owned(), SpecError::BadKeyCount),
        ("aes:-cbc-plain".to_owned(), SpecError::BadKeyCount),
        ("aes:4x-cbc-plain".to_owned(), SpecError::BadKeyCount),
        ("aes-cbc".to_owned(), SpecError::IvRequired),
        ("aes-cbc-essiv".to_owned(), SpecError::DigestMissing),
        ("capi:cbc(aes)-essiv".to_owned(), SpecError::DigestMissing),
        (format!("{long}-cbc-plain"), SpecError::TooLong),
        (format!("capi:{long}-essiv:sha256"), SpecError::TooLongNew),
    ];

    for (text, error) in cases {
        assert_eq!(parse(&text).err(), Some(error), "{text}");
    }
    assert_eq!(
        spec::parse(b"aes-xts-plain64", true).err(),
        Some(SpecError::BadSpecification)
    );
    assert_eq!(
        spec::parse(b"capi:gcm(aes)-lmk", true).err(),
        Some(SpecError::LmkWithAead)
    );
    assert_eq!(
        spec::parse(b"capi:authenc(hmac(sha256)", true).err(),
        Some(SpecError::BadAead)
    );
}

#[test]
fn the_hash_of_authenc_is_found() {
    let spec = spec::parse(b"capi:authenc(hmac(sha256),xts(aes))-random", true).unwrap();

    assert_eq!(spec.auth_hash.unwrap().with_nul(), b"hmac(sha256)\0");
    assert_eq!(spec.name.with_nul(), b"authenc(hmac(sha256),xts(aes))\0");
    assert_eq!(spec.iv_mode, Some(&b"random"[..]));
}

#[test]
fn key_arguments() {
    let hex = |text: &'static [u8], size| {
        Some(KeyArgument {
            size,
            source: KeySource::Hex(text),
        })
    };
    let keyring = |name: &'static [u8], size| {
        Some(KeyArgument {
            size,
            source: KeySource::Keyring(name),
        })
    };
    let cases = [
        (&b"-"[..], hex(b"-", 0)),
        (b"", hex(b"", 0)),
        (b"0011", hex(b"0011", 2)),
        (b"001", hex(b"001", 1)),
        (b":32:logon:a:b", keyring(b"logon:a:b", 32)),
        (b":0:user:x", keyring(b"user:x", 0)),
        // 2^32 and some: only the lower 32 bits count.
        (b":4294967328:user:x", keyring(b"user:x", 32)),
        (b":32:", keyring(b"", 32)),
        (b":2147483648:user:x", None),
        (b":32", None),
        (b":x:user:y", None),
        (b":32 :user:y", None),
        (b"::user:y", None),
    ];

    for (text, expected) in cases {
        assert_eq!(
            scan::key_argument(text),
            expected,
            "{}",
            text.escape_ascii()
        );
    }
    assert_eq!(
        scan::keyring_name(b"user:a:b"),
        Some((&b"user"[..], &b"a:b"[..]))
    );
    for bad in [&b""[..], b":", b"user", b"user:", b":x"] {
        assert_eq!(scan::keyring_name(bad), None, "{}", bad.escape_ascii());
    }
}

fn options(args: &[&'static str]) -> Result<(Options<'static>, bool), String> {
    Options::parse(args.iter().map(|arg| arg.as_bytes()), 64)
        .map_err(|e| e.to_str().unwrap().to_owned())
}

#[test]
fn options_are_read() {
    let (all, aead) = options(&[
        "9",
        "ALLOW_discards",
        "same_cpu_crypt",
        "high_priority",
        "submit_from_crypt_cpus",
        "no_read_workqueue",
        "no_write_workqueue",
        "integrity:28:AEAD",
        "sector_size:4096",
        "iv_large_sectors",
    ])
    .unwrap();

    assert!(aead && all.allow_discards && all.same_cpu_crypt && all.high_priority);
    assert!(all.submit_from_crypt_cpus && all.no_read_workqueue && all.no_write_workqueue);
    assert!(all.iv_large_sectors && all.sector_size == 4096);
    assert_eq!(all.integrity.unwrap().tag_size, 28);
    assert_eq!(all.integrity.unwrap().kind, b"AEAD");
    assert_eq!(options(&[]).unwrap(), (Options::default(), false));
    assert_eq!(options(&["0"]).unwrap(), (Options::default(), false));
    // What is not counted is not looked at.
    assert_eq!(options(&["0", "nonsense"]).unwrap().0, Options::default());
    assert_eq!(
        options(&["1", "integrity_key_size:32"])
            .unwrap()
            .0
            .integrity_key_size,
        Some(32)
    );
    // The kernel keeps the lower 16 bits.
    assert_eq!(
        options(&["1", "sector_size:66048"]).unwrap().0.sector_size,
        512
    );
}

#[test]
fn options_are_refused() {
    let cases: [(&[&str], &str); 16] = [
        (&["10"], "Invalid number of feature args"),
        (&["1"], "Invalid number of feature args"),
        (&["x", "y"], "Invalid number of feature args"),
        (&["-1", "y"], "Invalid number of feature args"),
        (&["1", "nonsense"], "Invalid feature arguments"),
        (&["1", "allow_discards "], "Invalid feature arguments"),
        (&["1", "SECTOR_SIZE:512"], "Invalid feature arguments"),
        (&["1", "sector_size:512x"], "Invalid feature arguments"),
        (
            &["1", "sector_size:256"],
            "Invalid feature value for sector_size",
        ),
        (
            &["1", "sector_size:8192"],
            "Invalid feature value for sector_size",
        ),
        (
            &["1", "sector_size:1536"],
            "Invalid feature value for sector_size",
        ),
        (&["1", "integrity:0:aead"], "Invalid integrity arguments"),
        (&["1", "integrity:481:aead"], "Invalid integrity arguments"),
        (&["1", "integrity:28:other"], "Unknown integrity profile"),
        (&["1", "integrity:28"], "Unknown integrity profile"),
        (
            &["1", "integrity_key_size:0"],
            "Invalid integrity_key_size argument",
        ),
    ];

    for (args, message) in cases {
        assert_eq!(options(args).unwrap_err(), message, "{args:?}");
    }
    assert_eq!(
        Options::parse([&b"1"[..], b"sector_size:4096"].into_iter(), 12).unwrap_err(),
        c"Device size is not multiple of sector_size feature"
    );
}

#[test]
fn loop_aes_hashes_the_number_last() {
    let tail = iv::lmk_tail(0xfe12_3456_789a_bcde);

    assert_eq!(
        tail,
        [0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0x80, 0xb8, 0x0f, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn words_lie_as_their_bytes_do() {
    let sector = words(&[1, 2, 3, 4, 5, 6, 7, 8]);

    iv::xor_bytes(&sector, &[0x10, 0x20, 0x30, 0x40]);
    assert_eq!(bytes(&sector), [0x11, 0x22, 0x33, 0x44, 5, 6, 7, 8]);
}

#[test]
fn elephant_encrypts_the_byte_offset_twice() {
    let [first, second] = iv::elephant_blocks(0x1122_3344_5566_7788);
    let number = [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11];

    assert_eq!(first[..8], number);
    assert_eq!(first[8..], [0; 8]);
    assert_eq!(second[..8], number);
    assert_eq!(second[8..], [0, 0, 0, 0, 0, 0, 0, 0x80]);
}

#[test]
fn how_large_a_bio_may_be() {
    const PAGES: Option<u32> = Some(256 * 4096);

    assert_eq!(split::max_sectors(false, 0, PAGES, 512), 256);
    assert_eq!(split::max_sectors(false, 5000, PAGES, 512), 9);
    assert_eq!(split::max_sectors(false, 5000, None, 4096), 8);
    assert_eq!(split::max_sectors(false, 100, None, 4096), 8);
    assert_eq!(split::max_sectors(false, u32::MAX, None, 512), 256);
    assert_eq!(split::max_sectors(true, 5000, PAGES, 4096), 2048);
    assert_eq!(
        split::max_sectors(true, 0, None, 4096),
        (u32::MAX - 4095) >> 9
    );
}

/// The diffusers of Elephant as their paper has them: in decryption a word gets the sum of two
/// others, one of them rotated.
fn elephant_model(sector: &mut [u8], key: &[u8; 32]) {
    let mut d: Vec<u32> = sector
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    let n = d.len();

    for _ in 0..3 {
        for i in 0..n {
            let r = [0, 10, 0, 25][i % 4];
            d[i] = d[i].wrapping_add(d[(i + 2) % n] ^ d[(i + 5) % n].rotate_left(r));
        }
    }
    for _ in 0..5 {
        for i in 0..n {
            let r = [9, 0, 13, 0][i % 4];
            d[i] = d[i].wrapping_add(d[(i + n - 2) % n] ^ d[(i + n - 5) % n].rotate_left(r));
        }
    }
    for (to, word) in sector.chunks_exact_mut(4).zip(&d) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    for (to, key) in sector.iter_mut().zip(key.iter().cycle()) {
        *to ^= key;
    }
}

/// CRC-32 bit by bit, from a register of 0 and without a final inversion.
fn crc32(data: &[u8]) -> u32 {
    let mut crc = 0u32;

    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    crc
}

proptest! {
    #[test]
    fn parsers_never_panic(text in prop::collection::vec(any::<u8>(), 0..160), aead: bool) {
        let _ = spec::parse(&text, aead);
        let mut new = b"capi:".to_vec();
        new.extend(&text);
        let _ = spec::parse(&new, aead);
        let _ = scan::key_argument(&text);
        let _ = scan::keyring_name(&text);
        let _ = Options::parse([&b"1"[..], &text].into_iter(), 8);
    }

    #[test]
    fn old_specifications_keep_their_parts(
        cipher in "[a-z0-9_]{1,20}", shift in 0u32..10, chain in "[a-z]{1,10}",
        mode in "[a-z0-9]{1,10}", extra in "[a-z0-9:-]{1,10}",
    ) {
        let text = format!("{cipher}:{}-{chain}-{mode}:{extra}", 1 << shift);
        let spec = parse(&text).unwrap();

        prop_assert_eq!(spec.key_count, 1 << shift);
        prop_assert_eq!(spec.iv_mode, Some(mode.as_bytes()));
        prop_assert_eq!(spec.iv_options, Some(extra.as_bytes()));
        if mode != "essiv" {
            let name = format!("{chain}({cipher})\0");
            prop_assert_eq!(spec.name.with_nul(), name.as_bytes());
        }
    }

    #[test]
    fn hexadecimal_is_decoded(key in prop::collection::vec(any::<u8>(), 0..80), upper: bool) {
        let text = dm_rust_tests::hex(key.iter().copied());
        let text = if upper { text.to_uppercase() } else { text };
        let mut out = vec![0; key.len()];

        prop_assert_eq!(scan::hex_decode(text.as_bytes(), &mut out), Some(()));
        prop_assert_eq!(&out, &key);
        let mut longer = vec![0; key.len() + 1];
        prop_assert_eq!(scan::hex_decode(text.as_bytes(), &mut longer), None);
    }

    #[test]
    fn plain_ivs(sector: u64, extra in 0usize..25) {
        let mut iv = vec![0xff; 8 + extra];

        iv::plain64(sector, &mut iv);
        prop_assert_eq!(&iv[..8], &sector.to_le_bytes());
        prop_assert!(iv[8..].iter().all(|b| *b == 0));
        iv.fill(0xff);
        iv::plain(sector, &mut iv);
        prop_assert_eq!(&iv[..4], &sector.to_le_bytes()[..4]);
        prop_assert!(iv[4..].iter().all(|b| *b == 0));
        iv.fill(0xff);
        iv::plain64be(sector, &mut iv);
        prop_assert_eq!(&iv[extra..], &sector.to_be_bytes());
        prop_assert!(iv[..extra].iter().all(|b| *b == 0));
    }

    #[test]
    fn benbi_counts_blocks_from_one(sector in 0u64..1 << 50, log in 0u32..12) {
        match iv::benbi_shift(1 << log) {
            Ok(shift) => {
                let mut iv = [0xff; 16];

                iv::benbi(sector, shift, &mut iv);
                let blocks = u128::from(sector) * 512 / (1 << log) + 1;
                prop_assert_eq!(u128::from_be_bytes(iv), blocks);
            }
            Err(e) => {
                prop_assert_eq!(e, iv::BenbiError::TooLarge);
                prop_assert!(log > 9);
            }
        }
    }

    #[test]
    fn truecrypt_whitens(sector: u64, whitening: [u8; 16], data: [u8; 32], seed: [u8; 16]) {
        let number = sector.to_le_bytes();
        let mixed: Vec<u8> = (0..16).map(|i| whitening[i] ^ number[i % 8]).collect();
        let crc: Vec<u32> = mixed.chunks_exact(4).map(crc32).collect();
        let pattern = [crc[0] ^ crc[3], crc[1] ^ crc[2]].map(u32::to_le_bytes).concat();
        let expected: Vec<u8> = (0..32).map(|i| data[i] ^ pattern[i % 8]).collect();
        let sector_words = words(&data);

        iv::xor(&sector_words, iv::tcw_whitening(sector, &whitening));
        prop_assert_eq!(bytes(&sector_words), expected);

        let mut iv = [0; 16];
        iv::tcw(sector, &seed, &mut iv);
        for i in 0..16 {
            prop_assert_eq!(iv[i], seed[i] ^ number[i % 8]);
        }
    }

    #[test]
    fn elephant_is_undone_and_as_in_the_paper(
        data in prop::collection::vec(any::<u8>(), 4096), log in 9u32..13, key: [u8; 32],
    ) {
        let data = &data[..1 << log];
        let words_key: Vec<[u8; 4]> = key.chunks_exact(4).map(|w| w.try_into().unwrap()).collect();
        let words_key: [[u8; 4]; 8] = words_key.try_into().unwrap();
        let sector = words(data);

        iv::elephant_encrypt(&sector, words_key);
        prop_assert_ne!(bytes(&sector), data);
        let mut model = bytes(&sector);
        elephant_model(&mut model, &key);
        prop_assert_eq!(&model, data);
        iv::elephant_decrypt(&sector, words_key);
        prop_assert_eq!(bytes(&sector), data);
    }

    #[test]
    fn splits_are_aligned_and_small_enough(
        whole: bool, parameter: u32, pages: bool, log in 9u32..13,
    ) {
        let align = 1 << log;
        let limit = pages.then_some(1 << 20);
        let bytes = u64::from(split::max_sectors(whole, parameter, limit, align)) << 9;

        prop_assert!(bytes > 0 && bytes % u64::from(align) == 0);
        prop_assert!(!pages || bytes <= 1 << 20);
        prop_assert!(whole || bytes <= 131_072);
        prop_assert!(whole || parameter == 0 || bytes <= u64::from(parameter.max(align)));
    }
}
