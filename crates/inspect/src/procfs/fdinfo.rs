//! `/proc/PID/fdinfo/N` of a dma-buf: size, count, exporter and name.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};

use landbridge_dmabuf::dma_buf::FdInfo;

/// What the kernel shows of a dma-buf's descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferInfo {
    /// Bytes.
    pub size: u64,
    /// The exporter's name.
    pub exporter: String,
    /// The name that user space gave it.
    pub name: Option<String>,
}

/// The fdinfo of a descriptor of this process; `None` if it is no dma-buf.
#[must_use]
pub fn of_own(fd: BorrowedFd<'_>) -> Option<BufferInfo> {
    read(&format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd()))
}

/// The fdinfo of a process's descriptor; `None` if it is no dma-buf or can't be read.
#[must_use]
pub fn of_process(pid: u32, fd: u32) -> Option<BufferInfo> {
    read(&format!("/proc/{pid}/fdinfo/{fd}"))
}

fn read(path: &str) -> Option<BufferInfo> {
    let bytes = fs::read(path).ok()?;
    parse(&String::from_utf8_lossy(&bytes))
}

fn parse(text: &str) -> Option<BufferInfo> {
    let info = FdInfo::parse(text)?;
    // The first such line is the kernel's: the name, which anyone may choose, comes last.
    let size = text.lines().find_map(|line| line.strip_prefix("size:"))?;
    Some(BufferInfo {
        size: size.trim().parse().ok()?,
        exporter: info.exporter,
        name: info.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_forges_nothing() {
        let text = "pos:\t0\nsize:\t8192\ncount:\t2\nexp_name:\tdrm\nname:\ta\nsize:\t1\n";
        let info = parse(text).unwrap();
        assert_eq!((info.size, info.exporter.as_str()), (8192, "drm"));
        assert_eq!(info.name.as_deref(), Some("a\nsize:\t1"));
        assert_eq!(parse("pos:\t0\n"), None);
    }
}
