// SPDX-License-Identifier: GPL-2.0

//! Cipher specifications: `cipher[:keycount]-chainmode-ivmode[:ivopts]`, or `capi:` and a name of
//! the crypto API.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

use super::scan::scan_u32;

/// The longest name of an algorithm, with its NUL: `CRYPTO_MAX_ALG_NAME`.
pub(crate) const MAX_NAME: usize = 128;

/// A name of an algorithm of the crypto API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    bytes: [u8; MAX_NAME],
    len: usize,
}

impl Name {
    /// What the parts are together, if that fits.
    fn of(parts: &[&[u8]]) -> Option<Self> {
        let mut name = Self {
            bytes: [0; MAX_NAME],
            len: 0,
        };

        for part in parts {
            let end = name.len.checked_add(part.len())?;

            // One byte is left for the NUL.
            if end >= MAX_NAME {
                return None;
            }
            name.bytes.get_mut(name.len..end)?.copy_from_slice(part);
            name.len = end;
        }
        Some(name)
    }

    /// The name, with the NUL at its end.
    pub(crate) fn with_nul(&self) -> &[u8] {
        self.bytes.get(..=self.len).unwrap_or(b"\0")
    }
}

/// What a specification says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Spec<'a> {
    /// What the crypto API is asked for. Nothing if the kernel would cut off the name, which it
    /// cannot find then.
    pub(crate) name: Name,
    /// How many keys are used in turn.
    pub(crate) key_count: u32,
    pub(crate) iv_mode: Option<&'a [u8]>,
    pub(crate) iv_options: Option<&'a [u8]>,
    /// For `capi:authenc(HASH,…)`: the hash. It is looked up before the rest is checked.
    pub(crate) auth_hash: Option<Name>,
}

/// Why a specification is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SpecError {
    BadSpecification,
    BadKeyCount,
    IvRequired,
    DigestMissing,
    /// `ENOMEM`, though it is only too long.
    TooLong,
    /// The same, in the new format.
    TooLongNew,
    BadAead,
    LmkWithAead,
}

/// Splits `text` at the first `separator`, as `strsep()`: what is left is nothing if there is none.
fn split_off<'a>(text: &mut Option<&'a [u8]>, separator: u8) -> Option<&'a [u8]> {
    let all = (*text)?;
    let mut parts = all.splitn(2, |c| *c == separator);
    let first = parts.next();

    *text = parts.next();
    first
}

/// Splits `text` at the last `separator`.
fn split_last(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.rsplitn(2, |c| *c == separator);

    match (parts.next(), parts.next()) {
        (Some(last), Some(first)) => (first, Some(last)),
        _ => (text, None),
    }
}

/// Reads a specification. `aead`: whether the table asks for authentication.
pub(crate) fn parse(text: &[u8], aead: bool) -> Result<Spec<'_>, SpecError> {
    match text.strip_prefix(b"capi:") {
        Some(text) => parse_new(text, aead),
        None => parse_old(text, aead),
    }
}

fn parse_new(text: &[u8], aead: bool) -> Result<Spec<'_>, SpecError> {
    let (rest, iv_options) = split_last(text, b':');
    let (api, iv_mode) = split_last(rest, b'-');
    let auth_hash = if aead { auth_hash(api)? } else { None };
    let lmk = iv_mode == Some(b"lmk");

    if lmk && aead {
        return Err(SpecError::LmkWithAead);
    }
    let name = match (iv_mode, iv_options) {
        (Some(b"essiv"), None) => return Err(SpecError::DigestMissing),
        (Some(b"essiv"), Some(digest)) => {
            Name::of(&[b"essiv(", api, b",", digest, b")"]).ok_or(SpecError::TooLongNew)?
        }
        // The kernel cuts off a name that is too long, and finds nothing by it.
        _ => Name::of(&[api])
            .or_else(|| Name::of(&[api.get(..MAX_NAME - 1)?]))
            .ok_or(SpecError::TooLongNew)?,
    };

    Ok(Spec {
        name,
        key_count: if lmk { 64 } else { 1 },
        iv_mode,
        iv_options,
        auth_hash,
    })
}

/// The hash of `authenc(HASH,CIPHER)`.
fn auth_hash(api: &[u8]) -> Result<Option<Name>, SpecError> {
    let Some(rest) = api.strip_prefix(b"authenc(") else {
        return Ok(None);
    };
    let end = rest
        .iter()
        .position(|c| *c == b',')
        .ok_or(SpecError::BadAead)?;
    let hash = rest.get(..end).unwrap_or_default();

    Name::of(&[hash]).map(Some).ok_or(SpecError::BadAead)
}

fn parse_old(text: &[u8], aead: bool) -> Result<Spec<'_>, SpecError> {
    if text.contains(&b'(') || aead {
        return Err(SpecError::BadSpecification);
    }
    let mut rest = Some(text);
    let mut key_count = split_off(&mut rest, b'-');
    let cipher = split_off(&mut key_count, b':').unwrap_or_default();
    let key_count = match key_count {
        None => 1,
        Some(count) => scan_u32(count)
            .filter(|count| count.is_power_of_two())
            .ok_or(SpecError::BadKeyCount)?,
    };
    let mut chain_mode = split_off(&mut rest, b'-');
    let mut iv_mode = split_off(&mut rest, b':');
    let iv_options = rest;

    // A cipher alone, or with `plain`, is what the first dm-crypt had.
    if chain_mode.is_none() || (chain_mode == Some(b"plain") && iv_mode.is_none()) {
        chain_mode = Some(b"cbc");
        iv_mode = Some(b"plain");
    }
    let chain_mode = chain_mode.unwrap_or_default();

    if chain_mode != b"ecb" && iv_mode.is_none() {
        return Err(SpecError::IvRequired);
    }
    let name = match (iv_mode, iv_options) {
        (Some(b"essiv"), None) => return Err(SpecError::DigestMissing),
        (Some(b"essiv"), Some(digest)) => {
            Name::of(&[b"essiv(", chain_mode, b"(", cipher, b"),", digest, b")"])
        }
        _ => Name::of(&[chain_mode, b"(", cipher, b")"]),
    };

    Ok(Spec {
        name: name.ok_or(SpecError::TooLong)?,
        key_count,
        iv_mode,
        iv_options,
        auth_hash: None,
    })
}
