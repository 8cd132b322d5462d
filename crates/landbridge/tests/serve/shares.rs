//! Memory of this host that programs share with a guest.

use std::os::fd::{AsFd, OwnedFd};

use landbridge::control::Client;
use landbridge::control::protocol::{Code, Problem, ShareArguments, UnshareArguments};
use landbridge::control::status::ShareStatus;
use landbridge::serve::settings::CachingName;
use landbridge_dmabuf::memfd::Options;
use landbridge_dmabuf::{Access, Mapping, Memfd};
use landbridge_protocol_gpu::{CapsetId, Format, MapCaching, Rect};
use landbridge_transport::guest::gpu::Picture;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::daemon::{Daemon, refused, shared_blob};

const SIZE: u64 = 64 << 10;

fn memfd() -> Memfd {
    Memfd::create("a camera's frame", SIZE, Options::default()).unwrap()
}

/// A daemon that goes by rules, whatever the kernel would let it see.
fn by_rules(more: &[&str]) -> Daemon {
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let arguments = [&["--caching-from", "rules"], more].concat();
    Daemon::start_in(&dir, 1, &arguments)
}

fn share(
    daemon: &Daemon,
    arguments: &ShareArguments,
    memory: impl AsFd,
) -> Result<ShareStatus, Problem> {
    let mut client = Client::connect(&daemon.path("control.sock")).unwrap();
    let shared = client.share(arguments, memory);
    shared.map_err(|error| error.downcast().expect("an answer"))
}

#[test]
fn a_guest_maps_and_shows_memory_of_the_host() {
    let daemon = by_rules(&[]);
    let memory = memfd();
    let asked = ShareArguments {
        blob_id: Some(7),
        ..ShareArguments::default()
    };
    let shared = share(&daemon, &asked, &memory).unwrap();
    assert_eq!((shared.blob_id, shared.size), (7, SIZE));
    assert_eq!(shared.caching.as_deref(), Some("write-back"));
    assert!(shared.caching_source.unwrap().starts_with("rule: "));

    let gpu = daemon.guest(0);
    let context = gpu.create_context("test", CapsetId(0)).unwrap().id;
    assert!(gpu.create_host_blob(context, 8, SIZE).is_err(), "no such");
    for size in [SIZE / 2, SIZE * 2] {
        assert!(gpu.create_host_blob(context, 7, size).is_err(), "{size}");
    }
    let blob = gpu.create_host_blob(context, 7, SIZE).unwrap();
    let mapping = gpu.map(&blob).unwrap();
    assert_eq!(mapping.caching(), MapCaching::Cached);
    let ours = Mapping::whole(&memory, Access::ReadWrite).unwrap();
    ours.view().write_at(4096, 0x11u8).unwrap();
    let seen = mapping.read(4096, 1).unwrap();
    assert_eq!(seen, [0x11], "the guest sees what the host wrote");
    mapping.write(0, &[0xff; 4]).unwrap();
    assert_eq!(ours.view().read_at::<u8>(0).unwrap(), 0xff, "and back");

    let picture = Picture {
        format: Format::B8G8R8X8,
        width: 64,
        height: 16,
        stride: 256,
        offset: 0,
    };
    gpu.set_scanout_blob(0, &blob, picture).unwrap();
    gpu.flush(&blob, Rect::of_size(64, 16)).unwrap();
    assert_eq!(daemon.screenshot(&[]).2[..4], [0xff; 4]);

    let status = daemon.status();
    assert_eq!(status.copied_bytes, 0);
    assert_eq!(status.shares.len(), 1);
    assert_eq!(status.buffers[0].uuid.as_ref(), Some(&shared.uuid));
    assert_eq!(status.buffers[0].exporter, "shared memfd");
    assert_eq!(
        status.buffers[0].origin.as_deref(),
        Some("a camera's frame")
    );

    let end = UnshareArguments {
        device: 0,
        blob_id: 7,
    };
    let mut client = Client::connect(&daemon.path("control.sock")).unwrap();
    assert!(client.unshare(end).unwrap().in_use, "the guest has it");
    assert!(gpu.create_host_blob(context, 7, SIZE).is_err(), "no more");
    assert_eq!(mapping.read(4096, 1).unwrap(), [0x11], "and keeps it");
    let error = client.unshare(end).unwrap_err().downcast::<Problem>();
    assert_eq!(error.unwrap().code, Code::NoSuchShare);
    drop((mapping, gpu));
    daemon.wait_until_idle(0);
    assert!(daemon.status().buffers.is_empty(), "released");
}

#[test]
fn a_share_outlives_guests_and_the_same_memory_is_one_buffer() {
    let daemon = by_rules(&[]);
    let memory = memfd();
    let first = share(&daemon, &ShareArguments::default(), &memory).unwrap();
    let again = share(&daemon, &ShareArguments::default(), &memory).unwrap();
    assert_eq!((first.blob_id, again.blob_id), (1, 2));
    assert_eq!((first.buffer, &first.uuid), (again.buffer, &again.uuid));
    let charges = daemon.status().guests.remove(0).charges;
    let bytes = charges.iter().find(|charge| charge.of == "bytes").unwrap();
    assert_eq!(bytes.used, SIZE, "paid once");
    for _ in 0..2 {
        let gpu = daemon.guest(0);
        let blob = gpu.create_host_blob(0, 2, SIZE).unwrap();
        drop(gpu.map(&blob).unwrap());
        drop(gpu);
        daemon.wait_until_idle(0);
    }
    assert_eq!(daemon.status().shares.len(), 2);
}

/// What `share` promises and what `revoke` does are one.
#[test]
fn shared_memory_is_taken_from_the_guest_and_stays_its_owners() {
    let daemon = by_rules(&[]);
    let memory = memfd();
    let shared = share(&daemon, &ShareArguments::default(), &memory).unwrap();
    let ours = Mapping::whole(&memory, Access::ReadWrite).unwrap();
    ours.view().write_at(0, 0x5au8).unwrap();
    let gpu = daemon.guest(0);
    let blob = gpu.create_host_blob(0, shared.blob_id, SIZE).unwrap();
    let mapping = gpu.map(&blob).unwrap();
    assert_eq!(mapping.read(0, 1).unwrap(), [0x5a]);
    let buffer = daemon.status().buffers.remove(0);
    assert_eq!(buffer.model, "revocable, restorable");

    let revoked = daemon.ask(&["revoke", &shared.uuid]);
    assert!(revoked.status.success(), "{revoked:?}");
    let read = std::iter::repeat_with(|| mapping.read(0, 1)).find_map(Result::ok);
    assert_eq!(read.unwrap(), [0], "the guest has zero pages");
    mapping.write(0, &[0x77]).unwrap();
    assert_eq!(
        ours.view().read_at::<u8>(0).unwrap(),
        0x5a,
        "the owner its own"
    );
    ours.view().write_at(0, 0x5bu8).unwrap();
    assert_eq!(mapping.read(0, 1).unwrap(), [0x77]);

    let restored = daemon.ask(&["restore", &shared.uuid]);
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(mapping.read(0, 1).unwrap(), [0x5b], "and now both have it");
}

#[test]
fn what_nobody_knows_is_as_the_operator_says() {
    // A memfd's caching is known by rule, which is an estimate: the operator may
    // know better.
    let daemon = by_rules(&["--unknown-caching", "write-combining"]);
    assert_eq!(
        daemon.status().unknown_caching.as_deref(),
        Some("write-combining")
    );
    let gpu = daemon.guest(0);
    for (caching, expected) in [
        (CachingName::WriteCombining, MapCaching::WriteCombining),
        (CachingName::Uncached, MapCaching::Uncached),
        (CachingName::WriteBack, MapCaching::Cached),
    ] {
        let asked = ShareArguments {
            caching: Some(caching),
            ..ShareArguments::default()
        };
        let shared = share(&daemon, &asked, memfd()).unwrap();
        assert_eq!(shared.caching_source.as_deref(), Some("operator"));
        let blob = gpu.create_host_blob(0, shared.blob_id, SIZE).unwrap();
        let mapping = gpu.map(&blob).unwrap();
        assert_eq!(mapping.caching(), expected);
        gpu.unmap(mapping).unwrap();
    }
    let plain = shared_blob(&gpu, 0, 4096).unwrap();
    assert_eq!(gpu.map(&plain).unwrap().caching(), MapCaching::Cached);
}

#[test]
fn one_memory_has_one_caching() {
    let daemon = by_rules(&[]);
    let memory = memfd();
    let first = share(&daemon, &ShareArguments::default(), &memory).unwrap();
    assert_eq!(first.caching.as_deref(), Some("write-back"));
    let asked = ShareArguments {
        caching: Some(CachingName::Uncached),
        ..ShareArguments::default()
    };
    let problem = share(&daemon, &asked, &memory).unwrap_err();
    assert_eq!(problem.code, Code::NotShareable);
    assert!(problem.message.contains("write-back"), "{problem}");
}

#[test]
fn what_cant_be_shared_is_told_why() {
    let daemon = by_rules(&[]);
    let asked = ShareArguments::default();
    let said = |memory: OwnedFd| {
        let problem = share(&daemon, &asked, memory).unwrap_err();
        assert_eq!(problem.code, Code::NotShareable, "{problem}");
        problem.message
    };
    let unsealed = memfd_create("unsealed", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&unsealed, SIZE).unwrap();
    assert!(said(unsealed).contains("may shrink"));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(said(file.into()).contains("neither a dma-buf nor a memfd"));

    let with = |change: fn(&mut ShareArguments)| {
        let mut asked = ShareArguments::default();
        change(&mut asked);
        share(&daemon, &asked, memfd()).unwrap_err().code
    };
    assert_eq!(with(|it| it.device = 1), Code::NoSuchDevice);
    assert_eq!(with(|it| it.blob_id = Some(0)), Code::Taken);
    assert_eq!(with(|it| it.uuid = Some("x".into())), Code::BadArguments);
    let nil = "00000000-0000-0000-0000-000000000000";
    let problem = ShareArguments {
        uuid: Some(nil.to_owned()),
        ..ShareArguments::default()
    };
    let problem = share(&daemon, &problem, memfd()).unwrap_err();
    assert_eq!(problem.code, Code::Taken);
    assert!(daemon.status().buffers.is_empty(), "nothing is kept");
}

#[test]
fn the_commands_say_what_they_did() {
    let daemon = by_rules(&[]);
    let run = |arguments: &[&str], memory: Memfd| {
        let mut command = crate::daemon::landbridge();
        command.args(arguments).args(["--control", "control.sock"]);
        command.stdin(OwnedFd::from(memory));
        let output = command.current_dir(daemon.dir().path()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (status, said) = run(&["share", "--fd", "0", "--blob-id", "3"], memfd());
    assert_eq!(status, Some(0));
    assert!(said.starts_with("blob id 3 of device 0: 64KiB"), "{said}");
    let (status, _) = run(&["share", "--fd", "0", "--blob-id", "3"], memfd());
    assert_eq!(status, Some(1), "taken");
    let (status, said) = run(&["unshare", "--blob-id", "3", "--json"], memfd());
    assert_eq!((status, said.trim()), (Some(0), r#"{"in_use":false}"#));
    let refused = refused(daemon.dir().path(), &["--caching-from", "hearsay"]);
    assert_eq!(refused.0, Some(2));
}
