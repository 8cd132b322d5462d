//! Every number of this crate against the kernel's header, as bindgen saw it
//! (crate `virtio-bindings`, module `virtio_gpu`). That header predates virtio
//! 1.4, so the number of `BLOB_ALIGNMENT` is from the specification.

use landbridge_protocol_gpu as gpu;
use virtio_bindings::virtio_gpu as uapi;

use gpu::{BlobFlags, BlobMem, CapsetId, CommandKind, ErrorCode, Features, Format, ResponseKind};

/// Pairs our `enum` with the kernel's names, and leaves no variant of ours out.
macro_rules! same_numbers {
    ($all:expr; $( $ours:path => $theirs:ident, )*) => {
        let pairs = [$( ($ours, uapi::$theirs) ),*];
        for (ours, theirs) in pairs {
            assert_eq!(ours as u32, theirs, "{ours:?}");
        }
        for ours in $all {
            assert!(pairs.iter().any(|pair| pair.0 == ours), "{ours:?} is not checked");
        }
    };
}

#[test]
fn command_types() {
    use CommandKind::*;
    same_numbers! { CommandKind::ALL.iter().copied();
        GetDisplayInfo => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
        ResourceCreate2d => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
        ResourceUnref => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_UNREF,
        SetScanout => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_SET_SCANOUT,
        ResourceFlush => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_FLUSH,
        TransferToHost2d => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
        ResourceAttachBacking => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
        ResourceDetachBacking => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
        GetCapsetInfo => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_GET_CAPSET_INFO,
        GetCapset => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_GET_CAPSET,
        GetEdid => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_GET_EDID,
        ResourceAssignUuid => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID,
        ResourceCreateBlob => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
        SetScanoutBlob => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_SET_SCANOUT_BLOB,
        CtxCreate => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_CTX_CREATE,
        CtxDestroy => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_CTX_DESTROY,
        CtxAttachResource => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,
        CtxDetachResource => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE,
        ResourceCreate3d => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
        TransferToHost3d => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D,
        TransferFromHost3d => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D,
        Submit3d => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_SUBMIT_3D,
        ResourceMapBlob => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB,
        ResourceUnmapBlob => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB,
        UpdateCursor => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_UPDATE_CURSOR,
        MoveCursor => virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_MOVE_CURSOR,
    }
}

#[test]
fn response_types() {
    use ResponseKind::*;
    same_numbers! { ResponseKind::ALL;
        OkNoData => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_NODATA,
        OkDisplayInfo => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_DISPLAY_INFO,
        OkCapsetInfo => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_CAPSET_INFO,
        OkCapset => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_CAPSET,
        OkEdid => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_EDID,
        OkResourceUuid => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_RESOURCE_UUID,
        OkMapInfo => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_MAP_INFO,
    }
}

#[test]
fn error_codes() {
    use ErrorCode::*;
    same_numbers! { ErrorCode::ALL;
        Unspecified => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_UNSPEC,
        OutOfMemory => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY,
        InvalidScanoutId => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID,
        InvalidResourceId => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID,
        InvalidContextId => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID,
        InvalidParameter => virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER,
    }
}

#[test]
fn formats() {
    use Format::*;
    same_numbers! { Format::ALL;
        B8G8R8A8 => virtio_gpu_formats_VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM,
        B8G8R8X8 => virtio_gpu_formats_VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
        A8R8G8B8 => virtio_gpu_formats_VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM,
        X8R8G8B8 => virtio_gpu_formats_VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM,
        R8G8B8A8 => virtio_gpu_formats_VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM,
        X8B8G8R8 => virtio_gpu_formats_VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM,
        A8B8G8R8 => virtio_gpu_formats_VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM,
        R8G8B8X8 => virtio_gpu_formats_VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM,
    }
}

#[test]
fn feature_bits() {
    for (ours, bit) in [
        (Features::VIRGL, uapi::VIRTIO_GPU_F_VIRGL),
        (Features::EDID, uapi::VIRTIO_GPU_F_EDID),
        (Features::RESOURCE_UUID, uapi::VIRTIO_GPU_F_RESOURCE_UUID),
        (Features::RESOURCE_BLOB, uapi::VIRTIO_GPU_F_RESOURCE_BLOB),
        (Features::CONTEXT_INIT, uapi::VIRTIO_GPU_F_CONTEXT_INIT),
        // Virtio 1.4, section 5.7.3.
        (Features::BLOB_ALIGNMENT, 5),
    ] {
        assert_eq!(ours.bits(), 1 << bit, "{ours:?}");
    }
}

#[test]
fn blob_numbers() {
    same_numbers! { [BlobMem::Guest, BlobMem::Host3d, BlobMem::Host3dGuest];
        BlobMem::Guest => VIRTIO_GPU_BLOB_MEM_GUEST,
        BlobMem::Host3d => VIRTIO_GPU_BLOB_MEM_HOST3D,
        BlobMem::Host3dGuest => VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST,
    }
    assert_eq!(
        BlobFlags::MAPPABLE.bits(),
        uapi::VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE
    );
    assert_eq!(
        BlobFlags::SHAREABLE.bits(),
        uapi::VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE
    );
    assert_eq!(
        BlobFlags::CROSS_DEVICE.bits(),
        uapi::VIRTIO_GPU_BLOB_FLAG_USE_CROSS_DEVICE
    );
}

#[test]
fn map_caching() {
    use gpu::MapCaching::{self, *};
    same_numbers! { (0..4).map(|value| MapCaching::try_from(value).unwrap());
        None => VIRTIO_GPU_MAP_CACHE_NONE,
        Cached => VIRTIO_GPU_MAP_CACHE_CACHED,
        Uncached => VIRTIO_GPU_MAP_CACHE_UNCACHED,
        WriteCombining => VIRTIO_GPU_MAP_CACHE_WC,
    }
}

#[test]
fn capsets() {
    for (ours, theirs) in [
        (CapsetId::VIRGL, uapi::VIRTIO_GPU_CAPSET_VIRGL),
        (CapsetId::VIRGL2, uapi::VIRTIO_GPU_CAPSET_VIRGL2),
        (
            CapsetId::GFXSTREAM_VULKAN,
            uapi::VIRTIO_GPU_CAPSET_GFXSTREAM_VULKAN,
        ),
        (CapsetId::VENUS, uapi::VIRTIO_GPU_CAPSET_VENUS),
        (CapsetId::CROSS_DOMAIN, uapi::VIRTIO_GPU_CAPSET_CROSS_DOMAIN),
        (CapsetId::DRM, uapi::VIRTIO_GPU_CAPSET_DRM),
    ] {
        assert_eq!(ours.0, theirs);
    }
    let every_bit = gpu::ContextInit(u32::MAX);
    assert_eq!(
        every_bit.capset_id().0,
        uapi::VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK
    );
}

#[test]
fn device_constants() {
    assert_eq!(gpu::DEVICE_ID, virtio_bindings::virtio_ids::VIRTIO_ID_GPU);
    assert_eq!(gpu::MAX_SCANOUTS, uapi::VIRTIO_GPU_MAX_SCANOUTS as usize);
    assert_eq!(
        u32::from(gpu::SHM_ID_HOST_VISIBLE),
        uapi::virtio_gpu_shm_id_VIRTIO_GPU_SHM_ID_HOST_VISIBLE
    );
    assert_eq!(gpu::Events::DISPLAY.bits(), uapi::VIRTIO_GPU_EVENT_DISPLAY);
    assert_eq!(gpu::HeaderFlags::FENCE.bits(), uapi::VIRTIO_GPU_FLAG_FENCE);
    assert_eq!(
        gpu::HeaderFlags::INFO_RING_IDX.bits(),
        uapi::VIRTIO_GPU_FLAG_INFO_RING_IDX
    );
    assert_eq!(
        gpu::Resource3dFlags::Y_0_TOP.bits(),
        uapi::VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP
    );
}
