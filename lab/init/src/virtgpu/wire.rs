//! The structures and their numbers (include/uapi/drm/{drm_mode,virtgpu_drm}.h).

/// `struct drm_mode_card_res`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct CardResources {
    pub(super) fb_id_ptr: u64,
    pub(super) crtc_id_ptr: u64,
    pub(super) connector_id_ptr: u64,
    pub(super) encoder_id_ptr: u64,
    pub(super) count_fbs: u32,
    pub(super) count_crtcs: u32,
    pub(super) count_connectors: u32,
    pub(super) count_encoders: u32,
    pub(super) limits: [u32; 4],
}

impl CardResources {
    pub(super) const OP: u32 = 0xc040_64a0;
}

/// `struct drm_mode_modeinfo`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct ModeInfo {
    pub(super) clock: u32,
    pub(super) horizontal: [u16; 5],
    pub(super) vertical: [u16; 5],
    pub(super) refresh: u32,
    pub(super) flags: u32,
    pub(super) kind: u32,
    pub(super) name: [u8; 32],
}

/// `struct drm_mode_crtc`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct CrtcSet {
    pub(super) set_connectors_ptr: u64,
    pub(super) count_connectors: u32,
    pub(super) crtc_id: u32,
    pub(super) fb_id: u32,
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) gamma_size: u32,
    pub(super) mode_valid: u32,
    pub(super) mode: ModeInfo,
}

impl CrtcSet {
    pub(super) const OP: u32 = 0xc068_64a2;
}

/// `struct drm_mode_cursor`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct Cursor {
    pub(super) flags: u32,
    pub(super) crtc_id: u32,
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) handle: u32,
}

impl Cursor {
    pub(super) const OP: u32 = 0xc01c_64a3;
    /// `DRM_MODE_CURSOR_BO`: the picture changes.
    pub(super) const PICTURE: u32 = 1;
    /// `DRM_MODE_CURSOR_MOVE`: the place changes.
    pub(super) const MOVE: u32 = 2;
}

/// `struct drm_mode_get_connector`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct GetConnector {
    pub(super) encoders_ptr: u64,
    pub(super) modes_ptr: u64,
    pub(super) props_ptr: u64,
    pub(super) prop_values_ptr: u64,
    pub(super) count_modes: u32,
    pub(super) count_props: u32,
    pub(super) count_encoders: u32,
    pub(super) encoder_id: u32,
    pub(super) connector_id: u32,
    pub(super) kind: u32,
    pub(super) kind_id: u32,
    pub(super) connection: u32,
    pub(super) mm_width: u32,
    pub(super) mm_height: u32,
    pub(super) subpixel: u32,
    pub(super) pad: u32,
}

impl GetConnector {
    pub(super) const OP: u32 = 0xc050_64a7;
}

/// `struct drm_mode_get_property`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct GetProperty {
    pub(super) values_ptr: u64,
    pub(super) enum_blob_ptr: u64,
    pub(super) prop_id: u32,
    pub(super) flags: u32,
    pub(super) name: [u8; 32],
    pub(super) count_values: u32,
    pub(super) count_enum_blobs: u32,
}

impl GetProperty {
    pub(super) const OP: u32 = 0xc040_64aa;
}

/// `struct drm_mode_get_blob`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct GetPropertyBlob {
    pub(super) blob_id: u32,
    pub(super) length: u32,
    pub(super) data: u64,
}

impl GetPropertyBlob {
    pub(super) const OP: u32 = 0xc010_64ac;
}

/// `DRM_IOCTL_MODE_RMFB`, which takes a framebuffer's number.
pub(super) const REMOVE_FRAMEBUFFER: u32 = 0xc004_64af;

/// `struct drm_mode_crtc_page_flip`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct PageFlip {
    pub(super) crtc_id: u32,
    pub(super) fb_id: u32,
    pub(super) flags: u32,
    pub(super) reserved: u32,
    pub(super) user_data: u64,
}

impl PageFlip {
    pub(super) const OP: u32 = 0xc018_64b0;
    /// `DRM_MODE_PAGE_FLIP_EVENT`.
    pub(super) const EVENT: u32 = 1;
}

/// `struct drm_mode_fb_dirty_cmd`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct DirtyFramebuffer {
    pub(super) fb_id: u32,
    pub(super) flags: u32,
    pub(super) color: u32,
    pub(super) num_clips: u32,
    /// Always 0 here, with no clips.
    pub(super) clips_ptr: u64,
}

impl DirtyFramebuffer {
    pub(super) const OP: u32 = 0xc018_64b1;
}

/// `struct drm_mode_fb_cmd2`; the compiler's gap before the modifiers is spelled
/// out.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct AddFramebuffer {
    pub(super) fb_id: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixel_format: u32,
    pub(super) flags: u32,
    pub(super) handles: [u32; 4],
    pub(super) pitches: [u32; 4],
    pub(super) offsets: [u32; 4],
    pub(super) gap: u32,
    pub(super) modifier: [u64; 4],
}

impl AddFramebuffer {
    pub(super) const OP: u32 = 0xc068_64b8;
}

/// `struct drm_virtgpu_execbuffer`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(super) struct Execbuffer {
    pub(super) flags: u32,
    pub(super) size: u32,
    pub(super) command: u64,
    pub(super) bo_handles: u64,
    pub(super) num_bo_handles: u32,
    pub(super) fence_fd: i32,
    pub(super) ring_idx: u32,
    pub(super) syncobj_stride: u32,
    pub(super) num_in_syncobjs: u32,
    pub(super) num_out_syncobjs: u32,
    pub(super) in_syncobjs: u64,
    pub(super) out_syncobjs: u64,
}

impl Execbuffer {
    pub(super) const OP: u32 = 0xc040_6442;
    pub(super) const FENCE_IN: u32 = 1;
    pub(super) const FENCE_OUT: u32 = 2;
    pub(super) const RING: u32 = 4;
}
