//! The embedded guest's virtio-gpu driver against our device, one command
//! family after another, through vhost-user.

use std::sync::Arc;

use landbridge_device_gpu::display::Event;
use landbridge_device_gpu::{FakeDisplay, GpuConfig, Mode, Output};
use landbridge_exchange::{Exchange, Limits, Tenant};
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, CapsetId, Command, Cursor, CursorPosition, ErrorCode, Format, MapCaching,
    Rect, Response,
};
use landbridge_transport::guest::gpu::{Gpu, NewBlob, Picture, Resource};
use landbridge_transport::guest::{Config, EmbeddedGuest};
use landbridge_transport::{Error, Link};

const PAGE: u64 = 4096;

fn start(mode: Mode) -> (Gpu, Arc<FakeDisplay>) {
    let outputs = vec![
        Output::new(640, 480).unwrap(),
        Output::new(320, 240).unwrap(),
    ];
    let tenant = Tenant::new("guest", Limits::default());
    start_with(GpuConfig::new(outputs, mode, tenant).unwrap())
}

fn start_with(config: GpuConfig) -> (Gpu, Arc<FakeDisplay>) {
    let link = Link::new();
    let display = Arc::new(FakeDisplay::default());
    let device = landbridge_device_gpu::Gpu::new(
        config,
        Exchange::new(),
        link.memory(),
        link.mapper(),
        Arc::clone(&display) as _,
    );
    let guest = EmbeddedGuest::start(Arc::new(device), link, Config::default()).unwrap();
    (Gpu::open(Arc::new(guest)), display)
}

fn host_visible() -> (Gpu, Arc<FakeDisplay>) {
    start(Mode::HostVisible { window: 1 << 20 })
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorCode {
    match result {
        Err(Error::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

fn shown(display: &FakeDisplay) -> Vec<u8> {
    let flushed = display
        .take()
        .into_iter()
        .rev()
        .find_map(|event| match event {
            Event::Flushed { pixels, .. } => pixels,
            _ => None,
        });
    flushed.expect("a picture was shown")
}

#[test]
fn a_blob_in_an_idle_map_is_zeroed_and_its_own() {
    let tenant = Tenant::new("guest", Limits::default());
    let outputs = vec![Output::new(64, 64).unwrap()];
    let mode = Mode::HostVisible { window: 1 << 20 };
    let config = GpuConfig::new(outputs, mode, tenant).unwrap();
    let (gpu, _display) = start_with(config.with_idle_maps(1));
    let context = gpu.create_context("test", CapsetId(0)).unwrap().id;
    let window = gpu.guest().window().unwrap();
    let mut maps = Vec::new();
    for _ in 0..3 {
        let blob = gpu.create_host_blob(context, 0, 4 * PAGE).unwrap();
        let mapping = gpu.map(&blob).unwrap();
        assert_eq!(mapping.caching(), MapCaching::Cached);
        assert_eq!(mapping.read(0, 4 * 4096).unwrap(), [0; 4 * 4096]);
        mapping.write(4096, b"bytes of the last blob").unwrap();
        gpu.unmap(mapping).unwrap();
        gpu.unref(&blob).unwrap();
        maps.push(window.maps());
    }
    assert_eq!(maps[0].len(), 1);
    assert!(
        maps.iter().all(|map| *map == maps[0]),
        "mapped once: {maps:?}"
    );
    // A guest that writes to what it unmapped writes nothing of anybody else.
    window.write(maps[0][0].offset, b"late").unwrap();
    let blob = gpu.create_host_blob(context, 0, 4 * PAGE).unwrap();
    assert_eq!(gpu.map(&blob).unwrap().read(0, 4).unwrap(), [0; 4]);
}

#[test]
fn displays_are_described() {
    let (gpu, _display) = host_visible();
    assert_eq!(gpu.config().unwrap().num_scanouts, 2);
    let info = gpu.display_info().unwrap();
    assert_eq!(info[0].rect, Rect::of_size(640, 480));
    assert!(info[0].enabled && info[1].enabled && !info[2].enabled);
    let edid = gpu.edid(1).unwrap();
    assert_eq!(edid.as_bytes()[..4], [0, 0xff, 0xff, 0xff]);
    assert!(gpu.edid(2).is_err());
}

#[test]
fn a_2d_resource_in_scattered_pages_is_shown() {
    let (gpu, display) = host_visible();
    let resource = gpu.create_2d(Format::R8G8B8A8, 64, 64).unwrap();
    let backing = gpu.scattered_backing(resource.size()).unwrap();
    assert_eq!(backing.entries().len(), 4);
    let pixels: Vec<u8> = (0..resource.size())
        .map(|i| ((i * 13) >> 4) as u8)
        .collect();
    backing.write(0, &pixels).unwrap();
    assert_eq!(backing.read(PAGE - 2, 4).unwrap(), pixels[4094..4098]);
    gpu.attach_backing(&resource, &backing).unwrap();
    gpu.transfer(&resource, resource.rect(), 0).unwrap();
    gpu.set_scanout(1, &resource, resource.rect()).unwrap();
    gpu.flush(&resource, resource.rect()).unwrap();
    assert!(shown(&display) == pixels);
    let cursor = Cursor {
        position: CursorPosition {
            scanout_id: 1,
            x: 5,
            y: 6,
        },
        resource_id: resource.id(),
        hot_x: 1,
        hot_y: 2,
    };
    gpu.update_cursor(cursor).unwrap();
    gpu.move_cursor(cursor).unwrap();
    gpu.disable_scanout(1).unwrap();
    gpu.detach_backing(&resource).unwrap();
    gpu.unref(&resource).unwrap();
    assert_eq!(code(gpu.unref(&resource)), ErrorCode::InvalidResourceId);
    assert_eq!(code(gpu.disable_scanout(2)), ErrorCode::InvalidScanoutId);
}

#[test]
fn a_host_blob_is_mapped_named_and_shown() {
    let (gpu, display) = host_visible();
    let blob = gpu.create_host_blob(0, 0, 4 * PAGE).unwrap();
    let mapping = gpu.map(&blob).unwrap();
    assert_eq!(mapping.caching(), MapCaching::Cached);
    let pixels: Vec<u8> = (0..mapping.len()).map(|i| ((i * 11) >> 3) as u8).collect();
    mapping.write(0, &pixels).unwrap();
    mapping
        .with(|view| assert_eq!(view.read_at::<u8>(100).unwrap(), pixels[100]))
        .unwrap();
    let picture = Picture {
        format: Format::R8G8B8A8,
        width: 64,
        height: 64,
        stride: 256,
        offset: 0,
    };
    gpu.set_scanout_blob(0, &blob, picture).unwrap();
    gpu.flush(&blob, Rect::of_size(64, 64)).unwrap();
    assert!(shown(&display) == pixels);
    assert_eq!(gpu.guest().window().unwrap().maps().len(), 1);
    gpu.unmap(mapping).unwrap();
    assert_eq!(gpu.guest().window().unwrap().maps(), []);
    gpu.disable_scanout(0).unwrap();
    let named = gpu
        .create_blob(&NewBlob {
            mem: BlobMem::Host3d,
            flags: BlobFlags::MAPPABLE | BlobFlags::SHAREABLE | BlobFlags::CROSS_DEVICE,
            blob_id: 0,
            size: PAGE,
            ctx_id: 0,
            backing: None,
        })
        .unwrap();
    let uuid = gpu.assign_uuid(&named).unwrap();
    assert!(!uuid.is_nil());
    for blob in [blob, named] {
        gpu.unref(&blob).unwrap();
    }
}

#[test]
fn mappings_share_the_window_and_give_their_place_back() {
    let (gpu, _display) = host_visible();
    for _ in 0..3 {
        let blobs: Vec<_> = (0..4)
            .map(|_| gpu.create_host_blob(0, 0, 64 * PAGE).unwrap())
            .collect();
        let mappings: Vec<_> = blobs.iter().map(|blob| gpu.map(blob).unwrap()).collect();
        let one_more = gpu.create_host_blob(0, 0, PAGE).unwrap();
        assert!(matches!(gpu.map(&one_more), Err(Error::GuestFull { .. })));
        assert!(gpu.map_at(&one_more, 0).is_err(), "the device sees it too");
        for (i, mapping) in mappings.iter().enumerate() {
            mapping.write(0, &[i as u8]).unwrap();
        }
        for (i, mapping) in mappings.into_iter().enumerate() {
            assert_eq!(mapping.read(0, 1).unwrap(), [i as u8]);
            gpu.unmap(mapping).unwrap();
        }
        for blob in blobs.iter().chain([&one_more]) {
            gpu.unref(blob).unwrap();
        }
    }
}

#[test]
fn a_guest_blob_is_shown_from_the_guests_own_pages() {
    for mode in [Mode::HostVisible { window: 1 << 20 }, Mode::GuestImport] {
        let (gpu, display) = start(mode);
        let backing = gpu.scattered_backing(4 * PAGE).unwrap();
        let blob = gpu.create_guest_blob(&backing).unwrap();
        let picture = Picture {
            format: Format::R8G8B8A8,
            width: 64,
            height: 64,
            stride: 256,
            offset: 0,
        };
        gpu.set_scanout_blob(0, &blob, picture).unwrap();
        for round in 0..3u8 {
            let pixels = vec![round; 4 * PAGE as usize];
            backing.write(0, &pixels).unwrap();
            gpu.flush(&blob, Rect::of_size(64, 64)).unwrap();
            assert!(shown(&display) == pixels);
        }
        gpu.disable_scanout(0).unwrap();
        gpu.unref(&blob).unwrap();
    }
}

#[test]
fn contexts_and_capsets_answer() {
    let (gpu, _display) = host_visible();
    let context = gpu.create_context("test", CapsetId(0)).unwrap();
    let blob = gpu.create_host_blob(0, 0, PAGE).unwrap();
    gpu.attach(&context, &blob).unwrap();
    gpu.detach(&context, &blob).unwrap();
    gpu.destroy_context(&context).unwrap();
    let gone = gpu.destroy_context(&context);
    assert_eq!(code(gone), ErrorCode::InvalidContextId);
    assert_eq!(gpu.config().unwrap().num_capsets, 0);
    assert!(gpu.capset(CapsetId::VENUS, 0, 4096).is_err());
    gpu.unref(&blob).unwrap();
}

#[test]
fn fences_come_back_and_bytes_that_are_no_command_are_answered() {
    let (gpu, _display) = host_visible();
    let commands: Vec<_> = (0..20)
        .map(|_| {
            gpu.begin(gpu.fence(), &Command::GetDisplayInfo, 1024)
                .unwrap()
        })
        .collect();
    for command in commands {
        assert!(matches!(command.wait(), Ok(Response::OkDisplayInfo(_))));
    }
    let answer = gpu.send_bytes(&[0xee; 24], 64).unwrap();
    let (_, response) = Response::parse(&answer).unwrap();
    assert_eq!(response, Response::Error(ErrorCode::Unspecified));
}

#[test]
fn a_rebound_driver_finds_a_new_device() {
    let (gpu, _display) = host_visible();
    for reset in [EmbeddedGuest::rebind, EmbeddedGuest::reset] {
        let blob = gpu.create_host_blob(0, 0, PAGE).unwrap();
        gpu.map_at(&blob, 0).unwrap();
        reset(gpu.guest()).unwrap();
        assert_eq!(code(gpu.unref(&blob)), ErrorCode::InvalidResourceId);
        let again = gpu.create_host_blob(0, 0, PAGE).unwrap();
        gpu.map_at(&again, 0).unwrap();
        gpu.unmap_blob(&again).unwrap();
        gpu.unref(&again).unwrap();
    }
}
