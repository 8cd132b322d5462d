//! What the device holds, for people.

use landbridge_exchange::BufferId;
use landbridge_protocol_gpu::{ContextName, Rect};
use uuid::Uuid;

use crate::core::Core;
use crate::image::Layout;
use crate::metrics::GpuMetrics;
use crate::resources::{Kind, Place, Resource};
use crate::scanouts::Scanout;

/// What the device holds: a snapshot.
#[derive(Debug, Clone)]
pub struct GpuStatus {
    /// Resources, by id.
    pub resources: Vec<ResourceStatus>,
    /// Scanouts, all of them.
    pub scanouts: Vec<ScanoutStatus>,
    /// Contexts, by id.
    pub contexts: Vec<ContextStatus>,
    /// Blobs in the host-visible window, for the guest.
    pub maps: usize,
    /// What is there besides: for the guest's next blobs.
    pub idle_maps: usize,
    /// Commands that wait for other users of a buffer.
    pub waiting: usize,
    /// Fenced commands that are not answered.
    pub fences: usize,
    /// What the device did.
    pub metrics: GpuMetrics,
}

/// One resource.
#[derive(Debug, Clone)]
pub struct ResourceStatus {
    /// The guest's id for it.
    pub id: u32,
    /// "2d", "guest blob", "host blob", "shadowed blob".
    pub kind: &'static str,
    /// Size in bytes.
    pub size: u64,
    /// The buffer with its bytes; `None` for a guest blob without backing.
    pub buffer: Option<BufferId>,
    /// The buffer's UUID.
    pub uuid: Option<Uuid>,
    /// How many guest-physical ranges back it.
    pub backing_ranges: Option<usize>,
    /// Where in the window it is mapped, in bytes.
    pub mapped_at: Option<u64>,
}

/// One scanout.
#[derive(Debug, Clone)]
pub struct ScanoutStatus {
    /// Its number.
    pub id: u32,
    /// What it shows: the resource, the picture in the buffer, and which part
    /// of the resource that is.
    pub shows: Option<(u32, Layout, Rect)>,
    /// Where its cursor is, if shown.
    pub cursor: Option<(i32, i32)>,
}

/// One context.
#[derive(Debug, Clone)]
pub struct ContextStatus {
    /// The guest's id for it.
    pub id: u32,
    /// The guest's name for it.
    pub name: ContextName,
    /// How many resources are attached.
    pub resources: usize,
}

impl Core {
    pub(crate) fn status(&self) -> GpuStatus {
        let state = self.any_state();
        let mut resources: Vec<_> = state.resources.iter().map(resource).collect();
        resources.sort_by_key(|resource| resource.id);
        let mut contexts: Vec<_> = state
            .contexts
            .iter()
            .map(|(id, name, resources)| ContextStatus {
                id,
                name: name.clone(),
                resources,
            })
            .collect();
        contexts.sort_by_key(|context| context.id);
        let scanouts = state.scanouts.iter().map(scanout).collect();
        let idle_maps = state.idle.len();
        drop(state);
        let maps = self.window.as_ref().map_or(0, |window| window.maps());
        GpuStatus {
            resources,
            scanouts,
            contexts,
            // The window was asked later, and may have fewer by then.
            maps: maps.saturating_sub(idle_maps),
            idle_maps,
            waiting: self.jobs.waiting(),
            fences: self.timelines.outstanding(),
            metrics: self.metrics.snapshot(),
        }
    }
}

fn resource((id, resource): (u32, &Resource)) -> ResourceStatus {
    let buffer = resource.memory(id).ok();
    ResourceStatus {
        id,
        kind: match &resource.kind {
            Kind::TwoD { .. } => "2d",
            Kind::Guest { .. } => "guest blob",
            Kind::Host { .. } => "host blob",
            Kind::Shadowed { .. } => "shadowed blob",
        },
        size: resource.size(),
        buffer: buffer.map(landbridge_exchange::Buffer::id),
        uuid: buffer.and_then(landbridge_exchange::Buffer::uuid),
        backing_ranges: resource
            .backing
            .as_ref()
            .map(crate::backing::Backing::ranges),
        mapped_at: match &resource.place {
            Place::Mapped { offset, .. } => Some(*offset),
            Place::None | Place::Busy => None,
        },
    }
}

fn scanout((id, scanout): (u32, &Scanout)) -> ScanoutStatus {
    ScanoutStatus {
        id,
        shows: scanout
            .shown
            .as_ref()
            .map(|shown| (shown.resource, *shown.image.layout(), shown.rect)),
        cursor: scanout
            .cursor
            .shape
            .is_some()
            .then_some(scanout.cursor.position),
    }
}
