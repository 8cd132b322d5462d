//! What a well-behaved guest does, and what it must see.

use anyhow::{Context, Result, ensure};
use landbridge_device_gpu::display::Event;
use landbridge_dmabuf::Identity;
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Command, ControlHeader, Format, Rect, ResourceAttachBacking,
    ResourceCreate2d, ResourceCreateBlob,
};
use landbridge_transport::guest::PAGE;
use landbridge_transport::guest::gpu::Picture;

use landbridge_hostile::layout::WINDOW;

use crate::machine::Machine;

/// Ids and places that no attack uses.
const BLOB: u32 = 0xa11e_0001;
const FLAT: u32 = 0xa11e_0002;
const SCANOUT: u32 = 1;
const SIDE: u32 = 32;
const SIZE: u64 = (SIDE * SIDE * 4) as u64;
const AT: u64 = WINDOW - SIZE;

/// A blob from its creation to its end, and a 2D resource.
pub(crate) fn round(machine: &Machine, seed: u8) -> Result<()> {
    let info = machine.guest().driver.display_info()?;
    let sizes: Vec<_> = info[..3].iter().map(|mode| mode.rect.width).collect();
    ensure!(sizes == [640, 1920, 0], "display info says {sizes:?}");
    blob(machine, seed).context("a blob")?;
    flat(machine, seed).context("a 2D resource")
}

fn blob(machine: &Machine, seed: u8) -> Result<()> {
    let driver = &machine.guest().driver;
    let window = machine.embedded().window().context("a window")?;
    let create = Command::ResourceCreateBlob(ResourceCreateBlob {
        resource_id: BLOB,
        mem: BlobMem::Host3d,
        flags: BlobFlags::all(),
        blob_id: 0,
        size: SIZE,
        entries: [][..].into(),
    });
    driver.command(ControlHeader::default(), &create)?;
    let uuid = driver.assign_uuid(&BLOB)?;
    let identity = machine.exchange.lookup(uuid).and_then(|it| it.identity());
    driver.map_at(&BLOB, AT)?;
    let maps = window.maps();
    let seen: Option<Identity> = maps
        .iter()
        .find(|map| map.offset == AT)
        .map(|it| it.identity);
    ensure!(seen.is_some() && seen == identity, "{seen:?}, {identity:?}");
    ensure!(
        window.read(AT, SIZE as usize)? == vec![0; SIZE as usize],
        "a new blob shows old bytes"
    );
    let pixels = pixels(seed);
    window.write(AT, &pixels)?;
    let picture = Picture {
        format: Format::R8G8B8A8,
        width: SIDE,
        height: SIDE,
        stride: SIDE * 4,
        offset: 0,
    };
    driver.set_scanout_blob(SCANOUT, &BLOB, picture)?;
    machine.display.take();
    driver.flush(&BLOB, Rect::of_size(SIDE, SIDE))?;
    shown(machine, &pixels)?;
    ensure!(window.read(AT, pixels.len())? == pixels, "the guest's view");
    driver.unmap_blob(&BLOB)?;
    ensure!(window.read(AT, 1).is_err(), "still there when unmapped");
    driver.unref(&BLOB)?;
    ensure!(machine.exchange.lookup(uuid).is_none(), "a dead UUID");
    let events = machine.display.take();
    ensure!(events == [Event::Disabled(SCANOUT)], "{events:?}");
    Ok(())
}

fn flat(machine: &Machine, seed: u8) -> Result<()> {
    let driver = &machine.guest().driver;
    let pages = machine.embedded().allocate(SIZE + PAGE)?;
    let backing = driver.scattered_backing(SIZE)?;
    drop(pages);
    let pixels = pixels(!seed);
    backing.write(0, &pixels)?;
    let create = Command::ResourceCreate2d(ResourceCreate2d {
        resource_id: FLAT,
        format: Format::R8G8B8A8,
        width: SIDE,
        height: SIDE,
    });
    let attach = Command::ResourceAttachBacking(ResourceAttachBacking {
        resource_id: FLAT,
        entries: backing.entries().into(),
    });
    let whole = Rect::of_size(SIDE, SIDE);
    driver.command(ControlHeader::default(), &create)?;
    driver.command(driver.fence(), &attach)?;
    driver.transfer(&FLAT, whole, 0)?;
    driver.set_scanout(SCANOUT, &FLAT, whole)?;
    machine.display.take();
    driver.flush(&FLAT, whole)?;
    shown(machine, &pixels)?;
    driver.disable_scanout(SCANOUT)?;
    driver.detach_backing(&FLAT)?;
    driver.unref(&FLAT)?;
    machine.display.take();
    Ok(())
}

fn pixels(seed: u8) -> Vec<u8> {
    (0..SIZE)
        .map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

fn shown(machine: &Machine, expected: &[u8]) -> Result<()> {
    let events = machine.display.take();
    let [
        Event::Flushed {
            scanout: SCANOUT,
            pixels: Some(pixels),
            ..
        },
    ] = &events[..]
    else {
        let kinds: Vec<_> = events.iter().map(std::mem::discriminant).collect();
        anyhow::bail!("not one picture: {} events, {kinds:?}", events.len());
    };
    ensure!(pixels == expected, "wrong pixels on the scanout");
    Ok(())
}
