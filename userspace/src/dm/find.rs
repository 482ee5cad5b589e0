// SPDX-License-Identifier: GPL-2.0

//! Which device a text means.

use std::path::Path;

use devicemapper::Device;

use super::{DeviceId, Dm};
use crate::{
    error::{Error, Result},
    name, node,
};

impl Dm {
    /// The device that `text` means: a name, `MAJOR:MINOR`, or the path of a node such as
    /// `/dev/mapper/NAME`, `/dev/dm-0` or `mapper/NAME`. A name is not looked up here.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] if it can be no device's name, [`Error::NoSuchDevice`] if nothing is at
    /// the path.
    pub fn find(&self, text: &str) -> Result<DeviceId> {
        if text.contains('/') {
            return self.find_path(text);
        }
        let name = name::device_name(text)?;
        if let Ok(number) = text.parse::<Device>() {
            // A device may well be named like a number; then it is the one that is meant.
            let named = self.list()?.iter().any(|listed| listed.name == name);
            if !named {
                return Ok(DeviceId::Number(number));
            }
        }
        Ok(DeviceId::Name(name))
    }

    fn find_path(&self, text: &str) -> Result<DeviceId> {
        let path = Path::new(text);
        let candidates = [path.to_owned(), Path::new("/dev").join(path)];
        for candidate in &candidates {
            if let Ok(Some(device)) = node::block_device(candidate) {
                // A node may be another driver's, or left from a device that is gone.
                return match self.list()?.iter().any(|listed| listed.device == device) {
                    true => Ok(DeviceId::Number(device)),
                    false => Err(Error::NoSuchDevice(text.to_owned())),
                };
            }
        }
        // The node can be missing, as that of a device without a table is.
        let name = candidates
            .iter()
            .find_map(|candidate| candidate.strip_prefix(node::DIRECTORY).ok()?.to_str());
        match name {
            Some(name) if !name.is_empty() && !name.contains('/') => {
                Ok(DeviceId::Name(name::device_name(name)?))
            }
            _ => Err(Error::NoSuchDevice(text.to_owned())),
        }
    }
}
