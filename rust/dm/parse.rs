// SPDX-License-Identifier: GPL-2.0

//! Numbers as the kernel's C functions read them.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

/// What `sscanf(text, "%llu%c", …)` stores if it returns 1, otherwise nothing.
///
/// That is: white space, then decimal digits up to the end. The kernel does not notice an overflow;
/// a larger number is cut to its lower 64 bits.
pub(crate) fn scan_u64(text: &[u8]) -> Option<u64> {
    let start = text.iter().position(|c| !is_space(*c))?;

    text.get(start..)?.iter().try_fold(0u64, |value, c| {
        let digit = c.checked_sub(b'0').filter(|digit| *digit <= 9)?;

        Some(value.wrapping_mul(10).wrapping_add(u64::from(digit)))
    })
}

/// `isspace()` of the kernel: ASCII white space, and the no-break space of Latin-1.
fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t'..=b'\r' | 0xa0)
}
