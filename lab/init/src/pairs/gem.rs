//! DRM devices as importers, mapped by forwarding.

use anyhow::{Context as _, Result};
use landbridge_dmabuf::gem::{Device, Object};
use landbridge_dmabuf::{Access, Bracketed, DmaBuf, Wanted};

use super::{dma_buf, ends, errno_name, fill};
use crate::checks::Checks;
use crate::exporters::{Exported, Exporter};
use crate::sys::memory::{How, Map};

/// Imports a buffer of `exporter` into `device` and reports that cell by cell.
///
/// # Errors
/// When the exporter has no buffer to give.
pub fn run(
    checks: &mut Checks,
    importer: &str,
    device: &Device,
    exporter: &dyn Exporter,
    size: u64,
) -> Result<()> {
    let exported = exporter
        .export(size, crate::exporters::Access::ReadWrite)
        .context(exporter.name())?;
    let buffer = dma_buf(&exported)?;
    let mut cell = |row: &str, value: &str| {
        checks.cell(exporter.name(), &format!("{importer}: {row}"), value);
    };
    let object = match device.import(&buffer) {
        Ok(object) => object,
        Err(e) => {
            cell("import", &errno_name(&e));
            return Ok(());
        }
    };
    cell("import", "ok");
    cell("a second import is", &second(device, &object, &buffer)?);
    cell("exported again it is", &again(&object, &buffer));
    let memory = match object.map(Wanted::Any, Access::ReadWrite, &None) {
        Ok(memory) => memory,
        Err(e) => {
            cell("by forwarding", &errno_name(&e));
            return Ok(());
        }
    };
    cell("by forwarding", &both_sides(&exported, &memory)?);
    cell(
        "by the importer's own offset",
        &own_offset(device, &object, &memory),
    );
    drop(object);
    cell("without the handle", &both_sides(&exported, &memory)?);
    let left = device.open_handles();
    checks.equal("no handle is left open", &left, &0);
    Ok(())
}

fn second(device: &Device, object: &Object, buffer: &DmaBuf) -> Result<String> {
    let second = device.import(buffer)?;
    let same = second.handle() == object.handle();
    Ok(if same {
        "the same handle"
    } else {
        "another handle"
    }
    .to_owned())
}

fn again(object: &Object, buffer: &DmaBuf) -> String {
    let compared = object
        .export()
        .and_then(|again| Ok(again.identity()? == buffer.identity()?));
    match compared {
        Ok(true) => "the same buffer".to_owned(),
        Ok(false) => "another buffer".to_owned(),
        Err(e) => errno_name(&e),
    }
}

/// Writes through the owner's own mapping and reads through ours, and the other
/// way round.
fn both_sides(exported: &Exported, ours: &Bracketed) -> Result<String> {
    let theirs = exported.map_by_owner()?;
    let last = ours.len() - 1;
    theirs.set(0, 0x5a);
    theirs.set(last, 0x5b);
    let arrived = ends(ours)? == [0x5a, 0x5b];
    fill(ours, 0xc3)?;
    let returned = [theirs.get(0), theirs.get(last)] == [0xc3; 2];
    Ok(match (arrived, returned) {
        (true, true) => "the same bytes",
        (true, false) => "our writes are lost",
        (false, true) => "their writes are lost",
        (false, false) => "other bytes",
    }
    .to_owned())
}

/// What becomes of an importer's own mmap, which we never use.
fn own_offset(device: &Device, object: &Object, memory: &Bracketed) -> String {
    let offset = match object.mmap_offset() {
        Ok(offset) => usize::try_from(offset).unwrap_or(usize::MAX),
        Err(e) => return errno_name(&e),
    };
    let map = match Map::new(device, offset, memory.len(), How::SHARED) {
        Ok(map) => map,
        Err(errno) => return format!("then {}", crate::sys::errno_name(errno)),
    };
    // By the kernel first, which answers an error where we would get a signal.
    match map.write_to_pipe() {
        Ok(()) if fill(memory, 0x77).is_ok() && map.get(0) == 0x77 => "the same bytes".to_owned(),
        Ok(()) => "other bytes".to_owned(),
        Err(_) => "a fault that kills".to_owned(),
    }
}
