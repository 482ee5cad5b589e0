// SPDX-License-Identifier: GPL-2.0

//! Ioctls on the mapped device.

use super::Device;
use kernel::prelude::*;

/// Where an ioctl goes, what `prepare_ioctl` of `struct target_type` returns.
pub enum Ioctl<'a> {
    /// To this device.
    Forward(&'a Device),
    /// To this device, if the caller may do anything to it (`CAP_SYS_RAWIO`): the target is only a
    /// part of it.
    ForwardRestricted(&'a Device),
    /// Nowhere: the target has handled it, with this result.
    Handled(Result<u32>),
    /// Nowhere. With `ENOTCONN` device mapper asks again after a while.
    Refuse(Error),
}
