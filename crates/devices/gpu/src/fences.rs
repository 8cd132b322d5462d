//! The order of answers.
//!
//! A fenced command is answered when it is complete, and the answers of one
//! timeline come in the order of its commands: the Linux driver takes the
//! answer to one as the answer to all before it (virtio 1.3, section 5.7.6.7;
//! `virtio_gpu_fence_event_process`). The device has one timeline, and with
//! the feature CONTEXT_INIT one more for each ring of each context.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use landbridge_device::Reply;

/// Which timeline a fence is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Timeline {
    /// The device's own.
    Device,
    /// A context's ring.
    Ring { context: u32, ring: u8 },
}

/// A command's place on its timeline.
#[derive(Debug)]
pub(crate) struct Ticket {
    timeline: Timeline,
    number: u64,
}

/// An answer that is ready and waits for those before it.
struct Ready {
    reply: Reply,
    bytes: Vec<u8>,
}

struct Line {
    /// Tells this line from a later one of the same timeline.
    number: u64,
    places: VecDeque<(u64, Option<Ready>)>,
    /// Somebody is sending; whoever becomes ready leaves it to them.
    sending: bool,
}

#[derive(Default)]
struct Lines {
    lines: HashMap<Timeline, Line>,
    next: u64,
}

/// All timelines with commands under way.
#[derive(Default)]
pub(crate) struct Timelines {
    lines: Mutex<Lines>,
}

impl Timelines {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Replies are sent outside the lock, so nothing under it can panic.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place at the end of a timeline.
    pub(crate) fn begin(&self, timeline: Timeline) -> Ticket {
        let mut lines = self.lock();
        let number = lines.next;
        lines.next += 1;
        let line = lines.lines.entry(timeline).or_insert_with(|| Line {
            number,
            places: VecDeque::new(),
            sending: false,
        });
        line.places.push_back((number, None));
        Ticket { timeline, number }
    }

    /// The command is complete: its answer is sent as soon as all before it
    /// are, on this thread or on that of another command.
    pub(crate) fn complete(&self, ticket: Ticket, reply: Reply, bytes: Vec<u8>) {
        let mut lines = self.lock();
        // A ticket from before a reset finds nothing, and its reply goes
        // nowhere, after the lock is let go.
        let Some(line) = lines.lines.get_mut(&ticket.timeline) else {
            drop(lines);
            return;
        };
        let Ok(index) = line
            .places
            .binary_search_by_key(&ticket.number, |(number, _)| *number)
        else {
            drop(lines);
            return;
        };
        line.places[index].1 = Some(Ready { reply, bytes });
        if line.sending {
            return;
        }
        line.sending = true;
        let number = line.number;
        drop(lines);
        while let Some(ready) = self.next_ready(ticket.timeline, number) {
            ready.reply.send(&ready.bytes);
        }
    }

    /// The first answer of a line if it is ready; else nobody sends any more.
    fn next_ready(&self, timeline: Timeline, number: u64) -> Option<Ready> {
        let mut lines = self.lock();
        let line = lines.lines.get_mut(&timeline)?;
        if line.number != number {
            return None;
        }
        if let Some((_, ready)) = line.places.front_mut()
            && let Some(ready) = ready.take()
        {
            line.places.pop_front();
            return Some(ready);
        }
        line.sending = false;
        if line.places.is_empty() {
            lines.lines.remove(&timeline);
        }
        None
    }

    /// Forgets everything; answers that are ready go nowhere.
    pub(crate) fn reset(&self) {
        let forgotten = std::mem::take(&mut self.lock().lines);
        drop(forgotten);
    }

    /// How many fenced commands are under way.
    pub(crate) fn outstanding(&self) -> usize {
        let lines = self.lock();
        lines.lines.values().map(|line| line.places.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const RING: Timeline = Timeline::Ring {
        context: 7,
        ring: 1,
    };

    fn reply() -> (Reply, Receiver<Vec<u8>>) {
        Reply::channel(1)
    }

    #[test]
    fn answers_come_in_the_order_of_the_commands() {
        let timelines = Timelines::default();
        let tickets = [(); 3].map(|()| timelines.begin(Timeline::Device));
        let (sender, answers) = channel();
        let reply = || {
            let sender = sender.clone();
            Reply::new(1, move |bytes| sender.send(bytes[0]).unwrap())
        };
        let [first, second, third] = tickets;
        timelines.complete(third, reply(), vec![3]);
        timelines.complete(second, reply(), vec![2]);
        assert!(answers.try_recv().is_err(), "the first is not complete");
        timelines.complete(first, reply(), vec![1]);
        assert_eq!(answers.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(timelines.outstanding(), 0);
    }

    #[test]
    fn timelines_do_not_wait_for_each_other() {
        let timelines = Timelines::default();
        let _slow = timelines.begin(Timeline::Device);
        let ticket = timelines.begin(RING);
        let (reply, answer) = reply();
        timelines.complete(ticket, reply, vec![5]);
        assert_eq!(answer.try_recv().unwrap(), [5]);
    }

    #[test]
    fn a_ticket_from_before_a_reset_answers_nothing() {
        let timelines = Timelines::default();
        let old = timelines.begin(Timeline::Device);
        timelines.reset();
        let new = timelines.begin(Timeline::Device);
        let (lost, nothing) = reply();
        timelines.complete(old, lost, vec![1]);
        assert_eq!(nothing.try_recv().unwrap(), []);
        let (sent, answer) = reply();
        timelines.complete(new, sent, vec![2]);
        assert_eq!(answer.try_recv().unwrap(), [2]);
    }

    #[test]
    fn an_answer_does_not_overtake_one_that_is_being_sent() {
        let timelines = Timelines::default();
        let [first, second] = [(); 2].map(|()| timelines.begin(Timeline::Device));
        let (sender, answers) = channel();
        let (started, has_started) = channel();
        let (go, may_go) = channel();
        let reply = {
            let sender = sender.clone();
            Reply::new(1, move |bytes| {
                started.send(()).unwrap();
                may_go.recv().unwrap();
                sender.send(bytes[0]).unwrap();
            })
        };
        std::thread::scope(|scope| {
            scope.spawn(|| timelines.complete(first, reply, vec![1]));
            has_started.recv().unwrap();
            let reply = Reply::new(1, move |bytes| sender.send(bytes[0]).unwrap());
            timelines.complete(second, reply, vec![2]);
            go.send(()).unwrap();
        });
        assert_eq!(answers.iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_reply_may_complete_the_next_command() {
        let timelines = std::sync::Arc::new(Timelines::default());
        let first = timelines.begin(RING);
        let second = timelines.begin(RING);
        let (last, answer) = reply();
        let again = std::sync::Arc::clone(&timelines);
        let chained = Reply::new(1, move |_| again.complete(second, last, vec![9]));
        timelines.complete(first, chained, vec![1]);
        assert_eq!(answer.try_recv().unwrap(), [9]);
    }
}
