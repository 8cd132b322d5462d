//! The ioctl that a kernel may one day have: `DMA_BUF_IOCTL_INFO`, proposed in 2022.
//!
//! Proposed as `_IOWR('b', 2, struct dma_buf_info)` with a parameter, 1 for the
//! protection of CPU mappings, and a value: 0 write-combined, 1 cached. It was never
//! merged and its number has another use since, so nothing is sent unless a request
//! number is configured, and no answer is believed before the handler has refused a
//! parameter that cannot exist.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::decode::Caching;
use crate::error::{Error, Reason, Result, Strength};
use crate::sys::ioctl::{self, DmaBufInfo};

/// The request number as proposed.
pub const PROPOSED_REQUEST: u32 = 0xc010_6202;

const PARAM_VM_PROT: u32 = 1;
const PARAM_IMPOSSIBLE: u32 = 0xffff_fffe;
const WRITE_COMBINED: u64 = 0;
const CACHED: u64 = 1;
/// What stands in the value before the call, so that an untouched one is noticed.
const UNTOUCHED: u64 = u64::MAX;

/// Asks the kernel by `request`.
///
/// # Errors
/// [`Error::Unavailable`] if the kernel has no such ioctl (ENOTTY), the exporter does
/// not answer it (ENOSYS), or it does not behave as proposed.
pub(crate) fn caching(fd: impl AsFd, request: u32) -> Result<Caching> {
    let fd = fd.as_fd();
    ask(&mut |info| ioctl::dma_buf_info(fd, request, info))
}

fn ask(call: &mut dyn FnMut(&mut DmaBufInfo) -> Result<(), Errno>) -> Result<Caching> {
    match query(call, PARAM_IMPOSSIBLE) {
        Err(Errno::INVAL) => {}
        Err(errno) => return Err(unsupported(errno.to_string())),
        Ok(_) => {
            return Err(unsupported(
                "it accepts a parameter that can't exist".into(),
            ));
        }
    }
    match query(call, PARAM_VM_PROT) {
        Ok(Some(WRITE_COMBINED)) => Ok(Caching::WriteCombining),
        Ok(Some(CACHED)) => Ok(Caching::WriteBack),
        Ok(value) => Err(unsupported(format!("it answers {value:?}"))),
        Err(errno) => Err(unsupported(errno.to_string())),
    }
}

/// The value of a parameter; `None` if the handler changed what it should not.
fn query(
    call: &mut dyn FnMut(&mut DmaBufInfo) -> Result<(), Errno>,
    param: u32,
) -> Result<Option<u64>, Errno> {
    let mut info = DmaBufInfo {
        param,
        pad: 0,
        value: UNTOUCHED,
    };
    call(&mut info)?;
    Ok((info.param == param && info.pad == 0).then_some(info.value))
}

fn unsupported(errno: String) -> Error {
    Error::Unavailable {
        strength: Strength::KernelIoctl,
        reason: Reason::NotSupported { errno },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with the proposed ioctl, whose exporter answers `value`.
    fn proposed(value: Result<u64, Errno>) -> impl FnMut(&mut DmaBufInfo) -> Result<(), Errno> {
        move |info| {
            if info.param != PARAM_VM_PROT {
                return Err(Errno::INVAL);
            }
            info.value = value?;
            Ok(())
        }
    }

    #[test]
    fn answers_as_proposed() {
        assert_eq!(ask(&mut proposed(Ok(0))).unwrap(), Caching::WriteCombining);
        assert_eq!(ask(&mut proposed(Ok(1))).unwrap(), Caching::WriteBack);
    }

    #[test]
    fn an_exporter_without_it_is_no_answer() {
        assert!(ask(&mut proposed(Err(Errno::NOSYS))).is_err());
        assert!(ask(&mut proposed(Ok(2))).is_err());
        assert!(ask(&mut |_| Err(Errno::NOTTY)).is_err());
    }

    #[test]
    fn another_meaning_of_the_number_is_noticed() {
        // Accepts anything and writes nothing.
        assert!(ask(&mut |_| Ok(())).is_err());
        // Refuses the impossible, then scribbles over the question.
        let mut scribble = |info: &mut DmaBufInfo| {
            if info.param == PARAM_IMPOSSIBLE {
                return Err(Errno::INVAL);
            }
            *info = DmaBufInfo::default();
            Ok(())
        };
        assert!(ask(&mut scribble).is_err());
    }

    #[test]
    fn request_has_the_proposed_shape() {
        let size = size_of::<DmaBufInfo>() as u32;
        assert_eq!(
            PROPOSED_REQUEST,
            3 << 30 | size << 16 | u32::from(b'b') << 8 | 2
        );
    }
}
