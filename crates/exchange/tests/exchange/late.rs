//! Those who come late, or answer late, reach no memory that is away.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landbridge_dmabuf::{Access, Bracketed, Identity, Storage};
use landbridge_exchange::exporters::host_memory::{HostMemory, Kind};
use landbridge_exchange::importers::window::PAGE;
use landbridge_exchange::importers::window::fake::Call;
use landbridge_exchange::ranges::{GuestPhysical, RangeList};
use landbridge_exchange::terms::{MemoryModel, Offer};
use landbridge_exchange::{Buffer, Error, Exporter};

use crate::scene::{LONG, Scene};

const SOON: Duration = Duration::from_millis(20);

/// Who asks the exporter next says so, and waits until he may go on.
type Stop = (Sender<()>, Receiver<()>);

/// Memory whose exporter takes its time when it is asked for a descriptor.
struct Slow {
    memory: HostMemory,
    stop: Arc<Mutex<Option<Stop>>>,
}

impl Slow {
    fn publish(scene: &Scene) -> (Buffer, Arc<Mutex<Option<Stop>>>) {
        let memory = HostMemory::allocate("slow", PAGE, Kind::Memfd).unwrap();
        let stop = Arc::default();
        let slow = Self {
            memory: memory.of_model(MemoryModel::Revocable { restorable: true }),
            stop: Arc::clone(&stop),
        };
        (scene.exchange.publish(slow, &scene.tenant).unwrap(), stop)
    }
}

/// Stops the next who asks: when he is there, and how he goes on.
fn stop_next(stop: &Mutex<Option<Stop>>) -> (Receiver<()>, Sender<()>) {
    let (arrives, arrived) = channel();
    let (go, may_go) = channel();
    *stop.lock().unwrap() = Some((arrives, may_go));
    (arrived, go)
}

impl Exporter for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn offer(&self) -> Offer {
        self.memory.offer()
    }

    fn identity(&self) -> Option<Identity> {
        self.memory.identity()
    }

    fn map(&self, access: Access) -> Result<Bracketed, Error> {
        self.memory.map(access)
    }

    fn storage(&self) -> Option<Storage> {
        let stop = self.stop.lock().unwrap().take();
        if let Some((arrives, may_go)) = stop {
            arrives.send(()).unwrap();
            may_go.recv().unwrap();
        }
        self.memory.storage()
    }

    fn ranges(&self) -> Option<&RangeList<GuestPhysical>> {
        None
    }

    fn revoke(&self, held: &[String]) -> Result<(), Error> {
        self.memory.revoke(held)
    }
}

/// It came in before the revocation, which did not wait for it, and gets nothing
/// of what the revocation leaves for a restoration.
#[test]
fn a_map_that_lends_after_the_revocation_gets_nothing() {
    let scene = Scene::new();
    let (buffer, stop) = Slow::publish(&scene);
    std::thread::scope(|scope| {
        let (arrived, go) = stop_next(&stop);
        let mapping = scope.spawn(|| scene.window.map(&buffer, 0, &scene.tenant));
        arrived.recv().unwrap();
        assert_eq!(buffer.importers().len(), 1, "it came in");
        buffer.revoke(SOON).unwrap();
        go.send(()).unwrap();
        let error = mapping.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Revoked { .. }), "{error}");
    });
    assert_eq!(scene.mapper.calls(), [], "the VMM got memory that is away");
    assert_eq!(scene.window.maps(), 0);
    buffer.restore(LONG).unwrap();
    scene.window.map(&buffer, 0, &scene.tenant).unwrap();
}

/// It was to be mapped again by a restoration that did not wait for it.
#[test]
fn a_window_that_follows_after_the_next_revocation_waits_for_the_next_restoration() {
    let scene = Scene::new();
    let (buffer, stop) = Slow::publish(&scene);
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    buffer.revoke(LONG).unwrap();
    let (arrived, go) = stop_next(&stop);
    buffer.restore(SOON).unwrap();
    arrived.recv().unwrap();
    buffer.revoke(SOON).unwrap();
    let calls = scene.mapper.calls().len();
    go.send(()).unwrap();
    // It is asked in order, so that the answer to this says that it was there.
    buffer.restore(LONG).unwrap();
    assert!(mapping.is_mapped());
    // The rest of what it was asked is of zero pages.
    let got = scene.mapper.calls().into_iter().skip(calls);
    let memory = buffer.identity();
    let got = got.filter(|call| matches!(call, Call::Map { file, .. } if *file == memory));
    assert_eq!(got.count(), 1, "the VMM got memory that was away");
}

#[test]
fn a_revocation_without_a_deadline_waits_for_the_vmm() {
    let scene = Scene::new();
    let (buffer, _) = Slow::publish(&scene);
    let before = buffer.identity();
    let mapping = scene.window.map(&buffer, 0, &scene.tenant).unwrap();
    std::thread::scope(|scope| {
        let held = scene.mapper.hold_up();
        let revoking = scope.spawn(|| buffer.revoke(Duration::MAX).unwrap());
        scene.mapper.wait_for_calls(2);
        // Longer than those get who are asked when a deadline has passed.
        std::thread::sleep(Duration::from_millis(700));
        assert!(!revoking.is_finished());
        drop(held);
        revoking.join().unwrap();
    });
    assert_eq!(buffer.identity(), before, "the memory was left to the VMM");
    drop(mapping);
}
