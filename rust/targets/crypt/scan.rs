// SPDX-License-Identifier: GPL-2.0

//! Numbers in arguments, as `sscanf()` of the kernel reads them.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

/// `isspace()` of the kernel: ASCII white space, and the no-break space of Latin-1.
pub(crate) fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t'..=b'\r' | 0xa0)
}

/// A number at the start of a text, after white space, and what follows it: `%llu`. What is beyond
/// 64 bits becomes the largest number that fits.
pub(crate) fn leading_u64(text: &[u8]) -> Option<(u64, &[u8])> {
    let start = text.iter().position(|c| !is_space(*c))?;
    let text = text.get(start..)?;
    let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;

    if number.is_empty() {
        return None;
    }
    let value = number.iter().fold(0u64, |value, c| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(c.wrapping_sub(b'0')))
    });
    Some((value, rest))
}

/// `%u`, which drops what does not fit in 32 bits.
pub(crate) fn leading_u32(text: &[u8]) -> Option<(u32, &[u8])> {
    leading_u64(text).map(|(value, rest)| (value as u32, rest))
}

/// `%u` up to the end of the text.
pub(crate) fn scan_u32(text: &[u8]) -> Option<u32> {
    leading_u32(text).and_then(|(value, rest)| rest.is_empty().then_some(value))
}

/// `%hu` up to the end of the text, which drops what does not fit in 16 bits.
pub(crate) fn scan_u16(text: &[u8]) -> Option<u16> {
    scan_u32(text).map(|value| value as u16)
}

/// How a table names its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyArgument<'a> {
    /// Bytes of the key.
    pub(crate) size: usize,
    pub(crate) source: KeySource<'a>,
}

/// Where the key is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeySource<'a> {
    /// In the argument itself, in hexadecimal.
    Hex(&'a [u8]),
    /// In a keyring: `TYPE:DESCRIPTION`.
    Keyring(&'a [u8]),
}

/// Reads a key argument: hexadecimal digits, `-`, or `:SIZE:TYPE:DESCRIPTION`.
pub(crate) fn key_argument(text: &[u8]) -> Option<KeyArgument<'_>> {
    let Some(rest) = text.strip_prefix(b":") else {
        return Some(KeyArgument {
            size: text.len() / 2,
            source: KeySource::Hex(text),
        });
    };
    let (size, after) = leading_u32(rest)?;
    let name = after.strip_prefix(b":")?;
    // C has the size in an `int`.
    let size = usize::try_from(i32::try_from(size).ok()?).ok()?;

    Some(KeyArgument {
        size,
        source: KeySource::Keyring(name),
    })
}

/// Splits `TYPE:DESCRIPTION`; neither is empty.
pub(crate) fn keyring_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = name.iter().position(|c| *c == b':')?;
    let (kind, rest) = name.split_at_checked(colon)?;
    let description = rest.get(1..)?;

    (!kind.is_empty() && !description.is_empty()).then_some((kind, description))
}

/// Decodes `out.len()` bytes of hexadecimal digits; more digits may follow. On an error some bytes
/// may have been written.
pub(crate) fn hex_decode(digits: &[u8], out: &mut [u8]) -> Option<()> {
    let mut pairs = digits.chunks_exact(2);

    for byte in out {
        let [high, low] = pairs.next()?.try_into().ok()?;
        let [high, low] = [high, low].map(|c: u8| (c as char).to_digit(16));

        *byte = ((high? << 4) | low?) as u8;
    }
    Some(())
}
