//! Blobs of what the host offers.

use landbridge_device_gpu::NotOffered;
use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{Memfd, Storage};
use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::terms::Offer;
use landbridge_exchange::{Buffer, Caching, CachingSource, KnownCaching};
use landbridge_protocol_gpu::{
    BlobFlags, BlobMem, Command, ErrorCode, MapCaching, MemEntry, ResourceCreateBlob, Response,
};

use crate::harness::{LOW, Rig, assign_uuid, map, unmap, unref};

fn object(rig: &Rig, caching: Option<Caching>) -> Buffer {
    let memfd = Memfd::create("host object", 8192, Options::default()).unwrap();
    let offer = Offer {
        caching: caching.map(|caching| KnownCaching {
            caching,
            source: CachingSource::Operator,
        }),
        ..FakeExporter::EVERYTHING
    };
    let exporter = FakeExporter::with_storage(Storage::from_memfd(memfd).unwrap(), offer);
    rig.exchange.publish(exporter, &rig.tenant).unwrap()
}

fn blob_of(mem: BlobMem, blob_id: u64, size: u64, entries: &[MemEntry]) -> Command<'_> {
    Command::ResourceCreateBlob(ResourceCreateBlob {
        resource_id: 1,
        mem,
        flags: BlobFlags::all(),
        blob_id,
        size,
        entries: entries.into(),
    })
}

#[test]
fn the_guest_is_told_the_hosts_caching_and_never_nothing() {
    let rig = Rig::new();
    let objects = rig.gpu.host_objects();
    for (caching, expected) in [
        (Some(Caching::WriteBack), Some(MapCaching::Cached)),
        (
            Some(Caching::WriteCombining),
            Some(MapCaching::WriteCombining),
        ),
        (Some(Caching::Uncached), Some(MapCaching::Uncached)),
        (None, None),
    ] {
        let buffer = object(&rig, caching);
        let blob_id = objects.offer(None, buffer.clone()).unwrap();
        rig.ok(&blob_of(BlobMem::Host3d, blob_id, 8192, &[]));
        assert_eq!(rig.buffer(1).id(), buffer.id(), "the very same");
        match (rig.ask(&map(1, 0)), expected) {
            (Response::OkMapInfo(told), Some(expected)) => {
                assert_eq!(told, expected);
                rig.ok(&unmap(1));
            }
            (Response::Error(ErrorCode::InvalidParameter), None) => {}
            (other, expected) => panic!("{other:?} rather than {expected:?}"),
        }
        rig.ok(&unref(1));
    }
}

#[test]
fn an_object_is_the_hosts() {
    let rig = Rig::new();
    let objects = rig.gpu.host_objects();
    let buffer = object(&rig, Some(Caching::WriteBack));
    let uuid = buffer.assign_uuid().unwrap();
    assert_eq!(objects.offer(Some(9), buffer.clone()), Ok(9));
    rig.ok(&blob_of(BlobMem::Host3d, 9, 8192, &[]));
    assert_eq!(rig.ask(&assign_uuid(1)), Response::OkResourceUuid(uuid));
    rig.reset();
    rig.ok(&blob_of(BlobMem::Host3d, 9, 8192, &[]));
    assert_eq!(objects.withdraw(9).map(|it| it.id()), Some(buffer.id()));
    assert!(objects.withdraw(9).is_none() && objects.get(9).is_none());
    assert!(
        matches!(rig.ask(&map(1, 0)), Response::OkMapInfo(_)),
        "what the guest made of it stays"
    );
    rig.ok(&unref(1));
    drop(buffer);
    rig.assert_empty();
}

#[test]
fn numbers_name_one_buffer_each() {
    let rig = Rig::new();
    let objects = rig.gpu.host_objects();
    let buffer = object(&rig, None);
    let offer = |blob_id| objects.offer(blob_id, buffer.clone());
    assert_eq!(offer(Some(0)), Err(NotOffered::Reserved));
    assert_eq!(offer(Some(5)), Ok(5));
    assert_eq!(offer(None), Ok(6));
    assert_eq!(offer(Some(5)), Err(NotOffered::Taken(5)));
    assert_eq!(offer(Some(u64::MAX)), Ok(u64::MAX));
    assert_eq!(offer(None), Err(NotOffered::Taken(u64::MAX)));
    let numbers: Vec<u64> = objects.all().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [5, 6, u64::MAX]);
}

#[test]
fn only_all_of_an_object_that_is_there_becomes_a_blob() {
    let rig = Rig::new();
    let buffer = object(&rig, Some(Caching::WriteBack));
    rig.gpu.host_objects().offer(Some(9), buffer).unwrap();
    let backing = [MemEntry::new(LOW, 8192)];
    for refused in [
        blob_of(BlobMem::Host3d, 8, 8192, &[]),
        blob_of(BlobMem::Host3d, 9, 4096, &[]),
        blob_of(BlobMem::Host3d, 9, 16384, &[]),
        blob_of(BlobMem::Host3d, u64::MAX, 8192, &[]),
        blob_of(BlobMem::Host3dGuest, 9, 8192, &backing),
    ] {
        rig.refused(ErrorCode::InvalidParameter, &refused);
    }
    rig.assert_alive();
}
