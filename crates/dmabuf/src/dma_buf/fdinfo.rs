//! What procfs tells of a dma-buf: `dma_buf_show_fdinfo` in
//! `drivers/dma-buf/dma-buf.c`.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::{Error, Result};

/// The dma-buf lines of `/proc/PID/fdinfo/FD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdInfo {
    /// References to the buffer's file: descriptors, mappings and drivers.
    pub references: u64,
    /// The exporter's name.
    pub exporter: String,
    /// The buffer's name, if somebody gave it one.
    pub name: Option<String>,
}

impl FdInfo {
    /// Reads what procfs says of `fd`.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Result<Self> {
        // The thread's own directory: it may have unshared its descriptors.
        let path = format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd());
        let text = std::fs::read(path).map_err(|e| Error::sys("read fdinfo", e))?;
        Self::parse(&String::from_utf8_lossy(&text)).ok_or(Error::NotADmaBuf)
    }

    /// Parses an fdinfo; `None` if it isn't a dma-buf's. Whoever has the buffer
    /// can give it a name with line breaks, so only what comes before the name
    /// is believed, and the name is everything after.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (before, name) = match text.split_once("\nname:\t") {
            Some((before, name)) => (before, Some(name)),
            None => (text, None),
        };
        let field = |key: &str| {
            before.lines().find_map(|line| {
                let value = line.strip_prefix(key)?.strip_prefix(':')?;
                Some(value.trim_start())
            })
        };
        Some(Self {
            references: field("count")?.parse().ok()?,
            exporter: field("exp_name")?.to_owned(),
            name: name.map(|name| name.strip_suffix('\n').unwrap_or(name).to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t1061\n\
                        size:\t8192\ncount:\t2\nexp_name:\tudmabuf\n";

    #[test]
    fn reads_an_anonymous_buffer() {
        let info = FdInfo::parse(HEAD).unwrap();
        assert_eq!(info.exporter, "udmabuf");
        assert_eq!(info.references, 2);
        assert_eq!(info.name, None);
    }

    #[test]
    fn a_name_with_line_breaks_cannot_forge_an_exporter() {
        let text = format!("{HEAD}name:\tx\nexp_name:\tdrm\nname:\ty\n");
        let info = FdInfo::parse(&text).unwrap();
        assert_eq!(info.exporter, "udmabuf");
        assert_eq!(info.name.as_deref(), Some("x\nexp_name:\tdrm\nname:\ty"));
    }

    #[test]
    fn other_files_are_not_dma_bufs() {
        assert_eq!(FdInfo::parse("pos:\t0\nflags:\t02\nmnt_id:\t16\n"), None);
        assert_eq!(FdInfo::parse(""), None);
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "[^\0]{0,31}") {
            let info = FdInfo::parse(&format!("{HEAD}name:\t{name}\n")).unwrap();
            prop_assert_eq!(info.exporter, "udmabuf");
            prop_assert_eq!(info.name, Some(name));
        }
    }
}
