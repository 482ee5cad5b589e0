// SPDX-License-Identifier: GPL-2.0

//! The ioctls that the tests issue, as data, and the one place that issues them.
#![allow(unsafe_code)]

use devicemapper_sys::{dm_ioctl, DM_IOCTL};
use nix::{request_code_none, request_code_read, request_code_readwrite, request_code_write};
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::mem::offset_of;
use std::os::fd::AsRawFd;

/// An ioctl whose argument is a plain block of memory of known size, without
/// pointers in it.
#[derive(Clone, Copy, Debug)]
pub struct Ioctl {
    /// Its name in the kernel's headers.
    pub name: &'static str,
    code: u64,
    size: usize,
}

impl Ioctl {
    /// Issues it with `arg` as argument.
    ///
    /// # Panics
    /// If `arg` is smaller than what the kernel reads or writes.
    pub fn call(&self, file: &File, arg: &mut [u8]) -> io::Result<i32> {
        assert!(
            arg.len() >= self.size,
            "argument too small for {}",
            self.name
        );
        // SAFETY: the kernel touches at most `self.size` bytes of the argument
        // (the constructors below are private and take that from its headers),
        // and `arg` is at least that long and borrowed mutably.
        let ret = unsafe { nix::libc::ioctl(file.as_raw_fd(), self.code, arg.as_mut_ptr()) };
        if ret < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(ret)
        }
    }

    /// Issues it with a zeroed argument and returns what was written there.
    pub fn read(&self, file: &File) -> io::Result<Vec<u8>> {
        let mut arg = vec![0; self.size];
        self.call(file, &mut arg)?;
        Ok(arg)
    }

    /// Issues one that takes a range: `start` and `len`, in bytes, or in sectors
    /// where it is one of zones.
    pub fn range(&self, file: &File, start: u64, len: u64) -> io::Result<()> {
        let mut arg = [0; 16];
        arg[..8].copy_from_slice(&start.to_ne_bytes());
        arg[8..].copy_from_slice(&len.to_ne_bytes());
        self.call(file, &mut arg).map(drop)
    }

    /// Reads an integer of the size that the ioctl has.
    pub fn number(&self, file: &File) -> io::Result<u64> {
        let mut wide = [0; 8];
        let arg = self.read(file)?;
        wide[..arg.len().min(8)].copy_from_slice(&arg[..arg.len().min(8)]);
        Ok(u64::from_ne_bytes(wide))
    }
}

macro_rules! ioctls {
    ($($name:ident = $code:expr, $size:expr;)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "` of the kernel's headers.")]
            pub const $name: Ioctl = Ioctl {
                name: stringify!($name),
                code: $code as u64,
                size: $size,
            };
        )*
    };
}

ioctls! {
    BLKROSET = request_code_none!(0x12, 93), 4;
    BLKROGET = request_code_none!(0x12, 94), 4;
    BLKGETSIZE = request_code_none!(0x12, 96), 8;
    BLKFLSBUF = request_code_none!(0x12, 97), 0;
    BLKRAGET = request_code_none!(0x12, 99), 8;
    BLKSECTGET = request_code_none!(0x12, 103), 2;
    BLKSSZGET = request_code_none!(0x12, 104), 4;
    BLKBSZGET = request_code_read!(0x12, 112, 8), 4;
    BLKGETSIZE64 = request_code_read!(0x12, 114, 8), 8;
    BLKDISCARD = request_code_none!(0x12, 119), 16;
    BLKIOMIN = request_code_none!(0x12, 120), 4;
    BLKIOOPT = request_code_none!(0x12, 121), 4;
    BLKALIGNOFF = request_code_none!(0x12, 122), 4;
    BLKPBSZGET = request_code_none!(0x12, 123), 4;
    BLKDISCARDZEROES = request_code_none!(0x12, 124), 4;
    BLKSECDISCARD = request_code_none!(0x12, 125), 16;
    BLKROTATIONAL = request_code_none!(0x12, 126), 2;
    BLKZEROOUT = request_code_none!(0x12, 127), 16;
    BLKRESETZONE = request_code_write!(0x12, 131, 16), 16;
    BLKGETZONESZ = request_code_read!(0x12, 132, 4), 4;
    BLKGETNRZONES = request_code_read!(0x12, 133, 4), 4;
    BLKOPENZONE = request_code_write!(0x12, 134, 16), 16;
    BLKCLOSEZONE = request_code_write!(0x12, 135, 16), 16;
    BLKFINISHZONE = request_code_write!(0x12, 136, 16), 16;
    HDIO_GETGEO = 0x0301, 16;
    HDIO_GET_32BIT = 0x0309, 8;
    LOOP_GET_STATUS64 = 0x4c05, 232;
    SG_GET_VERSION_NUM = 0x2282, 4;
    SCSI_IOCTL_GET_IDLUN = 0x5382, 8;
    SCSI_IOCTL_GET_BUS_NUMBER = 0x5386, 4;
    CDROM_GET_CAPABILITY = 0x5331, 0;
    IOC_PR_REGISTER = request_code_write!(b'p', 200, 24), 24;
    IOC_PR_RESERVE = request_code_write!(b'p', 201, 16), 16;
    IOC_PR_CLEAR = request_code_write!(b'p', 205, 16), 16;
}

/// `BLKREPORTZONE`: up to `count` zones from `sector` on, in the raw form of
/// `struct blk_zone` (64 bytes each).
///
/// # Errors
/// Those of the ioctl; and if there are more zones than there was room for, up to twice as many, for
/// which there is memory.
pub fn report_zones(file: &File, sector: u64, count: u32) -> io::Result<Vec<[u8; 64]>> {
    const HEADER: usize = 16;
    let call = Ioctl {
        name: "BLKREPORTZONE",
        code: request_code_readwrite!(0x12, 130, 16),
        size: HEADER + count as usize * 64,
    };
    let mut arg = vec![0; HEADER + 2 * count as usize * 64];
    arg[..8].copy_from_slice(&sector.to_ne_bytes());
    arg[8..12].copy_from_slice(&count.to_ne_bytes());
    call.call(file, &mut arg)?;
    let mut found = [0; 4];
    found.copy_from_slice(&arg[8..12]);
    let found = u32::from_ne_bytes(found);
    if found > count {
        return Err(io::Error::other(format!("{found} zones, not {count}")));
    }
    let zones = arg[HEADER..].chunks_exact(64).take(found as usize);
    Ok(zones.map(|z| z.try_into().expect("chunks of 64")).collect())
}

/// A request to device-mapper's control device.
#[derive(Clone, Copy, Debug, Default)]
pub struct DmRequest<'a> {
    /// Name of the device; at most 127 bytes.
    pub name: &'a str,
    /// Its UUID, where the request takes one; at most 128 bytes.
    pub uuid: &'a str,
    /// `DM_*_FLAG` bits.
    pub flags: u32,
    /// Number of targets in `data`.
    pub targets: u32,
    /// What follows the header.
    pub data: &'a [u8],
    /// Each byte of `data` has been XORed with this. If it is not 0 the true bytes are in memory during
    /// the call only.
    pub mask: u8,
    /// Bytes for the answer, after the header.
    pub room: usize,
}

/// What device-mapper answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmReply {
    /// `DM_*_FLAG` bits.
    pub flags: u32,
    /// Number of targets in the table.
    pub targets: u32,
    /// How often the device is open.
    pub open_count: u32,
    /// Number of the last event.
    pub event_nr: u32,
    /// Major and minor number.
    pub devno: (u32, u32),
    /// What follows the header.
    pub data: Vec<u8>,
}

impl DmReply {
    /// Whether all of the bits are set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }
}

/// Bytes in `struct dm_ioctl`.
pub const DM_HEADER: usize = size_of::<dm_ioctl>();

/// Issues one request, `DM_*_CMD`, to the control device, with just the room
/// that it says: what does not fit is the caller's matter.
///
/// The `devicemapper` crate does not serve here: it sends nothing where no udev
/// runs, and it hides a buffer that is too small.
pub fn device_mapper(control: &File, command: u32, request: &DmRequest) -> io::Result<DmReply> {
    assert!(
        request.name.len() < 128 && request.uuid.len() < 129,
        "name or UUID too long"
    );
    let room = request.room.max(request.data.len());
    let call = Ioctl {
        name: "DM ioctl",
        code: request_code_readwrite!(DM_IOCTL, command, DM_HEADER),
        size: DM_HEADER + room,
    };
    let mut arg = vec![0; call.size];
    let mut put = |at: usize, bytes: &[u8]| arg[at..][..bytes.len()].copy_from_slice(bytes);
    put(offset_of!(dm_ioctl, version), &4_u32.to_ne_bytes());
    put(
        offset_of!(dm_ioctl, data_size),
        &(call.size as u32).to_ne_bytes(),
    );
    put(
        offset_of!(dm_ioctl, data_start),
        &(DM_HEADER as u32).to_ne_bytes(),
    );
    put(
        offset_of!(dm_ioctl, target_count),
        &request.targets.to_ne_bytes(),
    );
    put(offset_of!(dm_ioctl, flags), &request.flags.to_ne_bytes());
    put(offset_of!(dm_ioctl, name), request.name.as_bytes());
    put(offset_of!(dm_ioctl, uuid), request.uuid.as_bytes());
    match request.mask {
        0 => put(DM_HEADER, request.data),
        // Byte by byte: what is in a vector register may get into the kernel's memory.
        mask => (DM_HEADER..)
            .zip(request.data)
            .for_each(|(at, byte)| arg[at] = black_box(byte ^ mask)),
    }
    let called = call.call(control, &mut arg);
    if request.mask != 0 {
        arg[DM_HEADER..].fill(0);
        black_box(&mut arg);
    }
    called?;
    let word = |at: usize| u32::from_ne_bytes(arg[at..][..4].try_into().expect("four bytes"));
    let dev = offset_of!(dm_ioctl, dev);
    let dev = u64::from(word(dev)) | (u64::from(word(dev + 4)) << 32);
    Ok(DmReply {
        flags: word(offset_of!(dm_ioctl, flags)),
        targets: word(offset_of!(dm_ioctl, target_count)),
        open_count: word(offset_of!(dm_ioctl, open_count)),
        event_nr: word(offset_of!(dm_ioctl, event_nr)),
        devno: (rustix::fs::major(dev), rustix::fs::minor(dev)),
        data: arg[DM_HEADER..].to_vec(),
    })
}

/// Memory for ioctls that do not say truly how long they are: what it is given lies at the end of it,
/// and behind that is no memory, as far as device-mapper would look.
pub struct Fenced(*mut nix::libc::c_void);

impl Fenced {
    /// How much can be given.
    pub const ROOM: usize = 1 << 20;
    /// Twice as much as `data_size` may be.
    const FENCE: usize = 2 << 30;

    /// Maps it.
    pub fn new() -> io::Result<Fenced> {
        use nix::libc;
        // SAFETY: the address is left to the kernel, so no other mapping is touched.
        let all = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::ROOM + Self::FENCE,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if all == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let fenced = Fenced(all);
        // SAFETY: this is the beginning of what was just mapped, and nobody else knows of it.
        let done = unsafe { libc::mprotect(all, Self::ROOM, libc::PROT_READ | libc::PROT_WRITE) };
        match done {
            0 => Ok(fenced),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Issues an ioctl of device-mapper, and puts into `bytes` what became of them.
    ///
    /// # Panics
    /// If the code is another driver's, or there are too many bytes.
    pub fn device_mapper(
        &mut self,
        control: &File,
        code: u32,
        bytes: &mut [u8],
    ) -> io::Result<i32> {
        assert!(
            (code >> 8) & 0xff == DM_IOCTL,
            "not an ioctl of device-mapper"
        );
        let start = Self::ROOM.checked_sub(bytes.len()).expect("too many bytes");
        // SAFETY: `start` is at most the length of the mapping.
        let at = unsafe { self.0.cast::<u8>().add(start) };
        // SAFETY: the mapping has `bytes.len()` bytes that can be written from `at` on, and is
        // nowhere borrowed.
        unsafe { at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        // SAFETY: device-mapper touches memory from `at` on, upwards, as far as `data_size` says, and
        // refuses more than 1 GiB. All of that is in this mapping: where it may not be written, the
        // call fails.
        let ret = unsafe { nix::libc::ioctl(control.as_raw_fd(), code.into(), at) };
        let result = match ret {
            0.. => Ok(ret),
            _ => Err(io::Error::last_os_error()),
        };
        // SAFETY: as above, the other way.
        unsafe { at.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        result
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: this is what `new` mapped, and nothing borrows from it.
        unsafe { nix::libc::munmap(self.0, Self::ROOM + Self::FENCE) };
    }
}

/// `SG_IO` with a command that reads: at most `len` bytes of data.
pub fn scsi_read_command(file: &File, command: &[u8], len: usize) -> io::Result<Vec<u8>> {
    const SG_IO: u64 = 0x2285;
    const FROM_DEVICE: i32 = -3;
    let mut data = vec![0_u8; len];
    let mut sense = [0_u8; 64];
    let mut arg = [0_u8; 88];
    let mut put = |at: usize, bytes: &[u8]| arg[at..][..bytes.len()].copy_from_slice(bytes);
    put(0, &i32::from(b'S').to_ne_bytes());
    put(4, &FROM_DEVICE.to_ne_bytes());
    put(8, &[command.len() as u8, sense.len() as u8]);
    put(12, &(len as u32).to_ne_bytes());
    put(16, &(data.as_mut_ptr() as u64).to_ne_bytes());
    put(24, &(command.as_ptr() as u64).to_ne_bytes());
    put(32, &(sense.as_mut_ptr() as u64).to_ne_bytes());
    put(40, &10_000_u32.to_ne_bytes());
    // SAFETY: `arg` is a `struct sg_io_hdr` (88 bytes on 64-bit machines) whose
    // pointers are to buffers of the lengths given beside them, which live to
    // the end of this function; the kernel writes to no other memory.
    let ret = unsafe { nix::libc::ioctl(file.as_raw_fd(), SG_IO, arg.as_mut_ptr()) };
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    let status = arg[64];
    if status != 0 {
        return Err(io::Error::other(format!(
            "SCSI status {status:#x}, sense {:02x?}",
            &sense[..18]
        )));
    }
    Ok(data)
}

/// Maps `len` bytes of a file, shared and writable.
///
/// # Errors
/// As `mmap(2)`: among others if the file is not open for reading and writing.
pub fn map_shared(file: &File, len: usize) -> io::Result<memmap2::MmapMut> {
    // SAFETY: no other process changes or truncates the file while it is mapped:
    // the tests own the file system that it is on.
    unsafe { memmap2::MmapOptions::new().len(len).map_mut(file) }
}

/// Sets the I/O priority of the calling thread: class (1 real-time, 2 best
/// effort, 3 idle) and level (0 to 7).
pub fn set_io_priority(class: u32, level: u32) -> io::Result<()> {
    const WHO_PROCESS: u32 = 1;
    const CALLER: u32 = 0;
    let priority = (class << 13) | level;
    // SAFETY: ioprio_set takes plain numbers and touches no memory of ours.
    let ret =
        unsafe { nix::libc::syscall(nix::libc::SYS_ioprio_set, WHO_PROCESS, CALLER, priority) };
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Says how long what is written to a file is expected to live: `F_SET_RW_HINT`
/// with a `RWH_WRITE_LIFE_*`.
pub fn set_write_hint(file: &File, hint: u64) -> io::Result<()> {
    const F_SET_RW_HINT: i32 = 1024 + 12;
    // SAFETY: the kernel reads one `u64` through the pointer, which lives until it returns.
    let ret = unsafe { nix::libc::fcntl(file.as_raw_fd(), F_SET_RW_HINT, &hint) };
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
