//! TRANSFER_TO_HOST_2D, TRANSFER_TO_HOST_3D and TRANSFER_FROM_HOST_3D: the
//! only commands that copy pixels, and they count what they copy.
//!
//! The 3D commands are served for what needs no renderer: a 2D resource, and a
//! shadowed blob, seen as one row of bytes (`x` and `width` are bytes, the rest
//! is 0 or 1). For a guest blob, which *is* guest memory, there is nothing to
//! copy.

use std::sync::Arc;
use std::time::Duration;

use landbridge_exchange::importers::cpu::CpuImport;
use landbridge_exchange::terms::Direction;
use landbridge_exchange::{Buffer, Fence, Usage};
use landbridge_protocol_gpu::{Box3d, Rect, Response, Transfer3d, TransferToHost2d};

use crate::commands::{Call, Outcome};
use crate::core::Core;
use crate::error::Error;
use crate::image::Layout;
use crate::jobs::{Lanes, Task};
use crate::resources::{Kind, Resource};

/// How long a copy waits for others who came between its fences and it.
const ACCESS_LIMIT: Duration = Duration::from_millis(250);

/// Where the copied bytes end up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Host,
    Guest,
}

/// Rows of bytes in one of the two memories.
#[derive(Debug, Clone, Copy)]
struct Rows {
    offset: u64,
    stride: u64,
}

/// One copy between a resource's host memory and its backing.
#[derive(Debug, Clone, Copy)]
struct Copy {
    life: u64,
    resource: u32,
    serial: u64,
    to: To,
    host: Rows,
    guest: Rows,
    /// Bytes of a row.
    width: u64,
    height: u32,
}

/// Fills a rectangle of a 2D resource from its backing.
pub(crate) fn to_host_2d(call: Call<'_>, transfer: TransferToHost2d) -> Result<Outcome, Error> {
    start(call, transfer.resource_id, To::Host, |resource| {
        let Kind::TwoD { layout, .. } = &resource.kind else {
            return Err(Error::Unfit {
                resource: transfer.resource_id,
                reason: "a blob has no rows of pixels to transfer",
            });
        };
        rectangle(layout, transfer.rect, transfer.offset, 0)
    })
}

/// Fills a part of a resource from its backing.
pub(crate) fn to_host_3d(call: Call<'_>, transfer: Transfer3d) -> Result<Outcome, Error> {
    any(call, transfer, To::Host)
}

/// Fills a resource's backing from a part of it.
pub(crate) fn from_host_3d(call: Call<'_>, transfer: Transfer3d) -> Result<Outcome, Error> {
    any(call, transfer, To::Guest)
}

fn any(call: Call<'_>, transfer: Transfer3d, to: To) -> Result<Outcome, Error> {
    call.state()?.contexts.check(call.header.ctx_id)?;
    start(call, transfer.resource_id, to, |resource| {
        let Box3d {
            x,
            y,
            z,
            width,
            height,
            depth,
        } = transfer.region;
        let rect = Rect {
            x,
            y,
            width,
            height,
        };
        if z != 0 || depth != 1 || transfer.level != 0 {
            return Err(Error::Field {
                what: "a layer or level of a resource with one",
                value: z.max(depth).max(transfer.level).into(),
            });
        }
        match &resource.kind {
            Kind::TwoD { layout, .. } => rectangle(layout, rect, transfer.offset, transfer.stride),
            _ => bytes(rect, transfer.offset, resource.size()),
        }
    })
}

/// Host rows, guest rows, bytes of a row, and their number.
type Shape = (Rows, Rows, u64, u32);

/// A rectangle of pixels. The backing's rows are `stride` bytes apart; 0 is as
/// far as the resource's.
fn rectangle(layout: &Layout, rect: Rect, offset: u64, stride: u32) -> Result<Shape, Error> {
    let (width, height) = (layout.width(), layout.height());
    if !rect.fits(width, height) {
        return Err(Error::Rectangle { width, height });
    }
    let pixel = u64::from(layout.format().bytes_per_pixel());
    let row = u64::from(rect.width) * pixel;
    let pitch = u64::from(layout.stride());
    let stride = match u64::from(stride) {
        0 => pitch,
        stride if stride >= row => stride,
        stride => {
            return Err(Error::Field {
                what: "a transfer's stride",
                value: stride,
            });
        }
    };
    let host = Rows {
        offset: u64::from(rect.y) * pitch + u64::from(rect.x) * pixel,
        stride: pitch,
    };
    Ok((host, Rows { offset, stride }, row, rect.height))
}

/// One row of bytes of a blob of `size` bytes.
fn bytes(rect: Rect, offset: u64, size: u64) -> Result<Shape, Error> {
    if rect.y != 0 || rect.height > 1 {
        return Err(Error::Field {
            what: "a row of a blob's bytes",
            value: rect.y.max(rect.height).into(),
        });
    }
    let width = u64::from(rect.width);
    if u64::from(rect.x) + width > size {
        return Err(Error::Outside {
            what: "the transfer",
            within: size,
        });
    }
    let row = |offset| Rows {
        offset,
        stride: width,
    };
    Ok((row(rect.x.into()), row(offset), width, rect.height))
}

fn start(
    call: Call<'_>,
    id: u32,
    to: To,
    shape: impl FnOnce(&Resource) -> Result<Shape, Error>,
) -> Result<Outcome, Error> {
    let state = call.state()?;
    let resource = state.resources.get(id)?;
    let host = match &resource.kind {
        Kind::TwoD { buffer, .. } | Kind::Shadowed { buffer, .. } => buffer,
        Kind::Guest { .. } => {
            resource.backing(id)?;
            return Ok(Response::OkNoData.into());
        }
        Kind::Host { .. } => return Err(Error::NotBacked(id)),
    };
    let guest = resource.backing(id)?.buffer();
    let (host_rows, guest_rows, width, height) = shape(resource)?;
    let copy = Copy {
        life: call.life,
        resource: id,
        serial: resource.serial,
        to,
        host: host_rows,
        guest: guest_rows,
        width,
        height,
    };
    copy.check_guest(guest.size())?;
    if width == 0 || height == 0 {
        return Ok(Response::OkNoData.into());
    }
    let lanes = Lanes {
        resource: Some(resource.serial),
        scanouts: 0,
    };
    let (host, guest) = (host.clone(), guest.clone());
    drop(state);
    let fences = copy.fences(&host, &guest)?;
    Ok(Task::after(fences, lanes, move |core| copy.run(core)).into())
}

impl Copy {
    /// Refuses what reaches past the end of the backing.
    fn check_guest(&self, size: u64) -> Result<(), Error> {
        let end = u64::from(self.height.max(1) - 1)
            .checked_mul(self.guest.stride)
            .and_then(|rows| rows.checked_add(self.width))
            .and_then(|bytes| bytes.checked_add(self.guest.offset));
        if end.is_none_or(|end| end > size) {
            return Err(Error::Outside {
                what: "the transfer",
                within: size,
            });
        }
        Ok(())
    }

    fn directions(&self) -> (Direction, Direction) {
        match self.to {
            To::Host => (Direction::Write, Direction::Read),
            To::Guest => (Direction::Read, Direction::Write),
        }
    }

    /// Others' work that must end first.
    fn fences(&self, host: &Buffer, guest: &Buffer) -> Result<Vec<Fence>, Error> {
        let (host_direction, guest_direction) = self.directions();
        let mut fences = host.pending(Usage::blocking(host_direction))?;
        fences.append(&mut guest.pending(Usage::blocking(guest_direction))?);
        Ok(fences)
    }

    fn run(&self, core: &Core) -> Result<Response, Error> {
        let guest = self.guest_view(core)?;
        let host = self.host_view(core)?;
        self.check_guest(guest.attachment().buffer().size())?;
        self.copy(&host, &guest)?;
        let bytes = self.width * u64::from(self.height);
        let buffer = host.attachment().buffer();
        buffer.count_copied(bytes);
        core.metrics.transferred.add(bytes);
        self.let_go(core);
        Ok(Response::OkNoData)
    }

    fn copy(&self, host: &CpuImport, guest: &CpuImport) -> Result<(), landbridge_exchange::Error> {
        let (host_direction, guest_direction) = self.directions();
        let guest = guest.access(guest_direction, ACCESS_LIMIT)?;
        let host = host.access(host_direction, ACCESS_LIMIT)?;
        let (width, height) = (self.width as usize, self.height as usize);
        // Checked against both memories, so that everything fits a usize.
        let host_rows = host.view().rows(
            self.host.offset as usize,
            self.host.stride as usize,
            width,
            height,
        )?;
        let guest_rows = guest.view().rows(
            self.guest.offset as usize,
            self.guest.stride as usize,
            width,
            height,
        )?;
        for (host, guest) in host_rows.zip(guest_rows) {
            match self.to {
                To::Host => host.copy_from_view(0, guest)?,
                To::Guest => guest.copy_from_view(0, host)?,
            }
        }
        host.end()?;
        guest.end()
    }

    /// The host memory, mapped: kept from the first transfer on,
    /// if it may be.
    fn host_view(&self, core: &Core) -> Result<Arc<CpuImport>, Error> {
        let buffer = {
            let mut state = core.state(self.life)?;
            let resource = state.resources.same(self.resource, self.serial)?;
            if let Some(view) = &resource.view {
                return Ok(Arc::clone(view));
            }
            resource.memory(self.resource)?.clone()
        };
        let view = attach(core, &buffer, Direction::ReadWrite)?;
        let mut state = core.state(self.life)?;
        let resource = state.resources.same(self.resource, self.serial)?;
        resource.view = Some(Arc::clone(&view));
        Ok(view)
    }

    /// The guest's pages, mapped: kept from the first transfer on, and mapped
    /// anew when they are to be written for the first time.
    fn guest_view(&self, core: &Core) -> Result<Arc<CpuImport>, Error> {
        let needed = match self.to {
            To::Host => Direction::Read,
            To::Guest => Direction::ReadWrite,
        };
        let buffer = {
            let mut state = core.state(self.life)?;
            let resource = state.resources.same(self.resource, self.serial)?;
            let backing = resource.backing(self.resource)?;
            if let Some(view) = &backing.view
                && (!needed.writes() || view.attachment().terms().direction().writes())
            {
                return Ok(Arc::clone(view));
            }
            backing.buffer().clone()
        };
        let view = attach(core, &buffer, needed)?;
        let mut state = core.state(self.life)?;
        let resource = state.resources.same(self.resource, self.serial)?;
        let backing = resource.backing.as_mut();
        let before = match backing {
            Some(backing) if backing.buffer().id() == buffer.id() => {
                backing.view.replace(Arc::clone(&view))
            }
            _ => None,
        };
        drop(state);
        drop(before);
        Ok(view)
    }

    /// Lets go of memory that other devices may want for themselves, until the
    /// next transfer.
    fn let_go(&self, core: &Core) {
        let view = core.state(self.life).ok().and_then(|mut state| {
            let resource = state.resources.same(self.resource, self.serial).ok()?;
            let wanted = !resource.is_kept_mapped();
            wanted.then(|| resource.view.take()).flatten()
        });
        drop(view);
    }
}

fn attach(core: &Core, buffer: &Buffer, direction: Direction) -> Result<Arc<CpuImport>, Error> {
    let view = CpuImport::attach(buffer, "transfer", direction, core.tenant())?;
    Ok(Arc::new(view))
}
