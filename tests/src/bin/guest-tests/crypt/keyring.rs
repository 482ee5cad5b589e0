// SPDX-License-Identifier: GPL-2.0

//! Keys from the kernel's keyrings.

use super::{key, key_byte, Params, CRYPT};
use anyhow::{ensure, Context, Result};
use dm_rust_tests::case::{case, Case, Ctx};
use dm_rust_tests::disk::{pattern, Disk, Mode};
use dm_rust_tests::dm::{line, outcome, table_text, Line, MappedDevice, Suspend};
use dm_rust_tests::scenario::refusal::attempt;
use dm_rust_tests::twin::{Kind, Side};
use keyutils::{Key, KeyType, Keyring, SpecialKeyring};

macro_rules! key_types {
    ($($type:ident = $name:literal;)*) => { $(
        struct $type;

        impl KeyType for $type {
            type Description = str;
            type Payload = [u8];

            fn name() -> &'static str {
                $name
            }
        }
    )* };
}

key_types! {
    User = "user";
    Logon = "logon";
    Encrypted = "encrypted";
}

pub fn cases() -> Vec<Case> {
    vec![
        case("crypt::keyring::lines_and_data", lines_and_data),
        case("crypt::keyring::refused", refused),
        case("crypt::keyring::set_and_wiped", set_and_wiped),
        case("crypt::keyring::encrypted", encrypted),
    ]
}

/// The bytes of [`super::key`].
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(key_byte).collect()
}

/// The keyring of this process, which the kernel searches for it. Keys that are
/// put there have to be unlinked: a test may run where another one ran.
fn ring() -> Result<Keyring> {
    Keyring::attach_or_create(SpecialKeyring::Process).context("no keyring")
}

fn add<K>(name: &str, payload: &[u8]) -> Result<Linked>
where
    K: KeyType<Description = str, Payload = [u8]>,
{
    let key = ring()?
        .add_key::<K, _, _>(name, payload)
        .with_context(|| format!("adding the key {name}"))?;
    Ok(Linked(Some(key)))
}

/// A key in the keyring, taken out when it is dropped.
struct Linked(Option<Key>);

impl Drop for Linked {
    fn drop(&mut self) {
        let Some(key) = self.0.take() else { return };
        if let Err(e) = ring().and_then(|mut r| Ok(r.unlink_key(&key)?)) {
            dm_rust_tests::cleanup::left_behind("a key", format!("{e:#}"));
        }
    }
}

fn table(side: &Side, node: &str, key: &str) -> [Line; 1] {
    let params = format!("aes-xts-plain64 {key} 0 {node} 0");
    [line(0, 1024, &side.target, params)]
}

/// The status tells where the key is from, and the data are those of that key.
fn lines_and_data(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let data = pattern(1, 0, 64);
        let hex = Params::new("aes-xts-plain64", 64);
        let hex = MappedDevice::create(&[hex.over(CRYPT.name, &lower, 1024)])?;
        for name in [
            ":64:user:dmr:test key".replace(' ', "-"),
            ":64:logon:dmr:test".into(),
        ] {
            let key = match name.contains("user") {
                true => add::<User>("dmr:test-key", &bytes(64))?,
                false => add::<Logon>("dmr:test", &bytes(64))?,
            };
            let device = side.device(&table(side, &lower.node(), &name))?;
            // It is asked for once: the target has a copy.
            drop(key);
            side.note("table", table_text(&device.table()?));
            side.note("status", table_text(&device.status()?));
            Disk::open(&device.path(), Mode::Direct)?.write(8, &data)?;
            let read = Disk::open(&hex.path(), Mode::Direct)?.read(8, 64)?;
            ensure!(read == data, "{name}: another key was used");
            // Loading it again needs the key again.
            side.note("reload", outcome(device.load(&device.table()?)));
            side.note_log("log", "^device-mapper: ")?;
        }
        Ok(())
    })
}

/// Keys of other sizes, keys that are no more, names that are wrong.
fn refused(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let node = lower.node();
        let _short = add::<User>("dmr:short", &bytes(63))?;
        let _long = add::<User>("dmr:long", &bytes(65))?;
        let _right = add::<User>("dmr:right", &bytes(64))?;
        let _logon = add::<Logon>("dmr:logon", &bytes(64))?;
        for key in [
            ":64:user:dmr:short",
            ":64:user:dmr:long",
            ":63:user:dmr:short",
            ":65:user:dmr:long",
            ":63:user:dmr:right",
            ":064:user:dmr:right",
            ":64:logon:dmr:right",
            ":64:user:dmr:logon",
            ":64:user:dmr:righ",
            ":64:user:dmr:right:x",
            ":64:user::dmr:right",
            ":64:encrypted:dmr:right",
            ":64:trusted:dmr:right",
            ":64:keyring:dmr:right",
            ":64:user:dmr:right",
            ":64:logon:dmr:logon",
        ] {
            attempt(side, key, &table(side, &node, key), &[&lower])?;
        }
        let revoked = add::<User>("dmr:gone", &bytes(64))?;
        let again = revoked.0.as_ref().context("no key")?.clone();
        again.revoke()?;
        let key = ":64:user:dmr:gone";
        attempt(side, "revoked", &table(side, &node, key), &[&lower])?;
        drop(revoked);
        let expired = add::<Logon>("dmr:late", &bytes(64))?;
        let mut again = expired.0.as_ref().context("no key")?.clone();
        again.set_timeout(std::time::Duration::from_secs(1))?;
        std::thread::sleep(std::time::Duration::from_millis(2100));
        let key = ":64:logon:dmr:late";
        attempt(side, "expired", &table(side, &node, key), &[&lower])
    })
}

/// Keys of keyrings by message: they come and go, and the table says which.
fn set_and_wiped(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let _user = add::<User>("dmr:user", &bytes(64))?;
        let logon = add::<Logon>("dmr:logon", &[7; 64])?;
        let _short = add::<Logon>("dmr:short", &bytes(32))?;
        let device = side.device(&table(side, &lower.node(), ":64:user:dmr:user"))?;
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        let data = pattern(1, 0, 64);
        disk.write(0, &data)?;
        let messages = [
            "key wipe".to_owned(),
            "key set :64:logon:dmr:logon".into(),
            "key wipe".into(),
            "key set :64:user:dmr:user".into(),
            // Those that fail leave the key as it was, or do not.
            "key set :64:user:dmr:none".into(),
            "key set :64:logon:dmr:short".into(),
            "key set :32:logon:dmr:short".into(),
            "key set :64:nonsense:dmr:user".into(),
            format!("key set {}", key(64)),
            "key set :64:logon:dmr:logon".into(),
            format!("key set {}x", &key(64)[..127]),
            "key set :64:user:dmr:user".into(),
        ];
        for message in &messages {
            device.suspend(Suspend::Flush)?;
            side.note(message, outcome(device.message(0, message)));
            side.note("table", table_text(&device.table()?));
            side.note("resume", outcome(device.resume()));
            side.note_log("log", "^device-mapper: ")?;
            match device.is_suspended()? {
                true => side.note("intact", "suspended"),
                false => side.note("intact", disk.read(0, 64)? == data),
            }
        }
        drop(logon);
        Ok(())
    })
}

/// Keys that the kernel makes and decrypts itself.
fn encrypted(ctx: &Ctx) -> Result<()> {
    CRYPT.compare(ctx, |side| {
        let lower = side.lower(Kind::Ram, 0)?;
        let _master = add::<User>("dmr:master", &bytes(32))?;
        let _key = add::<Encrypted>("dmr:encrypted", b"new user:dmr:master 64")?;
        let device = side.device(&table(side, &lower.node(), ":64:encrypted:dmr:encrypted"))?;
        side.note("table", table_text(&device.table()?));
        let disk = Disk::open(&device.path(), Mode::Direct)?;
        let data = pattern(1, 0, 64);
        disk.write(0, &data)?;
        // The other target gets the same key from there.
        let other = table(side, &lower.node(), ":64:encrypted:dmr:encrypted");
        let other = MappedDevice::create(&[Line {
            target: CRYPT.name.into(),
            ..other[0].clone()
        }])?;
        let read = Disk::open(&other.path(), Mode::Direct)?.read(0, 64)?;
        ensure!(read == data, "another key was used");
        for key in [":32:encrypted:dmr:encrypted", ":64:encrypted:dmr:none"] {
            attempt(side, key, &table(side, &lower.node(), key), &[])?;
        }
        Ok(())
    })
}
