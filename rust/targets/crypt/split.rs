// SPDX-License-Identifier: GPL-2.0

//! How large a bio may be.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

/// The largest bio that is not split, in bytes, unless a parameter of the module says otherwise.
const DEFAULT_MAX_SIZE: u32 = 131_072;

/// How many sectors of 512 bytes of a bio are handled as one.
///
/// `parameter` is what the administrator wants, in bytes, 0 for the default; `pages_limit` is the
/// most that a bio with pages of its own holds, if there will be such a bio; the result is a
/// multiple of `align` bytes, a power of two.
pub(crate) fn max_sectors(
    whole: bool,
    parameter: u32,
    pages_limit: Option<u32>,
    align: u32,
) -> u32 {
    let wanted = match (whole, parameter) {
        (true, _) => u32::MAX,
        (false, 0) => DEFAULT_MAX_SIZE,
        (false, size) => size.min(DEFAULT_MAX_SIZE),
    };
    let limited = wanted.min(pages_limit.unwrap_or(u32::MAX));
    let aligned = limited & !align.wrapping_sub(1);

    (if aligned == 0 { align } else { aligned }) >> 9
}
