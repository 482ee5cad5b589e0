// SPDX-License-Identifier: GPL-2.0

//! Numbers as the kernel's C functions read them.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

/// What `sscanf(text, "%llu%c", …)` stores if it returns 1, otherwise nothing.
///
/// That is: white space, then decimal digits up to the end. A number beyond 64 bits is no error: it
/// becomes the largest that fits.
pub(crate) fn scan_u64(text: &[u8]) -> Option<u64> {
    let start = text.iter().position(|c| !is_space(*c))?;

    text.get(start..)?.iter().try_fold(0u64, |value, c| {
        let digit = c.checked_sub(b'0').filter(|digit| *digit <= 9)?;

        Some(value.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

/// `isspace()` of the kernel: ASCII white space, and the no-break space of Latin-1.
fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t'..=b'\r' | 0xa0)
}

/// Why [`kstrtouint`] fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KstrtoError {
    /// Not a number: `EINVAL`.
    Invalid,
    /// Does not fit: `ERANGE`.
    Range,
}

/// What `kstrtouint(text, 10, …)` stores: a plus sign or none, decimal digits, a newline or none.
pub(crate) fn kstrtouint(text: &[u8]) -> Result<u32, KstrtoError> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits).ok_or(KstrtoError::Invalid)?;

    // C notices an overflow of 64 bits before it looks at what follows the digits.
    let value = number.iter().try_fold(0u64, |value, c| {
        value
            .checked_mul(10)?
            .checked_add(u64::from(c.wrapping_sub(b'0')))
    });
    match (value, number, rest) {
        (None, ..) => Err(KstrtoError::Range),
        (_, [], _) => Err(KstrtoError::Invalid),
        (Some(value), _, b"" | b"\n") => u32::try_from(value).map_err(|_| KstrtoError::Range),
        _ => Err(KstrtoError::Invalid),
    }
}
