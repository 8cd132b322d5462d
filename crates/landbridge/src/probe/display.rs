//! Dumb buffers of displays: memory that every DRM driver with outputs gives, exported
//! by PRIME (`include/uapi/drm/drm_mode.h`).

use std::fs::{File, read_dir};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use drm::buffer::{Buffer, DrmFourcc};
use drm::control::Device as ControlDevice;
use landbridge_dmabuf::DmaBuf;
use landbridge_inspect::Inspector;
use landbridge_inspect::probe::{Outcome, Row, examine};

/// 64 KiB at four bytes a pixel.
const SIZE: (u32, u32) = (128, 128);

/// A primary node.
#[derive(Debug)]
struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Card {}
impl ControlDevice for Card {}

/// One row for each card.
pub(super) fn rows(inspector: &Inspector) -> Vec<Row> {
    cards().iter().map(|path| row(inspector, path)).collect()
}

fn cards() -> Vec<PathBuf> {
    let entries = read_dir("/dev/dri").into_iter().flatten().flatten();
    let mut cards: Vec<_> = entries
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"card"))
        .map(|entry| entry.path())
        .collect();
    cards.sort();
    cards
}

fn row(inspector: &Inspector, path: &Path) -> Row {
    let node = path.file_name().unwrap_or_default().display();
    let (driver, buffer) = match open(path) {
        Ok((card, driver)) => {
            let buffer = allocate(&card);
            (Some(driver), buffer)
        }
        Err(error) => (None, Err(error)),
    };
    let what = match &driver {
        Some(driver) => format!("dumb buffer of {node} ({driver})"),
        None => format!("dumb buffer of {node}"),
    };
    let buffer = match buffer {
        Ok(buffer) => buffer,
        Err(error) => {
            return Row {
                what,
                exporter: None,
                found: Outcome::Failed(error.to_string()),
            };
        }
    };
    let mut row = examine(inspector, &what, &buffer);
    if let Outcome::Is(found) = &mut row.found {
        // What is written down goes by driver, which the buffer does not tell.
        if let (Outcome::Failed(_), Some(driver)) = (&found.mapping, &driver)
            && let Ok(info) = inspector.map_info_of_driver(&buffer, Some(driver))
        {
            found.mapping = Outcome::Is(info);
        }
    }
    row
}

fn open(path: &Path) -> io::Result<(Card, String)> {
    let card = Card(File::options().read(true).write(true).open(path)?);
    // Whoever opens a card that has no master becomes it; the next compositor wants it.
    let _ = drm::Device::release_master_lock(&card);
    let driver = drm::Device::get_driver(&card)?;
    let driver = driver.name().to_string_lossy().into_owned();
    Ok((card, driver))
}

fn allocate(card: &Card) -> io::Result<DmaBuf> {
    let dumb = card.create_dumb_buffer(SIZE, DrmFourcc::Xrgb8888, 32)?;
    let flags = drm::CLOEXEC | drm::RDWR;
    let exported = card.buffer_to_prime_fd(dumb.handle(), flags);
    // The dma-buf keeps the memory.
    card.destroy_dumb_buffer(dumb)?;
    DmaBuf::try_from(exported?).map_err(io::Error::other)
}
