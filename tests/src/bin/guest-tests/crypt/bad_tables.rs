// SPDX-License-Identifier: GPL-2.0

//! Every bad table: the first of its errors in the twin's order. Options are in
//! [`super::bad_options`].

use super::{fill, CRYPT};
use anyhow::Result;
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::dm::line;
use dm_rust_tests::module::modprobe;
use dm_rust_tests::scenario::loop_of;
use dm_rust_tests::scenario::refusal::attempt;
use dm_rust_tests::setting::Setting;
use dm_rust_tests::twin::Kind;

/// Arguments of a target of 64 sectors: `{}` stands for the lower device, `<32>`
/// for a key of 32 bytes.
const ARGUMENTS: &[(&str, &[&str])] = &[
    (
        "too_few",
        &[
            "",
            " ",
            "aes-xts-plain64",
            "aes-xts-plain64 <64> 0 {}",
            "x",
            "x x x x",
            "aes-xts-plain64 <64> 0 {} \\ ",
            "\\  <64> 0 {} 0",
        ],
    ),
    (
        "cipher_of_the_old_form",
        &[
            "aes <32> 0 {} 0",
            "aes-plain <32> 0 {} 0",
            "aes-plain64 <32> 0 {} 0",
            "aes-cbc <32> 0 {} 0",
            "aes-cbc- <32> 0 {} 0",
            "aes-cbc-: <32> 0 {} 0",
            "aes- <32> 0 {} 0",
            "aes-- <32> 0 {} 0",
            "aes--plain <32> 0 {} 0",
            "aes-ecb <32> 0 {} 0",
            "aes-ecb-plain <32> 0 {} 0",
            "aes-ecb-null <32> 0 {} 0",
            "aes-ecb-nonsense <32> 0 {} 0",
            "- <32> 0 {} 0",
            "-cbc-plain <32> 0 {} 0",
            ": <32> 0 {} 0",
            "aes-plain-plain <32> 0 {} 0",
            "aes-plain- <32> 0 {} 0",
            "aes-cbc-plain:x <32> 0 {} 0",
            "aes-cbc-plain-x <32> 0 {} 0",
            "aes-cbc-plain: <32> 0 {} 0",
            "aes-xts-plain64:x:y <32> 0 {} 0",
            "AES-cbc-plain <32> 0 {} 0",
            "aes-CBC-plain <32> 0 {} 0",
            "aes-cbc-PLAIN <32> 0 {} 0",
            "aes-cbc-plain\\  <32> 0 {} 0",
            "\\ aes-cbc-plain <32> 0 {} 0",
            "nonsense-cbc-plain <32> 0 {} 0",
            "aes-nonsense-plain <32> 0 {} 0",
            "aes-cbc-nonsense <32> 0 {} 0",
            "aes-ctr-plain <32> 0 {} 0",
            "aes-gcm-plain <32> 0 {} 0",
            "sha256-cbc-plain <32> 0 {} 0",
            "xts(aes)-plain64 <64> 0 {} 0",
            "aes(-cbc-plain <32> 0 {} 0",
            "cbc(aes) <32> 0 {} 0",
            "aes)-cbc-plain <32> 0 {} 0",
            "aes,-cbc-plain <32> 0 {} 0",
            "cipher_null-ecb - 0 {} 0",
            "cipher_null-ecb-null - 0 {} 0",
            "cipher_null-cbc-plain - 0 {} 0",
            "des3_ede-cbc-plain64 <24> 0 {} 0",
        ],
    ),
    (
        "long_names",
        &[
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
             aaaaaaaaaaaaaaaaaaaaaaaaaa-cbc-plain <32> 0 {} 0",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
             aaaaaaaaaaaaaaaaaaaaaaaaaaa-cbc-plain <32> 0 {} 0",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
             aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-cbc-plain <32> 0 {} 0",
            "aes-cbc-essiv:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
             aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa <32> 0 {} 0",
            "capi:cbc(aes)-essiv:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
             aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa <32> 0 {} 0",
            "capi:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
             aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-plain <32> 0 {} 0",
        ],
    ),
    (
        "key_count",
        &[
            "aes:1-cbc-plain <16> 0 {} 0",
            "aes:2-cbc-plain <32> 0 {} 0",
            "aes:64-cbc-plain <1024> 0 {} 0",
            "aes:64-cbc-plain <1040> 0 {} 0",
            "aes:2-xts-plain64 <64> 0 {} 0",
            "aes:2-cbc-plain <16> 0 {} 0",
            "aes:2-cbc-plain <33> 0 {} 0",
            "aes:0-cbc-plain <32> 0 {} 0",
            "aes:3-cbc-plain <48> 0 {} 0",
            "aes:-cbc-plain <32> 0 {} 0",
            "aes:x-cbc-plain <32> 0 {} 0",
            "aes:2x-cbc-plain <32> 0 {} 0",
            "aes:2:-cbc-plain <32> 0 {} 0",
            "aes:2:x-cbc-plain <32> 0 {} 0",
            "aes:+2-cbc-plain <32> 0 {} 0",
            "aes:-2-cbc-plain <32> 0 {} 0",
            "aes:02-cbc-plain <32> 0 {} 0",
            "aes:0x2-cbc-plain <32> 0 {} 0",
            "aes:\\ 2-cbc-plain <32> 0 {} 0",
            "aes:2\\ -cbc-plain <32> 0 {} 0",
            "aes:4294967298-cbc-plain <32> 0 {} 0",
            "aes:4294967296-cbc-plain <32> 0 {} 0",
            "aes:18446744073709551618-cbc-plain <32> 0 {} 0",
            "aes:1 <32> 0 {} 0",
            ":2-cbc-plain <32> 0 {} 0",
        ],
    ),
    (
        "capi",
        &[
            "capi: <32> 0 {} 0",
            "capi:- <32> 0 {} 0",
            "capi:-plain <32> 0 {} 0",
            "capi:: <32> 0 {} 0",
            "capi:xts(aes) <64> 0 {} 0",
            "capi:xts(aes)- <64> 0 {} 0",
            "capi:xts(aes)-: <64> 0 {} 0",
            "capi:xts(aes)-nonsense <64> 0 {} 0",
            "capi:xts(aes)-plain64:x <64> 0 {} 0",
            "capi:xts(aes)-plain64-plain <64> 0 {} 0",
            "capi:xts(aes-plain64 <64> 0 {} 0",
            "capi:xts(aes))-plain64 <64> 0 {} 0",
            "capi:xts()-plain64 <64> 0 {} 0",
            "capi:xts(nonsense)-plain64 <64> 0 {} 0",
            "capi:aes-plain <32> 0 {} 0",
            "capi:ecb(aes) <32> 0 {} 0",
            "capi:ecb(aes)-plain <32> 0 {} 0",
            "capi:sha256-plain <32> 0 {} 0",
            "capi:gcm(aes)-random <32> 0 {} 0",
            "capi:gcm(aes)-plain64 <32> 0 {} 0",
            "capi:authenc(hmac(sha256),xts(aes))-plain64 <96> 0 {} 0",
            "capi:cbc(aes)-essiv <32> 0 {} 0",
            "capi:cbc(aes)-essiv: <32> 0 {} 0",
            "capi:cbc(aes)-essiv:nonsense <32> 0 {} 0",
            "capi:cbc(aes)-essiv:sha256:x <32> 0 {} 0",
            "capi:essiv(cbc(aes),sha256)-plain64 <32> 0 {} 0",
            "capi:xts(ecb(aes-generic))-plain64 <64> 0 {} 0",
            "capi:cbc(aes)-lmk <1024> 0 {} 0",
            "CAPI:xts(aes)-plain64 <64> 0 {} 0",
            "capi <32> 0 {} 0",
            "capi-cbc-plain <32> 0 {} 0",
            "capi:adiantum(xchacha12,aes)-plain64 <32> 0 {} 0",
        ],
    ),
    (
        "iv_modes",
        &[
            "aes-cbc-essiv <32> 0 {} 0",
            "aes-cbc-essiv: <32> 0 {} 0",
            "aes-cbc-essiv:nonsense <32> 0 {} 0",
            "aes-cbc-essiv:sha1 <32> 0 {} 0",
            "aes-cbc-essiv:sha512 <32> 0 {} 0",
            "aes-cbc-essiv:sha256:x <32> 0 {} 0",
            "aes-cbc-essiv:crc32 <32> 0 {} 0",
            "aes-xts-essiv:sha256 <64> 0 {} 0",
            "aes-ecb-essiv:sha256 <32> 0 {} 0",
            "aes-ecb-benbi <32> 0 {} 0",
            "adiantum-cbc-benbi <32> 0 {} 0",
            "aes-cbc-random <32> 0 {} 0",
            "aes-xts-random <64> 0 {} 0",
            "aes-ecb-eboiv <32> 0 {} 0",
            "aes-ctr-eboiv <32> 0 {} 0",
            "aes-cbc-elephant <32> 0 {} 0",
            "aes-cbc-elephant <16> 0 {} 0",
            "aes-cbc-elephant <64> 0 {} 0",
            "aes-cbc-elephant <66> 0 {} 0",
            "aes-cbc-elephant <68> 0 {} 0",
            "aes-cbc-elephant <33> 0 {} 0",
            "aes-xts-elephant <64> 0 {} 0",
            "aes-cbc-lmk <16> 0 {} 0",
            "aes-cbc-lmk <32> 0 {} 0",
            "aes-cbc-lmk <33> 0 {} 0",
            "aes:64-cbc-lmk <1024> 0 {} 0",
            "aes:64-cbc-lmk <1040> 0 {} 0",
            "aes:64-cbc-lmk <1041> 0 {} 0",
            "aes:64-cbc-lmk <1039> 0 {} 0",
            "aes:64-cbc-lmk <64> 0 {} 0",
            "aes-cbc-tcw <64> 0 {} 0",
            "aes-cbc-tcw <48> 0 {} 0",
            "aes-cbc-tcw <32> 0 {} 0",
            "aes-cbc-tcw <31> 0 {} 0",
            "aes-cbc-tcw <16> 0 {} 0",
            "aes-cbc-tcw - 0 {} 0",
            "des3_ede-cbc-tcw <48> 0 {} 0",
            "cipher_null-ecb-plain - 0 {} 0",
            "cipher_null-ecb-nonsense - 0 {} 0",
        ],
    ),
    (
        "hexadecimal_keys",
        &[
            "aes-cbc-plain - 0 {} 0",
            "aes-cbc-plain -- 0 {} 0",
            "aes-cbc-plain \\  0 {} 0",
            "aes-cbc-plain 0 0 {} 0",
            "aes-cbc-plain 00 0 {} 0",
            "aes-cbc-plain <15> 0 {} 0",
            "aes-cbc-plain <17> 0 {} 0",
            "aes-cbc-plain <64> 0 {} 0",
            "aes-xts-plain64 <32> 0 {} 0",
            "aes-xts-plain64 <33> 0 {} 0",
            "aes-xts-plain64 <48> 0 {} 0",
            "aes-cbc-plain 000102030405060708090a0b0c0d0e0 0 {} 0",
            "aes-cbc-plain 000102030405060708090a0b0c0d0e0f0 0 {} 0",
            "aes-cbc-plain 000102030405060708090a0b0c0d0e0fx 0 {} 0",
            "aes-cbc-plain 000102030405060708090A0B0C0D0E0F 0 {} 0",
            "aes-cbc-plain 000102030405060708090a0b0c0d0e0g 0 {} 0",
            "aes-cbc-plain g00102030405060708090a0b0c0d0e0f 0 {} 0",
            "aes-cbc-plain 0x0102030405060708090a0b0c0d0e0f 0 {} 0",
            "aes-cbc-plain 00010203040506\\ 708090a0b0c0d0e0f 0 {} 0",
            "aes-cbc-plain -00102030405060708090a0b0c0d0e0f 0 {} 0",
            "aes-cbc-plain 000102030405060708090a0b0c0d0e0\u{e9} 0 {} 0",
            "cipher_null-ecb <16> 0 {} 0",
            "cipher_null-ecb 0 0 {} 0",
            "cipher_null-ecb x 0 {} 0",
        ],
    ),
    (
        "keyring_keys",
        &[
            "aes-cbc-plain : 0 {} 0",
            "aes-cbc-plain :: 0 {} 0",
            "aes-cbc-plain ::: 0 {} 0",
            "aes-cbc-plain :32 0 {} 0",
            "aes-cbc-plain :32: 0 {} 0",
            "aes-cbc-plain :32:: 0 {} 0",
            "aes-cbc-plain :32::x 0 {} 0",
            "aes-cbc-plain :32:user 0 {} 0",
            "aes-cbc-plain :32:user: 0 {} 0",
            "aes-cbc-plain :32:user:no-such-key 0 {} 0",
            "aes-cbc-plain :32:logon:no:such-key 0 {} 0",
            "aes-cbc-plain :32:logon:no-prefix 0 {} 0",
            "aes-cbc-plain :32:encrypted:no-such-key 0 {} 0",
            "aes-cbc-plain :32:trusted:no-such-key 0 {} 0",
            "aes-cbc-plain :32:keyring:no-such-key 0 {} 0",
            "aes-cbc-plain :32:big_key:no-such-key 0 {} 0",
            "aes-cbc-plain :32:use:no-such-key 0 {} 0",
            "aes-cbc-plain :32:users:no-such-key 0 {} 0",
            "aes-cbc-plain :32:USER:no-such-key 0 {} 0",
            "aes-cbc-plain :32:user:a\\ b 0 {} 0",
            "aes-cbc-plain :32:us\\ er:a 0 {} 0",
            "aes-cbc-plain :x:user:a 0 {} 0",
            "aes-cbc-plain :32x:user:a 0 {} 0",
            "aes-cbc-plain :-32:user:a 0 {} 0",
            "aes-cbc-plain :+32:user:a 0 {} 0",
            "aes-cbc-plain :\\ 32:user:a 0 {} 0",
            "aes-cbc-plain :0x20:user:a 0 {} 0",
            "aes-cbc-plain :0:user:a 0 {} 0",
            "aes-cbc-plain :4294967295:user:a 0 {} 0",
            "aes-cbc-plain :2147483648:user:a 0 {} 0",
            "aes-cbc-plain :4294967328:user:a 0 {} 0",
        ],
    ),
    (
        "iv_offset",
        &[
            "aes-cbc-plain <32> x {} 0",
            "aes-cbc-plain <32> -1 {} 0",
            "aes-cbc-plain <32> +1 {} 0",
            "aes-cbc-plain <32> 1x {} 0",
            "aes-cbc-plain <32> 0x10 {} 0",
            "aes-cbc-plain <32> 010 {} 0",
            "aes-cbc-plain <32> \\  {} 0",
            "aes-cbc-plain <32> \\ 1 {} 0",
            "aes-cbc-plain <32> 1\\  {} 0",
            "aes-cbc-plain <32> 18446744073709551615 {} 0",
            "aes-cbc-plain <32> 18446744073709551616 {} 0",
            "aes-cbc-plain <32> 36893488147419103233 {} 0",
            "aes-cbc-plain <32> 1 {} 0 1 sector_size:1024",
            "aes-cbc-plain <32> 7 {} 0 1 sector_size:4096",
            "aes-cbc-plain <32> 8 {} 0 1 sector_size:4096",
        ],
    ),
    (
        "device",
        &[
            "aes-cbc-plain <32> 0 /dev/no-such-device 0",
            "aes-cbc-plain <32> 0 /dev/null 0",
            "aes-cbc-plain <32> 0 \\  0",
            "aes-cbc-plain <32> 0 0:0 0",
            "aes-cbc-plain <32> 0 60:0 0",
            "aes-cbc-plain <32> 0 {}x 0",
            "aes-cbc-plain <32> 0 / 0",
        ],
    ),
    (
        "start",
        &[
            "aes-cbc-plain <32> 0 {} x",
            "aes-cbc-plain <32> 0 {} -1",
            "aes-cbc-plain <32> 0 {} +1",
            "aes-cbc-plain <32> 0 {} 1x",
            "aes-cbc-plain <32> 0 {} 0x10",
            "aes-cbc-plain <32> 0 {} \\  ",
            "aes-cbc-plain <32> 0 {} \\ 1",
            "aes-cbc-plain <32> 0 {} 1",
            "aes-cbc-plain <32> 0 {} 1 1 sector_size:4096",
            "aes-cbc-plain <32> 0 {} 65472",
            "aes-cbc-plain <32> 0 {} 65473",
            "aes-cbc-plain <32> 0 {} 65536",
            "aes-cbc-plain <32> 0 {} 18446744073709551552",
            "aes-cbc-plain <32> 0 {} 18446744073709551615",
            "aes-cbc-plain <32> 0 {} 18446744073709551616",
            "aes-cbc-plain <32> 0 {} 36893488147419103233",
        ],
    ),
    (
        "which_comes_first",
        &[
            "nonsense :x:y x /dev/no-such-device x x",
            "nonsense <32> x /dev/no-such-device x x",
            "nonsense <32> x /dev/no-such-device x 1",
            "nonsense <32> x /dev/no-such-device x 1 nonsense",
            "nonsense <32> x /dev/no-such-device x 0",
            "nonsense <32> x /dev/no-such-device x",
            "aes-cbc-nonsense x x /dev/no-such-device x",
            "aes-cbc-plain x x /dev/no-such-device x",
            "aes-cbc-tcw <20> x /dev/no-such-device x",
            "aes-cbc-essiv:nonsense x x /dev/no-such-device x",
            "aes-cbc-plain <32> x /dev/no-such-device x",
            "aes-cbc-plain <32> 0 /dev/no-such-device x",
            "aes-cbc-random <32> 0 {} x",
            "aes-cbc-random <32> 0 /dev/no-such-device 0",
            "aes-cbc-lmk <32> x {} 0 1 sector_size:4096",
            "capi:gcm(aes)-lmk x x /dev/no-such-device x 1 integrity:28:aead",
            "aes-gcm-random x x /dev/no-such-device x 1 integrity:28:aead",
        ],
    ),
];

pub fn cases() -> Vec<Case> {
    let mut cases = tables("bad_tables", ARGUMENTS, 64);
    cases.push(case("crypt::bad_tables::lengths", lengths));
    cases
}

/// A test for each list of arguments.
pub fn tables(
    group: &str,
    lists: &'static [(&str, &'static [&'static str])],
    sectors: u64,
) -> Vec<Case> {
    let each = |(name, list): &(&str, &'static [&'static str])| {
        let list = *list;
        case(format!("crypt::{group}::{name}"), move |ctx| {
            arguments(ctx, list, sectors)
        })
        .limit(120)
    };
    lists.iter().map(each).collect()
}

fn arguments(ctx: &Ctx, list: &[&str], sectors: u64) -> Result<()> {
    let _setting = no_more_modules()?;
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        for template in list {
            let params = fill(template, &lower.node());
            let table = [line(0, sectors, &side.target, params)];
            attempt(side, &format!("{template:?}"), &table, &[&lower])?;
        }
        Ok(())
    })
}

/// Has the modules of good ciphers loaded, and no program started to look for
/// those of bad ones: that takes long.
fn no_more_modules() -> Result<Setting> {
    for module in [
        "dm-crypt",
        "adiantum",
        "authenc",
        "crypto_null",
        "ctr",
        "des_generic",
        "essiv",
        "gcm",
        "xts",
    ] {
        modprobe(module, &[])?;
    }
    Setting::new("/proc/sys/kernel/modprobe", "\n")
}

/// Lengths that fit the sectors or do not, on lower devices of both sector sizes.
fn lengths(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        for (index, kind) in [loop_of(512), loop_of(4096)].into_iter().enumerate() {
            let lower = side.lower(kind, index)?;
            for options in ["", "1 sector_size:1024", "1 sector_size:4096"] {
                for (len, start) in [(1, 0), (2, 0), (8, 0), (12, 0), (8, 1), (8, 4), (0, 0)] {
                    let template = format!("aes-cbc-plain <32> 0 {{}} {start} {options}");
                    let params = fill(template.trim_end(), &lower.node());
                    let table = [line(0, len, &side.target, params)];
                    attempt(
                        side,
                        &format!("{len} at {start} {options}"),
                        &table,
                        &[&lower],
                    )?;
                }
            }
        }
        Ok(())
    })
}
