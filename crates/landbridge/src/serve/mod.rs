//! `landbridge serve`: devices for a VMM, in a process of their own.
//!
//! ```text
//!   settings ── listen ──▶ fleet ─┬▶ station ◀── VMM
//!                            │    └▶ station ◀── VMM
//! status, share, revoke, events ◀── control::Server
//!                        scrape ◀── metrics
//! ```
//!
//! Each device has a station that serves one VMM after another; all share
//! one exchange, so that a buffer of one device is known to the others by its
//! UUID. The main thread only waits for the signal that ends it all.

mod aliases;
mod caching;
mod descriptors;
mod dmem;
mod fleet;
mod headless;
mod lifecycle;
pub mod listen;
mod logging;
mod metrics;
mod options;
pub mod settings;
mod shares;
mod snapshot;
mod station;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

pub use options::Options;

use crate::control::{Server, Service, Stop};
use crate::failure::Failure;
use crate::qemu;
use caching::Lookup;
use fleet::Fleet;
use listen::Socket;
use listen::handed_over::HandedOver;
use metrics::MetricsServer;
use settings::Settings;

/// How long the devices may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs `landbridge serve`.
pub fn command(options: &Options) -> Result<(), Failure> {
    let settings = Settings::of(options).map_err(Failure::Usage)?;
    if options.print_qemu_args {
        return qemu::print(options, &settings);
    }
    logging::start(options.verbose).map_err(Failure::Usage)?;
    let handed_over = HandedOver::take().map_err(Failure::Usage)?;
    if settings.gpus.is_empty() && handed_over.gpus.is_empty() {
        let nothing = anyhow!("there is nothing to serve: name a socket with --gpu");
        return Err(Failure::Usage(nothing));
    }
    Ok(serve(settings, handed_over)?)
}

fn serve(settings: Settings, handed_over: HandedOver) -> anyhow::Result<()> {
    descriptors::raise_limit();
    // Before anything that a signal would have to clean up.
    let signals = Signals::new([SIGTERM, SIGINT]).context("can't wait for signals")?;
    let stop = Stop::new().context("can't make an eventfd")?;
    let control = control_socket(&settings, handed_over.control)?;
    let unknown = settings.unknown_caching.map(Into::into);
    let caching = Lookup::new(settings.caching_from, unknown);
    let mut fleet = Fleet::new(settings.limits, caching, stop.clone());
    for gpu in settings.gpus {
        if let Some(path) = gpu.socket.clone() {
            fleet.add(gpu, Socket::make(&path)?)?;
        }
    }
    for (name, socket) in handed_over.gpus {
        let mut gpu = settings.handed_over.clone();
        gpu.guest = Some(name).filter(|name| name != "gpu");
        fleet.add(gpu, socket)?;
    }
    let fleet = Arc::new(fleet);
    let service = || Arc::clone(&fleet) as Arc<dyn Service>;
    let _control_server = match &control {
        Some(socket) => Some(Server::start(socket.listener(), service())?),
        None => None,
    };
    let _metrics_server = match settings.metrics {
        Some(address) => Some(start_metrics(address.0, service())?),
        None => None,
    };
    let ended = start_stations(&fleet)?;
    wait_for_a_signal(signals);
    end(&fleet, &stop, &ended);
    Ok(())
}

fn control_socket(
    settings: &Settings,
    handed_over: Option<Socket>,
) -> anyhow::Result<Option<Socket>> {
    match (&settings.control, handed_over) {
        (Some(_), Some(_)) => Err(anyhow!(
            "a control socket was handed over and --control names another"
        )),
        (Some(path), None) => Socket::make(path).map(Some),
        (None, handed_over) => Ok(handed_over),
    }
}

fn start_metrics(
    address: std::net::SocketAddr,
    service: Arc<dyn Service>,
) -> anyhow::Result<MetricsServer> {
    let server = MetricsServer::start(address, service)
        .with_context(|| format!("can't serve metrics on {address}"))?;
    tracing::info!(address = %server.address(), "serving metrics");
    Ok(server)
}

/// Starts each station on a thread of its own. What is returned is closed when
/// the last has ended.
fn start_stations(fleet: &Fleet) -> anyhow::Result<mpsc::Receiver<()>> {
    let (running, ended) = mpsc::channel::<()>();
    for station in fleet.stations() {
        let station = Arc::clone(station);
        let running = running.clone();
        std::thread::Builder::new()
            .name(format!("gpu {}", station.number))
            .spawn(move || {
                station.run();
                // Only then has it ended: the last of a station removes its
                // socket, and the program ends with the last `running`.
                drop(station);
                drop(running);
            })
            .context("can't start a thread")?;
    }
    Ok(ended)
}

fn wait_for_a_signal(mut signals: Signals) {
    notify(&[NotifyState::Ready]);
    if let Some(signal) = signals.forever().next() {
        tracing::info!(signal, "ending");
    }
    notify(&[NotifyState::Stopping]);
}

fn end(fleet: &Fleet, stop: &Stop, ended: &mpsc::Receiver<()>) {
    stop.ask();
    for station in fleet.stations() {
        station.hang_up();
    }
    // A VMM that was asked to map something and does not answer can hold its
    // device up; it must not hold us up.
    if let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(FAREWELL) {
        tracing::warn!("a VMM does not let go of its device; leaving it");
        fleet.stations().for_each(|station| station.socket.remove());
    }
}

/// Tells the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "can't tell the service manager");
    }
}
