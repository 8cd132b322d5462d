//! One device on its socket: one VMM after another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landbridge_device::Device;
use landbridge_device_gpu::{Gpu, GpuConfig};
use landbridge_dmabuf::Udmabuf;
use landbridge_exchange::{Exchange, Tenant};
use landbridge_transport::backend::Stopper;
use landbridge_transport::{Backend, Error, Link};

use super::headless::Headless;
use super::listen::Socket;
use super::settings::GpuSettings;
use crate::control::{Stop, Woken};

/// How long the station rests when the system is out of something.
const PAUSE: Duration = Duration::from_millis(500);

/// One GPU on its socket.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) number: usize,
    pub(super) settings: GpuSettings,
    pub(super) tenant: Tenant,
    pub(super) gpu: Arc<Gpu>,
    pub(super) socket: Socket,
    backend: Backend,
    stop: Stop,
    visits: Mutex<Visits>,
}

/// The VMMs that came.
#[derive(Debug, Clone, Default)]
pub(super) struct Visits {
    /// Ends the visit that goes on.
    present: Option<Stopper>,
    /// How many there were, this one included.
    pub(super) count: u64,
    /// How the last one ended, if badly.
    pub(super) last_error: Option<String>,
}

impl Visits {
    /// Whether a VMM is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.present.is_some()
    }
}

impl Station {
    /// A GPU on `socket`, on the account of `tenant`.
    pub(super) fn new(
        number: usize,
        settings: GpuSettings,
        config: GpuConfig,
        socket: Socket,
        exchange: &Exchange,
        tenant: Tenant,
        stop: Stop,
    ) -> Self {
        let link = Link::new();
        let gpu = Arc::new(Gpu::new(
            with_joiner(config),
            exchange.clone(),
            link.memory(),
            link.mapper(),
            Arc::new(Headless),
        ));
        let device: Arc<dyn Device> = Arc::clone(&gpu) as Arc<dyn Device>;
        Self {
            number,
            settings,
            tenant,
            gpu,
            socket,
            backend: Backend::new(device, link),
            stop,
            visits: Mutex::default(),
        }
    }

    /// Serves one VMM after another until the station is stopped.
    pub(super) fn run(&self) {
        tracing::info!(device = self.number, socket = ?self.socket.path(), "waiting for a VMM");
        while !self.stop.is_asked() {
            match self.stop.wait_for(self.socket.listener(), None) {
                Ok(Woken::Stop) => return,
                Ok(Woken::Ready) => {}
                Ok(Woken::Timeout) | Err(_) => continue,
            }
            if let Err(error) = self.serve_one() {
                self.note(&error);
                self.stop.pause(PAUSE);
            }
        }
    }

    /// Ends the visit that goes on. The station must have been asked to stop.
    pub(super) fn hang_up(&self) {
        if let Some(present) = &self.visits().present {
            present.stop();
        }
    }

    /// The VMMs that came.
    pub(super) fn visited(&self) -> Visits {
        self.visits().clone()
    }

    /// Takes the VMM that knocks and serves it until it leaves. An error is
    /// this host's: what the VMM does wrong ends its visit, not the station.
    fn serve_one(&self) -> Result<(), Error> {
        let connection = self.backend.accept(self.socket.listener())?;
        tracing::info!(device = self.number, "a VMM connected");
        {
            let mut visits = self.visits();
            visits.present = Some(connection.stopper());
            visits.count += 1;
            visits.last_error = None;
        }
        if self.stop.is_asked() {
            // Whoever hangs up may have come before the connection was there.
            self.hang_up();
        }
        let end = connection.wait();
        self.visits().present = None;
        match end {
            Ok(()) => tracing::info!(device = self.number, "the VMM disconnected"),
            Err(error) => self.note(&error),
        }
        Ok(())
    }

    /// Keeps an error for the status, and logs it once however often it comes.
    fn note(&self, error: &Error) {
        let text = chain(error);
        let known = {
            let mut visits = self.visits();
            let known = visits.last_error.as_deref() == Some(text.as_str());
            visits.last_error = Some(text.clone());
            known
        };
        if !known {
            tracing::warn!(device = self.number, "{text}");
        }
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        // Plain assignments.
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Guest blobs are dma-bufs where this machine has udmabuf.
fn with_joiner(config: GpuConfig) -> GpuConfig {
    match Udmabuf::open() {
        Ok(udmabuf) => config.with_joiner(Arc::new(udmabuf)),
        Err(error) => {
            tracing::info!(%error, "guest blobs are stitched together");
            config
        }
    }
}

/// An error with all its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
