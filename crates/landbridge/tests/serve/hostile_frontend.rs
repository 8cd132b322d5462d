//! A VMM that means harm: whatever it sends, the program lives, the other
//! device works on, and nothing is left behind.

mod frontend;
mod memory;
mod messages;
mod rings;
mod silence;

use landbridge_protocol_gpu::CapsetId;
use landbridge_transport::guest::gpu::Gpu;

use crate::daemon::{Daemon, eventually, shared_blob};
pub(crate) use frontend::Frontend;

/// The program with a hostile VMM on device 0 and a guest on device 1.
struct Scene {
    daemon: Daemon,
    bystander: Gpu,
}

impl Scene {
    fn new() -> Self {
        let daemon = Daemon::start(2);
        let bystander = daemon.guest(1);
        Self { daemon, bystander }
    }

    /// Lets `attack` loose and looks at what it leaves.
    fn survives(&mut self, what: &str, attack: impl Fn(&mut Frontend)) {
        // The first round finds what is allocated once.
        let mut before = None;
        for _ in 0..2 {
            let mut frontend = Frontend::new(self.daemon.connect(0));
            attack(&mut frontend);
            drop(frontend);
            self.daemon.wait_until_idle(0);
            assert!(self.daemon.is_alive(), "{what}");
            self.check_bystander(what);
            match &before {
                None => before = Some(self.daemon.descriptors()),
                Some(before) => self.daemon.wait_for_descriptors(before),
            }
        }
        self.daemon.guest(0).display_info().expect(what);
        self.daemon.wait_until_idle(0);
    }

    /// The same, and the program hangs up and its log says whose fault it was,
    /// and `why`.
    fn refuses(&mut self, what: &str, why: &str, attack: impl Fn(&mut Frontend)) {
        let log = self.daemon.path("log");
        let read = || std::fs::read_to_string(&log).unwrap();
        self.survives(what, |frontend| {
            let before = read().len();
            attack(frontend);
            assert!(frontend.is_hung_up(), "{what}: it goes on");
            let told = eventually("the fault is told", || {
                let told = read().split_off(before);
                told.contains("the VMM broke the protocol").then_some(told)
            });
            assert!(
                told.contains("device=0") && told.contains(why),
                "{what}: {told}"
            );
        });
    }

    fn check_bystander(&self, what: &str) {
        let context = self
            .bystander
            .create_context("bystander", CapsetId(0))
            .expect(what);
        let blob = shared_blob(&self.bystander, context.id, 4096).expect(what);
        let mapping = self.bystander.map(&blob).expect(what);
        mapping.write(0, b"mine").expect(what);
        assert_eq!(mapping.read(0, 4).expect(what), b"mine");
        self.bystander.unmap(mapping).expect(what);
        self.bystander.unref(&blob).expect(what);
        self.bystander.destroy_context(&context).expect(what);
    }
}
