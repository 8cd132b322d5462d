//! What the device says about itself: features, configuration, outputs, EDID,
//! capsets, contexts.

use landbridge_device::Device;
use landbridge_protocol_gpu::{
    Command, Config, ContextInit, ContextName, CtxCreate, ErrorCode, Features, GetEdid, Rect,
    ResourceRef, Response, Submit3d,
};

use crate::harness::*;

#[test]
fn virgl_is_offered_with_a_window_only() {
    let host = Features::from_bits_truncate(Rig::new().gpu.features());
    let guest = Features::from_bits_truncate(Rig::guest_import().gpu.features());
    assert_eq!(host - guest, Features::VIRGL | Features::CONTEXT_INIT);
    assert_eq!(
        guest,
        Features::EDID | Features::RESOURCE_UUID | Features::RESOURCE_BLOB
    );
}

#[test]
fn the_configuration_counts_scanouts_and_no_capset() {
    let rig = Rig::new();
    let config = Config::parse(&rig.gpu.config()).unwrap();
    assert_eq!((config.num_scanouts, config.num_capsets), (2, 0));
    rig.gpu.write_config(4, &[0xff; 4]);
    rig.gpu.write_config(u32::MAX, &[0; 64]);
    assert_eq!(Config::parse(&rig.gpu.config()).unwrap(), config);
    assert_eq!((rig.gpu.id(), rig.gpu.queues()), (16, 2));
}

#[test]
fn outputs_stand_side_by_side() {
    let rig = Rig::new();
    let Response::OkDisplayInfo(info) = rig.ask(&Command::GetDisplayInfo) else {
        panic!("no display info");
    };
    assert_eq!(info[0].rect, Rect::of_size(640, 480));
    assert!(info[0].enabled);
    assert_eq!((info[1].rect.x, info[1].rect.width), (640, 1920));
    assert!(!info[1].enabled);
    assert!(info[2..].iter().all(|mode| *mode == Default::default()));
}

#[test]
fn each_scanout_has_an_edid_of_its_own() {
    let rig = Rig::new();
    let edid = |scanout_id| match rig.ask(&Command::GetEdid(GetEdid { scanout_id })) {
        Response::OkEdid(edid) => edid.as_bytes().to_vec(),
        other => panic!("{other:?}"),
    };
    let (first, second) = (edid(0), edid(1));
    for edid in [&first, &second] {
        assert_eq!(edid.len(), 128);
        assert_eq!(
            edid.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)),
            0
        );
    }
    assert_ne!(first, second);
    rig.refused(
        ErrorCode::InvalidScanoutId,
        &Command::GetEdid(GetEdid { scanout_id: 2 }),
    );
}

fn create(init: u32) -> Command<'static> {
    Command::CtxCreate(CtxCreate {
        init: ContextInit(init),
        name: ContextName::new(b"glxgears").unwrap(),
    })
}

#[test]
fn contexts_hold_resources_by_name() {
    let rig = Rig::new();
    let resource = ResourceRef { resource_id: 1 };
    let attach = Command::CtxAttachResource(resource);
    let detach = Command::CtxDetachResource(resource);
    let ok = Response::OkNoData;
    let error = Response::Error;
    assert_eq!(rig.ask_in(3, &create(0)), ok);
    assert_eq!(
        rig.ask_in(3, &create(0)),
        error(ErrorCode::InvalidContextId)
    );
    assert_eq!(
        rig.ask_in(0, &create(0)),
        error(ErrorCode::InvalidContextId)
    );
    assert_eq!(
        rig.ask_in(4, &create(4)),
        error(ErrorCode::InvalidParameter)
    );
    assert_eq!(rig.ask_in(3, &attach), error(ErrorCode::InvalidResourceId));
    rig.ok(&host_blob(1, 4096));
    assert_eq!(rig.ask_in(2, &attach), error(ErrorCode::InvalidContextId));
    assert_eq!(rig.ask_in(3, &detach), error(ErrorCode::InvalidParameter));
    assert_eq!(rig.ask_in(3, &attach), ok);
    assert_eq!(rig.ask_in(3, &attach), ok, "once more is no error");
    let status = rig.gpu.status();
    assert_eq!(status.contexts[0].resources, 1);
    assert_eq!(status.contexts[0].name.to_string(), "glxgears");
    rig.ok(&unref(1));
    assert_eq!(rig.gpu.status().contexts[0].resources, 0);
    assert_eq!(rig.ask_in(3, &Command::CtxDestroy), ok);
    assert_eq!(
        rig.ask_in(3, &Command::CtxDestroy),
        error(ErrorCode::InvalidContextId)
    );
}

#[test]
fn destroying_a_context_leaves_its_resources_alone() {
    let rig = Rig::new();
    rig.ok(&host_blob(1, 4096));
    rig.ask(&map(1, 0));
    rig.ask_in(3, &create(0));
    rig.ask_in(
        3,
        &Command::CtxAttachResource(ResourceRef { resource_id: 1 }),
    );
    rig.ask_in(3, &Command::CtxDestroy);
    assert_eq!(rig.mapper.mapped(), [(0, 4096)]);
    rig.ok(&unmap(1));
}

#[test]
fn without_a_renderer_only_an_empty_stream_runs() {
    let rig = Rig::new();
    rig.ask_in(3, &create(0));
    let submit = |stream: &'static [u8]| {
        Command::Submit3d(Submit3d {
            stream: stream.into(),
        })
    };
    assert_eq!(rig.ask_in(3, &submit(b"")), Response::OkNoData);
    assert_eq!(
        rig.ask_in(3, &submit(b"draw")),
        Response::Error(ErrorCode::Unspecified)
    );
    assert_eq!(
        rig.ask_in(4, &submit(b"")),
        Response::Error(ErrorCode::InvalidContextId)
    );
}
