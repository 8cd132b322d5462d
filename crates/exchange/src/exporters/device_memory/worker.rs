//! Calls that may hang in the kernel.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::Error;

/// Makes calls that may hang, one at a time, each on a thread of its own.
#[derive(Debug, Default)]
pub(super) struct Worker {
    /// Whether a call hangs.
    busy: Arc<Mutex<bool>>,
}

impl Worker {
    /// Makes `call` and waits for it at most for `limit`. A call that is late
    /// goes on; until it is done, others are refused.
    pub(super) fn run(
        &self,
        limit: Duration,
        call: impl FnOnce() -> landbridge_dmabuf::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *busy, true) {
            return Err(Error::Stuck { limit });
        }
        drop(busy);
        let (done, answer) = sync_channel(1);
        let finished = Arc::clone(&self.busy);
        let spawned = thread::Builder::new()
            .name("device memory".to_owned())
            .spawn(move || {
                let result = call();
                *finished.lock().unwrap_or_else(PoisonError::into_inner) = false;
                // Nobody listens any more if it was late.
                let _ = done.send(result);
            });
        if let Err(source) = spawned {
            *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = false;
            let call = "clone";
            return Err(landbridge_dmabuf::Error::Sys { call, source }.into());
        }
        match answer.recv_timeout(limit) {
            Ok(result) => Ok(result?),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(Error::Stuck { limit })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_call_that_hangs_is_left_behind_and_keeps_others_out_until_it_is_done() {
        let worker = Worker::default();
        let (go, wait) = channel::<()>();
        let limit = Duration::from_millis(20);
        let hangs = worker.run(limit, move || {
            let _ = wait.recv();
            Ok(())
        });
        assert!(matches!(hangs, Err(Error::Stuck { .. })));
        let refused = worker.run(limit, || Ok(()));
        assert!(matches!(refused, Err(Error::Stuck { .. })));
        go.send(()).unwrap();
        let long = Duration::from_secs(10);
        while worker.run(long, || Ok(())).is_err() {
            thread::yield_now();
        }
        let failed = worker.run(long, || Err(landbridge_dmabuf::Error::Timeout));
        assert!(matches!(failed, Err(Error::Memory(_))));
    }
}
