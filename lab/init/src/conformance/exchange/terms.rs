//! What may happen to a buffer's memory, asked of our own exchange. Where the
//! kernel has the notion, its refusal is called what the kernel calls it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use landbridge_exchange::exporters::host_memory::Kind;
use landbridge_exchange::terms::{Direction, Method, Models, Needs, Refusal, Revocation, Unmet};
use landbridge_exchange::{Attachment, Buffer, Error, Holder, Importer};

use super::{Ask, PATIENCE, Source, Subject, polled};

pub(super) const PROPERTIES: &[(&str, Ask)] = &[
    ("attach: who can't let go", |subject| {
        Ok(attached(subject, &subject.buffer()?, CANT_LET_GO))
    }),
    ("attach: who can let go", |subject| {
        Ok(attached(subject, &subject.buffer()?, Models::ANY))
    }),
    ("attach: who asks for it pinned", |subject| {
        Ok(attached(subject, &subject.buffer()?, PINNING))
    }),
    ("taken away: attach", |subject| {
        while_away(subject, |buffer| attached(subject, buffer, Models::ANY))
    }),
    ("taken away: again", |subject| {
        while_away(subject, |buffer| said(subject.take_away(buffer)))
    }),
    ("taken away: poll", |subject| while_away(subject, polled)),
    ("taken away: from who can let go", from_who_can_let_go),
    ("given back: attach", |subject| {
        let buffer = subject.buffer()?;
        let there = subject
            .take_away(&buffer)
            .and_then(|()| subject.give_back(&buffer));
        Ok(match there {
            Ok(()) => attached(subject, &buffer, Models::ANY),
            refused => said(refused),
        })
    }),
    ("moved: under who can follow", |subject| {
        under(subject, Models::ANY)
    }),
    ("moved: under who has it pinned", |subject| {
        under(subject, PINNING)
    }),
    ("moved: once nobody has it pinned", |subject| {
        let buffer = subject.buffer()?;
        let pinned = subject.attach(&buffer, PINNING, &Arc::default());
        drop(pinned);
        Ok(moved(&buffer))
    }),
];

const CANT_LET_GO: Models = Models::PINNED;
const PINNING: Models = Models {
    revocable: Revocation::Refused,
    movable: false,
    pin: true,
};

/// An importer that counts what it is told to do.
#[derive(Default)]
struct Told {
    let_go: AtomicU32,
    followed: AtomicU32,
}

impl Holder for Told {
    fn cut_off(&self) -> Result<(), Error> {
        self.let_go.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn follow(&self, _: &Buffer) -> Result<(), Error> {
        self.followed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

struct Peer {
    models: Models,
    told: Arc<Told>,
}

impl Importer for Peer {
    fn name(&self) -> String {
        "conformance".to_owned()
    }

    fn needs(&self) -> Needs {
        Needs {
            models: self.models,
            peer_to_peer: true,
            ..Needs::new(Method::Descriptor, Direction::ReadWrite)
        }
    }

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::clone(&self.told) as Arc<_>)
    }
}

impl Subject {
    fn attach(
        &self,
        buffer: &Buffer,
        models: Models,
        told: &Arc<Told>,
    ) -> Result<Attachment, Error> {
        let told = Arc::clone(told);
        buffer.attach(&Peer { models, told }, &self.tenant)
    }

    fn take_away(&self, buffer: &Buffer) -> Result<(), Error> {
        match &self.source {
            Source::Host(..) => buffer.revoke(PATIENCE).map(drop),
            Source::Bar(owner) => owner.switch_memory(false, PATIENCE),
        }
    }

    fn give_back(&self, buffer: &Buffer) -> Result<(), Error> {
        match &self.source {
            Source::Host(..) => buffer.restore(PATIENCE),
            Source::Bar(owner) => owner.switch_memory(true, PATIENCE),
        }
    }
}

/// An answer as the kernel would give it, or in our own words.
fn said(answer: Result<(), Error>) -> String {
    let about_the_model = |refusal: &Refusal| {
        let model = |unmet: &Unmet| matches!(unmet, Unmet::Model(_) | Unmet::NeverPinned(_));
        refusal.unmet.iter().all(model)
    };
    match answer {
        Ok(()) => "ok".to_owned(),
        Err(Error::Refused(refusal)) if about_the_model(&refusal) => "EOPNOTSUPP".to_owned(),
        Err(Error::Revoked { .. }) => "ENODEV".to_owned(),
        Err(Error::Pinned { .. }) => "EBUSY".to_owned(),
        // As where the kernel has no call for it.
        Err(Error::Promised(_)) => "-".to_owned(),
        Err(other) => other.to_string(),
    }
}

fn attached(subject: &Subject, buffer: &Buffer, models: Models) -> String {
    said(subject.attach(buffer, models, &Arc::default()).map(drop))
}

fn while_away(subject: &Subject, ask: impl FnOnce(&Buffer) -> String) -> Result<String> {
    let buffer = subject.buffer()?;
    if let refused @ Err(_) = subject.take_away(&buffer) {
        return Ok(said(refused));
    }
    let answer = ask(&buffer);
    subject.give_back(&buffer)?;
    Ok(answer)
}

/// It lets go once, and has it again once it is back.
fn from_who_can_let_go(subject: &Subject) -> Result<String> {
    let buffer = subject.buffer()?;
    let told = Arc::default();
    let attachment = subject.attach(&buffer, Models::ANY, &told)?;
    if let refused @ Err(_) = subject.take_away(&buffer) {
        return Ok(said(refused));
    }
    subject.give_back(&buffer)?;
    drop(attachment);
    Ok(heard(&told, 1))
}

fn heard(told: &Told, let_go: u32) -> String {
    let heard = [&told.let_go, &told.followed].map(|count| count.load(Ordering::Relaxed));
    if heard == [let_go, 1] {
        "ok".to_owned()
    } else {
        format!("let go {} times, followed {} times", heard[0], heard[1])
    }
}

/// Moves the memory under an importer.
fn under(subject: &Subject, models: Models) -> Result<String> {
    let buffer = subject.buffer()?;
    let told = Arc::default();
    let attachment = match subject.attach(&buffer, models, &told) {
        Ok(attachment) => attachment,
        Err(refused) => return Ok(said(Err(refused))),
    };
    let answer = moved(&buffer);
    drop(attachment);
    Ok(if answer == "ok" {
        heard(&told, 0)
    } else {
        answer
    })
}

fn moved(buffer: &Buffer) -> String {
    said(buffer.relocate(Kind::Udmabuf, PATIENCE).map(drop))
}
