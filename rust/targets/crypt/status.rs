// SPDX-License-Identifier: GPL-2.0

//! The status lines.

use super::{Crypt, CryptTarget};
use crate::dm::prelude::*;

impl CryptTarget<'_> {
    /// The options that are flags, in the order of the table line.
    fn flags(&self) -> [(&'static str, bool); 6] {
        let options = &self.options;

        [
            ("allow_discards", options.allow_discards),
            ("same_cpu_crypt", options.same_cpu_crypt),
            ("high_priority", options.high_priority),
            ("submit_from_crypt_cpus", options.submit_from_crypt_cpus),
            ("no_read_workqueue", options.no_read_workqueue),
            ("no_write_workqueue", options.no_write_workqueue),
        ]
    }

    /// `dmsetup table`.
    pub(super) fn table_line(&self, out: &mut StatusLine<'_>) -> fmt::Result {
        out.write_bytes(&self.cipher_string);
        out.write_str(" ")?;
        self.write_key(out)?;
        write!(
            out,
            " {} {} {}",
            self.iv_offset,
            self.dev.name(),
            self.start
        )?;

        let flags = self.flags();
        let options = &self.options;
        let count = flags.iter().filter(|(_, set)| *set).count()
            + usize::from(options.integrity.is_some())
            + usize::from(self.sector_size != 512)
            + usize::from(options.iv_large_sectors)
            + usize::from(options.integrity_key_size.is_some());

        if count == 0 {
            return Ok(());
        }
        write!(out, " {count}")?;
        for (name, _) in flags.iter().filter(|(_, set)| *set) {
            write!(out, " {name}")?;
        }
        if let Some(size) = options.integrity {
            write!(out, " integrity:{size}:")?;
            out.write_bytes(&self.integrity_kind);
        }
        if self.sector_size != 512 {
            write!(out, " sector_size:{}", self.sector_size)?;
        }
        if options.iv_large_sectors {
            out.write_str(" iv_large_sectors")?;
        }
        if let Some(size) = options.integrity_key_size {
            write!(out, " integrity_key_size:{size}")?;
        }
        Ok(())
    }

    fn write_key(&self, out: &mut StatusLine<'_>) -> fmt::Result {
        let key = self.key.lock();

        if key.bytes.is_empty() {
            return out.write_str("-");
        }
        if let Some(name) = &key.name {
            write!(out, ":{}:", key.bytes.len())?;
            out.write_bytes(name);
            return Ok(());
        }
        for byte in key.bytes.iter() {
            write!(out, "{byte:02x}")?;
        }
        Ok(())
    }

    /// What the integrity measurement architecture records.
    pub(super) fn ima_line(&self, ti: &DmTarget, out: &mut StatusLine<'_>) -> fmt::Result {
        let options = &self.options;
        let yes = |set: bool| if set { 'y' } else { 'n' };

        let [major, minor, patch] = Crypt::VERSION;

        out.write_str("target_name=")?;
        out.write_bytes(ti.type_name().to_bytes());
        write!(out, ",target_version={major}.{minor}.{patch}")?;
        for (name, set) in self.flags() {
            write!(out, ",{name}={}", yes(set))?;
        }
        write!(out, ",iv_large_sectors={}", yes(options.iv_large_sectors))?;
        if let Some(size) = options.integrity {
            write!(out, ",integrity_tag_size={size},cipher_auth=")?;
            out.write_bytes(&self.integrity_kind);
        }
        if self.sector_size != 512 {
            write!(out, ",sector_size={}", self.sector_size)?;
        }
        out.write_str(",cipher_string=")?;
        out.write_bytes(&self.cipher_string);
        write!(
            out,
            ",key_size={},key_parts={},key_extra_size={},key_mac_size={};",
            self.shape.size, self.shape.parts, self.shape.extra, self.shape.mac
        )
    }
}
