//! DRM drivers that hand out memory by PRIME: vgem, virtio-gpu, bochs, qxl
//! (Documentation/gpu/drm-mm.rst).

use std::rc::Rc;

use super::{Access, Exported, Exporter, Refused};
use crate::sys::drm::{CLOEXEC, Card, Object, RDWR};

/// One driver and one way to get an object from it.
#[derive(Debug)]
pub struct Dumb {
    name: &'static str,
    card: Rc<Card>,
    surface: bool,
}

impl Dumb {
    /// Dumb buffers of the card whose driver is `driver`; `name` is the column.
    ///
    /// # Errors
    /// When there is no such card.
    pub fn of(driver: &str, name: &'static str) -> std::io::Result<Self> {
        Ok(Self {
            name,
            card: Rc::new(Card::open(driver)?),
            surface: false,
        })
    }

    /// Surfaces of a qxl adapter, which lie in its BAR.
    ///
    /// # Errors
    /// When there is no such card.
    pub fn surfaces_of_qxl(name: &'static str) -> std::io::Result<Self> {
        let mut this = Self::of("qxl", name)?;
        this.surface = true;
        Ok(this)
    }

    fn object(&self, size: u64) -> Result<Object, Refused> {
        let object = if self.surface {
            self.card.surface(size)
        } else {
            self.card.dumb(size)
        };
        Ok(object?)
    }
}

impl Exporter for Dumb {
    fn name(&self) -> &'static str {
        self.name
    }

    fn export(&self, size: u64, access: Access) -> Result<Exported, Refused> {
        let object = self.object(size)?;
        let fd = self.card.export(object.handle, access.prime_flags())?;
        let card = Rc::clone(&self.card);
        let again = move |access: Access| Ok(card.export(object.handle, access.prime_flags())?);
        Ok(Exported::new(fd, object.size).exportable(again))
    }
}

impl Access {
    fn prime_flags(self) -> u32 {
        match self {
            Self::ReadOnly => CLOEXEC,
            Self::ReadWrite => CLOEXEC | RDWR,
        }
    }
}
