//! Displays and command streams of a DRM device: ioctls whose structures hold
//! addresses (include/uapi/drm/{drm_mode,virtgpu_drm}.h).
#![expect(unsafe_code, reason = "ioctl(2) with addresses has no safe form")]

pub(crate) mod wire;

use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use crate::sys::ioctl::Argument;
use wire::{
    AddFramebuffer, CardResources, CrtcSet, Cursor, DirtyFramebuffer, Execbuffer, GetConnector,
    GetProperty, GetPropertyBlob, ModeInfo, PageFlip,
};

// SAFETY (all of these): repr(C), integers only and without gaps, and none
// holds an address.
macro_rules! arguments {
    ($($structure:ty),*) => {
        $(
            // SAFETY: see above the macro.
            unsafe impl Argument for $structure {}
        )*
    };
}
arguments!(AddFramebuffer, Cursor, DirtyFramebuffer, PageFlip);

/// What a device has: CRTCs and connectors.
#[derive(Debug, Default, Clone)]
pub(crate) struct Lists {
    pub(crate) crtcs: Vec<u32>,
    pub(crate) connectors: Vec<u32>,
}

/// `DRM_IOCTL_MODE_GETRESOURCES`.
pub(crate) fn resources(fd: impl AsFd) -> Result<Lists, Errno> {
    let mut counts = CardResources::default();
    // SAFETY: with every count 0 the kernel writes to no address.
    unsafe { call(&fd, CardResources::OP, &mut counts)? };
    let mut lists = Lists {
        crtcs: vec![0; counts.count_crtcs as usize],
        connectors: vec![0; counts.count_connectors as usize],
    };
    let mut filled = CardResources {
        crtc_id_ptr: address_of(&mut lists.crtcs),
        count_crtcs: counts.count_crtcs,
        connector_id_ptr: address_of(&mut lists.connectors),
        count_connectors: counts.count_connectors,
        ..CardResources::default()
    };
    // SAFETY: the two addresses are of vectors with as many numbers as the
    // counts beside them say, which live until the call returns; the counts of
    // the other two are 0.
    unsafe { call(&fd, CardResources::OP, &mut filled)? };
    Ok(lists)
}

/// What `DRM_IOCTL_MODE_GETCONNECTOR` tells.
#[derive(Debug, Default, Clone)]
pub(crate) struct ConnectorLists {
    pub(crate) fixed: GetConnector,
    pub(crate) modes: Vec<ModeInfo>,
    pub(crate) properties: Vec<u32>,
    pub(crate) values: Vec<u64>,
}

/// `DRM_IOCTL_MODE_GETCONNECTOR`; makes the driver look anew.
pub(crate) fn connector(fd: impl AsFd, id: u32) -> Result<ConnectorLists, Errno> {
    let mut counts = GetConnector {
        connector_id: id,
        ..GetConnector::default()
    };
    // SAFETY: with every count 0 the kernel writes to no address.
    unsafe { call(&fd, GetConnector::OP, &mut counts)? };
    let mut lists = ConnectorLists {
        fixed: counts,
        modes: vec![ModeInfo::default(); counts.count_modes as usize],
        properties: vec![0; counts.count_props as usize],
        values: vec![0; counts.count_props as usize],
    };
    let mut filled = GetConnector {
        connector_id: id,
        modes_ptr: address_of(&mut lists.modes),
        count_modes: counts.count_modes,
        props_ptr: address_of(&mut lists.properties),
        prop_values_ptr: address_of(&mut lists.values),
        count_props: counts.count_props,
        ..GetConnector::default()
    };
    if filled.count_modes == 0 {
        // The kernel takes no modes as "look anew"; one that it may write to
        // does no harm.
        lists.modes.push(ModeInfo::default());
        filled.modes_ptr = address_of(&mut lists.modes);
        filled.count_modes = 1;
    }
    // SAFETY: the three addresses are of vectors with as many entries as the
    // counts say, which live until the call returns; no encoders are asked for.
    unsafe { call(&fd, GetConnector::OP, &mut filled)? };
    lists.modes.truncate(filled.count_modes as usize);
    lists.fixed = filled;
    Ok(lists)
}

/// The name of a property.
pub(crate) fn property_name(fd: impl AsFd, id: u32) -> Result<String, Errno> {
    let mut property = GetProperty {
        prop_id: id,
        ..GetProperty::default()
    };
    // SAFETY: with both counts 0 the kernel writes to no address.
    unsafe { call(fd, GetProperty::OP, &mut property)? };
    Ok(text(&property.name))
}

/// The bytes of a property that is a blob.
pub(crate) fn property_blob(fd: impl AsFd, id: u32) -> Result<Vec<u8>, Errno> {
    let mut blob = GetPropertyBlob {
        blob_id: id,
        ..GetPropertyBlob::default()
    };
    // SAFETY: with length 0 the kernel writes to no address.
    unsafe { call(&fd, GetPropertyBlob::OP, &mut blob)? };
    let mut bytes = vec![0_u8; blob.length as usize];
    blob.data = address_of(&mut bytes);
    // SAFETY: the address is of a vector of `length` bytes.
    unsafe { call(&fd, GetPropertyBlob::OP, &mut blob)? };
    Ok(bytes)
}

/// `DRM_IOCTL_MODE_SETCRTC` for `connectors`; the rest is in `set`.
pub(crate) fn set_crtc(fd: impl AsFd, mut set: CrtcSet, connectors: &[u32]) -> Result<(), Errno> {
    set.set_connectors_ptr = connectors.as_ptr().addr() as u64;
    set.count_connectors = connectors.len() as u32;
    // SAFETY: the kernel only reads the connectors, of which there are as many
    // as the count says.
    unsafe { call(fd, CrtcSet::OP, &mut set) }
}

/// `DRM_IOCTL_VIRTGPU_EXECBUFFER` with `commands`; flags, ring and fences are
/// in `execute`. The fence that it makes, if asked for.
pub(crate) fn execute(
    fd: impl AsFd,
    mut execute: Execbuffer,
    commands: &[u32],
    objects: &[u32],
) -> Result<Option<OwnedFd>, Errno> {
    execute.size = size_of_val(commands) as u32;
    execute.command = commands.as_ptr().addr() as u64;
    execute.bo_handles = objects.as_ptr().addr() as u64;
    execute.num_bo_handles = objects.len() as u32;
    // SAFETY: the kernel only reads `size` bytes of commands and as many handles
    // as it is told, which is what there are; every other count is 0.
    unsafe { call(fd, Execbuffer::OP, &mut execute)? };
    if execute.flags & Execbuffer::FENCE_OUT == 0 {
        return Ok(None);
    }
    // SAFETY: the ioctl succeeded and was told to make a fence, so this is a
    // new descriptor that nobody else knows.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(execute.fence_fd) }))
}

/// Text up to the first zero.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

fn address_of<T>(list: &mut [T]) -> u64 {
    list.as_mut_ptr().expose_provenance() as u64
}

/// # Safety
/// Every address in `argument` is of as much memory as the kernel reads or
/// writes there for `op`, and any bytes are valid in it.
///
/// # Panics
/// When the number says another size than `T` has: a mistake in this crate.
unsafe fn call<T>(fd: impl AsFd, op: u32, argument: &mut T) -> Result<(), Errno> {
    let said = (op >> 16) & 0x3fff;
    assert_eq!(said as usize, size_of::<T>(), "ioctl {op:#x}");
    loop {
        // SAFETY: the number carries the size of `T`, so that the kernel copies
        // at most that in and out; the caller vouches for the addresses.
        let returned = unsafe {
            libc::ioctl(
                fd.as_fd().as_raw_fd(),
                libc::c_ulong::from(op),
                std::ptr::from_mut(argument),
            )
        };
        if returned >= 0 {
            return Ok(());
        }
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        if errno != libc::EINTR && errno != libc::EAGAIN {
            return Err(Errno::from_raw_os_error(errno));
        }
    }
}
