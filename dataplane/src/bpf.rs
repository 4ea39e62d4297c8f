//! The `bpf(2)` commands that aya does not wrap, or not for what is needed here.

#![expect(unsafe_code, reason = "raw system calls")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytemuck::{Pod, Zeroable};

/// Members of `enum bpf_cmd`.
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const MAP_UPDATE_BATCH: libc::c_int = 26;
const LINK_UPDATE: libc::c_int = 29;

/// Size of `union bpf_attr` that these commands need, in words.
const ATTR_WORDS: usize = 16;

/// The part of `union bpf_attr` for batches.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
    _rest: [u64; ATTR_WORDS - 7],
}

/// Reads up to `keys.len()` entries of a hash map, going on from `cursor`. Returns how many were
/// read and whether the map ended. The cursor starts as `None`.
pub(crate) fn lookup_batch<K: Pod, V: Pod>(
    map: impl AsFd,
    cursor: &mut Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, bool)> {
    assert_eq!(keys.len(), values.len(), "a batch has as many keys as values");
    let mut next = 0u32;
    let mut batch = Batch::zeroed();
    batch.in_batch = cursor.as_ref().map_or(0, |at| &raw const *at as u64);
    batch.out_batch = &raw mut next as u64;
    batch.keys = keys.as_mut_ptr() as u64;
    batch.values = values.as_mut_ptr() as u64;
    batch.count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
    batch.map_fd = map.as_fd().as_raw_fd().cast_unsigned();
    let result = bpf(MAP_LOOKUP_BATCH, &mut batch);
    let ended = match result {
        Ok(_) => false,
        // The end of the map; the entries before it were read all the same.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
        Err(error) => return Err(error),
    };
    *cursor = Some(next);
    Ok((batch.count as usize, ended))
}

/// Writes entries of a hash map, replacing those that are there (kernel 5.6). Returns how many were written
/// before one failed, and how that one did.
pub(crate) fn update_batch<K: Pod, V: Pod>(
    map: impl AsFd,
    keys: &[K],
    values: &[V],
) -> (usize, io::Result<()>) {
    assert_eq!(keys.len(), values.len(), "a batch has as many keys as values");
    let mut batch = Batch::zeroed();
    batch.keys = keys.as_ptr() as u64;
    batch.values = values.as_ptr() as u64;
    batch.count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
    batch.map_fd = map.as_fd().as_raw_fd().cast_unsigned();
    let result = bpf(MAP_UPDATE_BATCH, &mut batch);
    (batch.count as usize, result.map(drop))
}

/// Replaces the program behind a link, atomically.
pub(crate) fn link_update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    struct Update {
        link_fd: u32,
        new_prog_fd: u32,
        flags: u32,
        old_prog_fd: u32,
        _rest: [u64; ATTR_WORDS - 2],
    }
    let mut update = Update::zeroed();
    update.link_fd = link.as_fd().as_raw_fd().cast_unsigned();
    update.new_prog_fd = program.as_fd().as_raw_fd().cast_unsigned();
    bpf(LINK_UPDATE, &mut update).map(drop)
}

/// What a link ties together. `struct bpf_link_info`, of the link types used here.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct LinkInfo {
    /// `enum bpf_link_type`.
    pub(crate) kind: u32,
    /// Id of the link.
    pub(crate) id: u32,
    /// Id of the program.
    pub(crate) program: u32,
    _pad: u32,
    /// Id of the cgroup, or in the low half the index of the interface; 0 when it is gone.
    pub(crate) target: u64,
    _rest: [u64; 6],
}

/// Size of [`LinkInfo`] in bytes.
const LINK_INFO_LEN: u32 = 72;

const _: () = assert!(size_of::<LinkInfo>() == LINK_INFO_LEN as usize);

/// Opens a pinned object.
pub(crate) fn object_get(pin: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    struct Get {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
        _rest: [u64; ATTR_WORDS - 2],
    }
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut get = Get::zeroed();
    get.pathname = path.as_ptr() as u64;
    let fd = bpf(OBJ_GET, &mut get)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a link ties together.
pub(crate) fn link_info(link: impl AsFd) -> io::Result<LinkInfo> {
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    struct Info {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
        _rest: [u64; ATTR_WORDS - 2],
    }
    let mut found = LinkInfo::zeroed();
    let mut info = Info::zeroed();
    info.bpf_fd = link.as_fd().as_raw_fd().cast_unsigned();
    info.info_len = LINK_INFO_LEN;
    info.info = &raw mut found as u64;
    bpf(OBJ_GET_INFO_BY_FD, &mut info)?;
    Ok(found)
}

fn bpf<T: Pod>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: `attr` is plain data of at least the size that the command reads, zero where it is
    // unused; every pointer in it was made by the caller from live memory of the stated length.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    libc::c_int::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)
}
