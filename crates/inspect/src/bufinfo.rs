//! `/sys/kernel/debug/dma_buf/bufinfo`: all dma-bufs, on kernels without the iterator.
//!
//! `dma_buf_debug_show` in `drivers/dma-buf/dma-buf.c`. The table is for humans, and
//! whoever has a buffer can give it a name with line breaks; so the totals at its end
//! must agree with what was read, or nothing is believed.

use std::fs;
use std::io;

use crate::error::{Error, Reason, Result, Strength};
use crate::records::{Importers, KernelBuffer};

/// Where debugfs shows it.
pub const PATH: &str = "/sys/kernel/debug/dma_buf/bufinfo";

/// All dma-bufs as the file lists them.
///
/// # Errors
/// [`Error::Unavailable`] if the file can't be read, [`Error::Record`] if its totals
/// contradict its lines.
pub fn read() -> Result<Vec<KernelBuffer>> {
    let bytes = fs::read(PATH).map_err(|error| Error::Unavailable {
        strength: Strength::BufferList,
        reason: match error.kind() {
            io::ErrorKind::PermissionDenied => Reason::NoCapability {
                needs: "root, for debugfs",
            },
            _ => Reason::NotInKernel {
                what: format!("{PATH} ({error})"),
            },
        },
    })?;
    parse(&String::from_utf8_lossy(&bytes))
}

/// Parses the file's text.
///
/// # Errors
/// [`Error::Record`] as for [`read`].
pub fn parse(text: &str) -> Result<Vec<KernelBuffer>> {
    let mut all: Vec<KernelBuffer> = Vec::new();
    let mut totals = None;
    let mut listing = false;
    for line in text.lines() {
        if let Some(buffer) = heading(line) {
            all.push(buffer);
            listing = false;
        } else if line == "\tAttached Devices:" {
            listing = true;
            if let Some(buffer) = all.last_mut() {
                buffer.importers = Some(Importers::default());
            }
        } else if let Some(count) = devices_total(line) {
            listing = false;
            end_devices(all.last_mut(), count)?;
        } else if let Some(found) = objects_total(line) {
            totals = Some(found);
        } else if let Some(device) = line.strip_prefix('\t').filter(|_| listing) {
            let importers = all.last_mut().and_then(|buffer| buffer.importers.as_mut());
            if let Some(importers) = importers {
                importers.devices.push(device.to_owned());
            }
        }
    }
    let bytes = all.iter().map(|buffer| buffer.size).sum();
    if totals == Some((all.len() as u64, bytes)) {
        return Ok(all);
    }
    Err(Error::Record {
        what: "bufinfo's totals contradict its lines",
    })
}

/// `size flags mode count exporter inode name`, between tabs.
fn heading(line: &str) -> Option<KernelBuffer> {
    let mut columns = line.splitn(7, '\t');
    let size = columns.next()?.trim().parse().ok()?;
    let [flags, mode] = [columns.next()?, columns.next()?];
    u32::from_str_radix(flags, 16).ok()?;
    u32::from_str_radix(mode, 16).ok()?;
    let _count: i64 = columns.next()?.trim().parse().ok()?;
    let exporter = columns.next()?.to_owned();
    let inode = columns.next()?.trim().parse().ok()?;
    let name = columns
        .next()
        .filter(|&name| name != "<none>" && !name.is_empty());
    Some(KernelBuffer {
        inode,
        size,
        mappable: None,
        exporter,
        name: name.map(str::to_owned),
        importers: None,
    })
}

fn devices_total(line: &str) -> Option<usize> {
    let count = line
        .strip_prefix("Total ")?
        .strip_suffix(" devices attached")?;
    count.parse().ok()
}

fn end_devices(buffer: Option<&mut KernelBuffer>, count: usize) -> Result<()> {
    let importers = buffer.and_then(|buffer| buffer.importers.as_mut());
    match importers {
        Some(importers) if importers.devices.len() == count => {
            importers.complete = true;
            Ok(())
        }
        _ => Err(Error::Record {
            what: "bufinfo's devices contradict their total",
        }),
    }
}

fn objects_total(line: &str) -> Option<(u64, u64)> {
    let (count, bytes) = line.strip_prefix("Total ")?.split_once(" objects, ")?;
    let bytes = bytes.strip_suffix(" bytes")?;
    Some((count.parse().ok()?, bytes.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\nDma-buf Objects:\n\
size    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n\
00008192\t00000002\t00080007\t00000002\tdrm\t00000005\t<none>\n\
\twrite fence:vgem unbound seq 1 unsignalled\n\
\tAttached Devices:\n\
\t0000:00:02.0\n\
\tvivid-000\n\
Total 2 devices attached\n\n\
00004096\t00000002\t00080007\t00000003\tudmabuf\t00000006\tcamera\tone\n\
\tAttached Devices:\n\
Total 0 devices attached\n\n\n\
Total 2 objects, 12288 bytes\n";

    #[test]
    fn reads_buffers_and_devices() {
        let all = parse(TEXT).unwrap();
        assert_eq!((all[0].inode, all[0].size), (5, 8192));
        assert_eq!(all[0].name, None);
        let importers = all[0].importers.as_ref().unwrap();
        assert_eq!(importers.devices, ["0000:00:02.0", "vivid-000"]);
        assert!(importers.complete);
        assert_eq!(all[1].exporter, "udmabuf");
        assert_eq!(all[1].name.as_deref(), Some("camera\tone"));
    }

    #[test]
    fn a_forged_line_is_noticed() {
        let forged = "one\n00004096\t00000002\t00080007\t00000003\tdrm\t00000009\tx";
        let text = TEXT.replace("camera\tone", forged);
        assert!(parse(&text).is_err());
    }

    #[test]
    fn an_empty_machine_has_an_empty_list() {
        let text = "\nDma-buf Objects:\nsize    \tflags\n\nTotal 0 objects, 0 bytes\n";
        assert_eq!(parse(text).unwrap(), []);
        assert!(parse("").is_err());
    }
}
