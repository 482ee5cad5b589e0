// SPDX-License-Identifier: GPL-2.0

//! The messages that set and wipe the key, and what may be done without one.

use super::{fill, key, Params, CRYPT};
use anyhow::Result;
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{digest, pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text, MappedDevice, Suspend};
use dm_rust_tests::twin::{Kind, Side};

/// Ciphers, the lengths of their keys, and options.
const CIPHERS: &[(&str, usize, &str)] = &[
    ("aes-xts-plain64", 64, ""),
    ("aes-cbc-essiv:sha256", 32, "1 sector_size:4096"),
    ("aes:2-cbc-plain64", 64, ""),
    ("aes-cbc-eboiv", 32, ""),
    ("aes-cbc-elephant", 64, ""),
    ("aes:64-cbc-lmk", 1040, ""),
    ("aes-cbc-tcw", 64, ""),
    ("cipher_null-ecb", 0, ""),
];

pub fn cases() -> Vec<Case> {
    vec![
        case("crypt::keys::messages", messages),
        case("crypt::keys::set_and_wiped", set_and_wiped).limit(120),
        case("crypt::keys::bad_keys", bad_keys),
        case("crypt::keys::inactive_table", inactive),
        case("crypt::keys::two_lines", two_lines),
    ]
}

/// Sends a message, and notes what came of it.
fn send(side: &Side, device: &MappedDevice, message: &str) -> Result<()> {
    let short: String = message.chars().take(60).collect();
    side.note(&short, outcome(device.message(0, message)));
    side.note_log(&format!("{short} log"), "^device-mapper: ")?;
    side.note(format!("{short} table"), table_text(&device.table()?));
    Ok(())
}

fn resume(side: &Side, device: &MappedDevice) -> Result<()> {
    side.note("resume", outcome(device.resume()));
    side.note_log("resume log", "^device-mapper: ")?;
    let info = device.info()?;
    side.note("flags", format!("{:#x}", info.flags));
    Ok(())
}

/// Everything that is no message, and all that are, to a device that is live and
/// to one that is suspended.
fn messages(ctx: &Ctx) -> Result<()> {
    let right = format!("key set {}", key(32));
    let tried = [
        "",
        " ",
        "key",
        "x",
        "x y",
        "x y z",
        "keys wipe",
        "key x",
        "key set",
        "key set x y",
        "key set - x",
        "key wipe x",
        "key wipes",
        "key \\  x",
        "wipe key",
        "set key x",
        "\\ key wipe",
        "KEY WIPE",
        "Key Wipe",
        "key wipe",
        "key wipe",
        &right,
        "KEY SET -",
        "key set",
        &right,
    ];
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let params = Params::new("aes-cbc-plain64", 32);
        for suspended in [None, Some(Suspend::Flush), Some(Suspend::NoFlush)] {
            let device = side.device(&[params.over(&side.target, &lower, 1024)])?;
            if let Some(how) = suspended {
                device.suspend(how)?;
            }
            side.note("suspended", format!("{suspended:?}"));
            for message in tried {
                send(side, &device, message)?;
            }
            side.note("elsewhere", outcome(device.message(1023, "key wipe")));
            side.note("beyond", outcome(device.message(1024, "key wipe")));
            side.note_log("log", "^device-mapper: ")?;
            resume(side, &device)?;
        }
        Ok(())
    })
}

/// From key to no key, to another one, and back: the data tell which it is.
fn set_and_wiped(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        for &(cipher, size, options) in CIPHERS {
            side.note("cipher", cipher);
            let params = Params {
                options,
                ..Params::new(cipher, size)
            };
            let device = side.device(&[params.over(&side.target, &lower, 1024)])?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let data = pattern(1, 0, 1024);
            disk.write(0, &data)?;
            let contents = |key: &str| -> Result<()> {
                if device.is_suspended()? {
                    side.note(key, "suspended");
                    return Ok(());
                }
                side.note(key, format!("{:x?}", digest(&disk, 0, 1024)));
                side.note("intact", disk.read(0, 1024)? == data);
                Ok(())
            };
            contents("at first")?;
            device.suspend(Suspend::Flush)?;
            send(side, &device, "key wipe")?;
            resume(side, &device)?;
            send(side, &device, "key wipe")?;
            // Not with the key that it had, but with all zeroes.
            let zeroes = match size {
                0 => "-".to_owned(),
                _ => "00".repeat(size),
            };
            send(side, &device, &format!("key set {zeroes}"))?;
            resume(side, &device)?;
            contents("with another key")?;
            device.suspend(Suspend::NoFlush)?;
            send(side, &device, "key wipe")?;
            send(side, &device, &format!("key set {}", key(size)))?;
            resume(side, &device)?;
            contents("with the first key")?;
            // Without being wiped in between.
            device.suspend(Suspend::Flush)?;
            send(side, &device, &format!("key set {zeroes}"))?;
            send(side, &device, &format!("key set {}", key(size)))?;
            resume(side, &device)?;
            contents("again")?;
            // Not while it is live, though it was suspended before.
            send(side, &device, "key wipe")?;
            send(side, &device, &format!("key set {zeroes}"))?;
            contents("as before")?;
        }
        Ok(())
    })
}

/// A key that cannot be set may undo the one that there was, or not.
fn bad_keys(ctx: &Ctx) -> Result<()> {
    let good = key(32);
    let tried = [
        "key set -".to_owned(),
        "key set 00".into(),
        format!("key set {good}00"),
        format!("key set {good}0"),
        format!("key set {}", &good[..62]),
        format!("key set {}", &good[..63]),
        format!("key set {}x", &good[..63]),
        format!("key set x{}", &good[..63]),
        format!("key set {}", good.to_uppercase()),
        "key set :".into(),
        "key set :32:user:no-such-key".into(),
        "key set :16:user:no-such-key".into(),
        "key set :32:nonsense:x".into(),
        "key set :32:user:a\\ b".into(),
        "key set :x:user:a".into(),
    ];
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let params = Params::new("aes-cbc-plain64", 32);
        for message in &tried {
            for wiped in [false, true] {
                let device = side.device(&[params.over(&side.target, &lower, 1024)])?;
                device.suspend(Suspend::Flush)?;
                if wiped {
                    send(side, &device, "key wipe")?;
                }
                send(side, &device, message)?;
                resume(side, &device)?;
            }
        }
        // A key of the right size that a cipher may not take.
        let device = side.device(&[line(
            0,
            1024,
            &side.target,
            fill("des3_ede-cbc-plain64 <24> 0 {} 0", &lower.node()),
        )])?;
        device.suspend(Suspend::Flush)?;
        send(side, &device, &format!("key set {}", "00".repeat(24)))?;
        resume(side, &device)
    })
}

/// A table that is loaded is not the one that messages go to.
fn inactive(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let params = Params::new("aes-cbc-plain64", 32);
        let table = [params.over(&side.target, &lower, 1024)];
        let device = side.empty_device()?;
        device.load(&table)?;
        side.note("no table", outcome(device.message(0, "key wipe")));
        device.resume()?;
        device.load(&table)?;
        device.suspend(Suspend::Flush)?;
        send(side, &device, "key wipe")?;
        side.note("inactive", table_text(&device.inactive_table()?));
        // The new table has its key.
        resume(side, &device)?;
        side.note("table", table_text(&device.table()?));
        device.load(&table)?;
        device.clear()?;
        device.suspend(Suspend::Flush)?;
        send(side, &device, "key wipe")?;
        resume(side, &device)?;
        // Nor may it be made live again by removing what there is.
        side.note("swap", outcome(device.load(&table)));
        resume(side, &device)?;
        side.note_log("log", "^device-mapper: ")
    })
}

/// Each line has a key of its own.
fn two_lines(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        let shape = &CRYPT.shapes[3];
        let lowers = side.lowers(Kind::Ram, shape)?;
        let table = (shape.table)(&side.target, &lowers);
        let device = side.device(&table)?;
        device.suspend(Suspend::Flush)?;
        let second = table[1].start;
        side.note("wipe", outcome(device.message(second, "key wipe")));
        side.note("table", table_text(&device.table()?));
        resume(side, &device)?;
        side.note("first", outcome(device.message(second - 1, "key wipe")));
        let set = format!("key set {}", key(24));
        side.note("set", outcome(device.message(second, &set)));
        side.note("to the wrong one", outcome(device.message(0, &set)));
        resume(side, &device)?;
        let set = format!("key set {}", key(32));
        side.note("set first", outcome(device.message(0, &set)));
        resume(side, &device)?;
        side.note("table", table_text(&device.table()?));
        side.note_log("log", "^device-mapper: ")
    })
}
