//! The structures and their numbers (include/uapi/drm/{drm_mode,virtgpu_drm}.h).

/// `struct drm_mode_card_res`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct CardResources {
    pub(crate) fb_id_ptr: u64,
    pub(crate) crtc_id_ptr: u64,
    pub(crate) connector_id_ptr: u64,
    pub(crate) encoder_id_ptr: u64,
    pub(crate) count_fbs: u32,
    pub(crate) count_crtcs: u32,
    pub(crate) count_connectors: u32,
    pub(crate) count_encoders: u32,
    pub(crate) limits: [u32; 4],
}

impl CardResources {
    pub(crate) const OP: u32 = 0xc040_64a0;
}

/// `struct drm_mode_modeinfo`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct ModeInfo {
    pub(crate) clock: u32,
    pub(crate) horizontal: [u16; 5],
    pub(crate) vertical: [u16; 5],
    pub(crate) refresh: u32,
    pub(crate) flags: u32,
    pub(crate) kind: u32,
    pub(crate) name: [u8; 32],
}

/// `struct drm_mode_crtc`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct CrtcSet {
    pub(crate) set_connectors_ptr: u64,
    pub(crate) count_connectors: u32,
    pub(crate) crtc_id: u32,
    pub(crate) fb_id: u32,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) gamma_size: u32,
    pub(crate) mode_valid: u32,
    pub(crate) mode: ModeInfo,
}

impl CrtcSet {
    pub(crate) const OP: u32 = 0xc068_64a2;
}

/// `struct drm_mode_cursor`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct Cursor {
    pub(crate) flags: u32,
    pub(crate) crtc_id: u32,
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) handle: u32,
}

impl Cursor {
    pub(crate) const OP: u32 = 0xc01c_64a3;
    /// `DRM_MODE_CURSOR_BO`: the picture changes.
    pub(crate) const PICTURE: u32 = 1;
    /// `DRM_MODE_CURSOR_MOVE`: the place changes.
    pub(crate) const MOVE: u32 = 2;
}

/// `struct drm_mode_get_connector`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct GetConnector {
    pub(crate) encoders_ptr: u64,
    pub(crate) modes_ptr: u64,
    pub(crate) props_ptr: u64,
    pub(crate) prop_values_ptr: u64,
    pub(crate) count_modes: u32,
    pub(crate) count_props: u32,
    pub(crate) count_encoders: u32,
    pub(crate) encoder_id: u32,
    pub(crate) connector_id: u32,
    pub(crate) kind: u32,
    pub(crate) kind_id: u32,
    pub(crate) connection: u32,
    pub(crate) mm_width: u32,
    pub(crate) mm_height: u32,
    pub(crate) subpixel: u32,
    pub(crate) pad: u32,
}

impl GetConnector {
    pub(crate) const OP: u32 = 0xc050_64a7;
}

/// `struct drm_mode_get_property`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct GetProperty {
    pub(crate) values_ptr: u64,
    pub(crate) enum_blob_ptr: u64,
    pub(crate) prop_id: u32,
    pub(crate) flags: u32,
    pub(crate) name: [u8; 32],
    pub(crate) count_values: u32,
    pub(crate) count_enum_blobs: u32,
}

impl GetProperty {
    pub(crate) const OP: u32 = 0xc040_64aa;
}

/// `struct drm_mode_get_blob`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct GetPropertyBlob {
    pub(crate) blob_id: u32,
    pub(crate) length: u32,
    pub(crate) data: u64,
}

impl GetPropertyBlob {
    pub(crate) const OP: u32 = 0xc010_64ac;
}

/// `DRM_IOCTL_MODE_RMFB`, which takes a framebuffer's number.
pub(crate) const REMOVE_FRAMEBUFFER: u32 = 0xc004_64af;

/// `struct drm_mode_crtc_page_flip`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct PageFlip {
    pub(crate) crtc_id: u32,
    pub(crate) fb_id: u32,
    pub(crate) flags: u32,
    pub(crate) reserved: u32,
    pub(crate) user_data: u64,
}

impl PageFlip {
    pub(crate) const OP: u32 = 0xc018_64b0;
    /// `DRM_MODE_PAGE_FLIP_EVENT`.
    pub(crate) const EVENT: u32 = 1;
}

/// `struct drm_mode_fb_dirty_cmd`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct DirtyFramebuffer {
    pub(crate) fb_id: u32,
    pub(crate) flags: u32,
    pub(crate) color: u32,
    pub(crate) num_clips: u32,
    /// Always 0 here, with no clips.
    pub(crate) clips_ptr: u64,
}

impl DirtyFramebuffer {
    pub(crate) const OP: u32 = 0xc018_64b1;
}

/// `struct drm_mode_fb_cmd2`; the compiler's gap before the modifiers is spelled
/// out.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct AddFramebuffer {
    pub(crate) fb_id: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixel_format: u32,
    pub(crate) flags: u32,
    pub(crate) handles: [u32; 4],
    pub(crate) pitches: [u32; 4],
    pub(crate) offsets: [u32; 4],
    pub(crate) gap: u32,
    pub(crate) modifier: [u64; 4],
}

impl AddFramebuffer {
    pub(crate) const OP: u32 = 0xc068_64b8;
}

/// `struct drm_virtgpu_execbuffer`.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct Execbuffer {
    pub(crate) flags: u32,
    pub(crate) size: u32,
    pub(crate) command: u64,
    pub(crate) bo_handles: u64,
    pub(crate) num_bo_handles: u32,
    pub(crate) fence_fd: i32,
    pub(crate) ring_idx: u32,
    pub(crate) syncobj_stride: u32,
    pub(crate) num_in_syncobjs: u32,
    pub(crate) num_out_syncobjs: u32,
    pub(crate) in_syncobjs: u64,
    pub(crate) out_syncobjs: u64,
}

impl Execbuffer {
    pub(crate) const OP: u32 = 0xc040_6442;
    pub(crate) const FENCE_IN: u32 = 1;
    pub(crate) const FENCE_OUT: u32 = 2;
    pub(crate) const RING: u32 = 4;
}
