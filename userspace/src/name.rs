// SPDX-License-Identifier: GPL-2.0

//! Names and UUIDs of devices, escaped as libdevmapper escapes them.
//!
//! udev makes file names out of device names, so every byte outside of
//! `0-9 A-Z a-z # + - . : = @ _` is kept in the kernel as `\xNN`. People see and
//! type the plain form; the kernel only ever sees the escaped one.

use std::fmt;

use devicemapper::{DmName, DmNameBuf, DmUuid, DmUuidBuf};
use thiserror::Error;

/// Why a string cannot name a device.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// The string is empty.
    #[error("the {0} is empty: give it at least one character")]
    Empty(Kind),
    /// The string would not fit into the kernel's field.
    #[error(
        "the {kind} '{text}' takes {length} bytes once escaped, and the kernel holds {max}: \
         shorten it"
    )]
    TooLong {
        /// What the string was to be.
        kind: Kind,
        /// The string itself.
        text: String,
        /// Its length in bytes, escaped.
        length: usize,
        /// The most bytes that the kernel holds.
        max: usize,
    },
    /// The string has both `\xNN` and characters that would have to become such.
    #[error(
        "the {0} '{1}' is escaped in one place and not in another: \
         write it either all plain or all with \\xNN"
    )]
    Mixed(Kind, String),
    /// The kernel refuses a slash in the name of a new device.
    #[error("the name '{0}' has a slash, and it becomes a file name: leave the slash out")]
    Slash(String),
}

/// The two strings by which a device is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its name, which is also its file name in `/dev/mapper`.
    Name,
    /// Its UUID, a string in any form.
    Uuid,
}

impl Kind {
    /// The most bytes that the kernel holds, without the final NUL.
    fn max(self) -> usize {
        match self {
            Kind::Name => devicemapper_sys::DM_NAME_LEN as usize - 1,
            Kind::Uuid => devicemapper_sys::DM_UUID_LEN as usize - 1,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Name => "name",
            Kind::Uuid => "UUID",
        })
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"#+-.:=@_".contains(&byte)
}

/// The byte that a leading `\xNN` of `text` stands for.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let &[b'\\', b'x', high, low, ..] = text else {
        return None;
    };
    let digit = |c: u8| char::from(c).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Escapes a name or a UUID for the kernel. A string that is escaped already stays as it is.
///
/// # Errors
///
/// [`NameError`] if the string is empty, too long, or half escaped.
pub fn escape(kind: Kind, text: &str) -> Result<String, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty(kind));
    }
    let mixed = || NameError::Mixed(kind, text.to_owned());
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    let (mut kept, mut made) = (false, false);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        if rest.starts_with(b"\\x") {
            escaped_byte(rest).ok_or_else(mixed)?;
            out.push_str(&text[at..at + 4]);
            kept = true;
            at += 4;
            continue;
        }
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("\\x{byte:02x}"));
            made = true;
        }
        at += 1;
    }
    if kept && made {
        return Err(mixed());
    }
    if out.len() > kind.max() {
        return Err(NameError::TooLong {
            kind,
            text: text.to_owned(),
            length: out.len(),
            max: kind.max(),
        });
    }
    Ok(out)
}

/// The plain form of a name or a UUID that the kernel holds.
///
/// A string whose plain form would not be UTF-8, or would hold a control character that
/// could disturb a terminal or a script that reads lines, stays escaped.
pub fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match escaped_byte(&bytes[at..]) {
            Some(plain) => {
                out.push(plain);
                at += 4;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    match String::from_utf8(out) {
        Ok(plain) if !plain.contains(char::is_control) => plain,
        _ => text.to_owned(),
    }
}

/// A name for the kernel, from its plain or its escaped form.
///
/// # Errors
///
/// See [`escape`].
pub fn device_name(text: &str) -> Result<DmNameBuf, NameError> {
    let escaped = escape(Kind::Name, text)?;
    Ok(DmNameBuf::new(escaped).expect("escape() gives ASCII of an allowed length"))
}

/// A name for a device that is yet to be made.
///
/// # Errors
///
/// See [`escape`]; also [`NameError::Slash`].
pub fn new_device_name(text: &str) -> Result<DmNameBuf, NameError> {
    if text.contains('/') {
        return Err(NameError::Slash(text.to_owned()));
    }
    device_name(text)
}

/// A UUID for the kernel, from its plain or its escaped form.
///
/// # Errors
///
/// See [`escape`].
pub fn device_uuid(text: &str) -> Result<DmUuidBuf, NameError> {
    let escaped = escape(Kind::Uuid, text)?;
    Ok(DmUuidBuf::new(escaped).expect("escape() gives ASCII of an allowed length"))
}

/// The plain form of a name that the kernel holds, for people.
pub fn show_name(name: &DmName) -> String {
    unescape(&name.to_string())
}

/// The plain form of a UUID that the kernel holds, for people.
pub fn show_uuid(uuid: &DmUuid) -> String {
    unescape(&uuid.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_what_udev_cannot_have() {
        let name = |s| escape(Kind::Name, s).unwrap();
        assert_eq!(name("a b"), "a\\x20b");
        assert_eq!(name("vg-lv_1.2:3=@+#"), "vg-lv_1.2:3=@+#");
        assert_eq!(name("ä"), "\\xc3\\xa4");
        assert_eq!(name("a\\b"), "a\\x5cb");
        assert_eq!(name("a\\x20b"), "a\\x20b");
    }

    #[test]
    fn refuses_half_escaped_strings() {
        for text in ["a\\x20b c", "a b\\x20c", "a\\x2", "\\xzz"] {
            assert_eq!(
                escape(Kind::Name, text),
                Err(NameError::Mixed(Kind::Name, text.to_owned()))
            );
        }
    }

    #[test]
    fn keeps_to_the_kernels_lengths() {
        assert!(escape(Kind::Name, &"n".repeat(127)).is_ok());
        assert!(matches!(
            escape(Kind::Name, &"n".repeat(128)),
            Err(NameError::TooLong {
                length: 128,
                max: 127,
                ..
            })
        ));
        assert!(matches!(
            escape(Kind::Name, &" ".repeat(32)),
            Err(NameError::TooLong { length: 128, .. })
        ));
        assert!(escape(Kind::Uuid, &"u".repeat(128)).is_ok());
        assert!(escape(Kind::Uuid, &"u".repeat(129)).is_err());
        assert_eq!(escape(Kind::Uuid, ""), Err(NameError::Empty(Kind::Uuid)));
    }

    #[test]
    fn a_new_name_has_no_slash() {
        assert_eq!(
            new_device_name("a/b"),
            Err(NameError::Slash("a/b".to_owned()))
        );
    }

    #[test]
    fn leaves_terminal_controls_escaped() {
        assert_eq!(unescape("a\\x1b[31m"), "a\\x1b[31m");
        assert_eq!(unescape("a\\x0ab"), "a\\x0ab");
        assert_eq!(unescape("a\\xffb"), "a\\xffb");
    }

    proptest! {
        #[test]
        fn plain_text_comes_back(text in "[^\\\\\\p{Cc}]{1,20}") {
            if let Ok(escaped) = escape(Kind::Name, &text) {
                prop_assert!(escaped.bytes().all(|b| is_plain(b) || b == b'\\'));
                prop_assert_eq!(&unescape(&escaped), &text);
                prop_assert_eq!(escape(Kind::Name, &escaped).unwrap(), escaped);
            }
        }

        #[test]
        fn any_text_is_safe(text in ".{0,60}") {
            let _ = unescape(&text);
            if let Ok(escaped) = escape(Kind::Uuid, &text) {
                prop_assert!(DmUuidBuf::new(escaped).is_ok());
            }
        }
    }
}
