//! Contexts: names under which a guest's programs use resources.
//!
//! The device renders nothing, so a context is no more than that.

use std::collections::{BTreeSet, HashMap};

use landbridge_protocol_gpu::ContextName;

use crate::config::Bounds;
use crate::error::Error;

#[derive(Debug)]
struct Context {
    name: ContextName,
    resources: BTreeSet<u32>,
}

/// Contexts by id.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    contexts: HashMap<u32, Context>,
    /// Resources attached, all contexts together.
    attached: usize,
}

impl Contexts {
    pub(crate) fn create(
        &mut self,
        id: u32,
        name: ContextName,
        bounds: &Bounds,
    ) -> Result<(), Error> {
        if id == 0 || self.contexts.contains_key(&id) {
            return Err(Error::ContextTaken(id));
        }
        if self.contexts.len() >= bounds.contexts {
            return Err(Error::Bound {
                what: "contexts",
                limit: bounds.contexts,
            });
        }
        let resources = BTreeSet::new();
        self.contexts.insert(id, Context { name, resources });
        Ok(())
    }

    pub(crate) fn destroy(&mut self, id: u32) -> Result<(), Error> {
        let context = self.contexts.remove(&id).ok_or(Error::NoContext(id))?;
        self.attached -= context.resources.len();
        Ok(())
    }

    pub(crate) fn check(&self, id: u32) -> Result<(), Error> {
        self.contexts
            .contains_key(&id)
            .then_some(())
            .ok_or(Error::NoContext(id))
    }

    /// Attaches a resource; once more is no error.
    pub(crate) fn attach(&mut self, id: u32, resource: u32, bounds: &Bounds) -> Result<(), Error> {
        let full = self.attached >= bounds.context_resources;
        let context = self.contexts.get_mut(&id).ok_or(Error::NoContext(id))?;
        if context.resources.contains(&resource) {
            return Ok(());
        }
        if full {
            return Err(Error::Bound {
                what: "resources attached to contexts",
                limit: bounds.context_resources,
            });
        }
        context.resources.insert(resource);
        self.attached += 1;
        Ok(())
    }

    pub(crate) fn detach(&mut self, id: u32, resource: u32) -> Result<(), Error> {
        let context = self.contexts.get_mut(&id).ok_or(Error::NoContext(id))?;
        if !context.resources.remove(&resource) {
            return Err(Error::Unfit {
                resource,
                reason: "it is not attached to the context",
            });
        }
        self.attached -= 1;
        Ok(())
    }

    /// Detaches a resource that is no more from all contexts.
    pub(crate) fn forget(&mut self, resource: u32) {
        for context in self.contexts.values_mut() {
            if context.resources.remove(&resource) {
                self.attached -= 1;
            }
        }
    }

    /// The resources that are attached to a context.
    pub(crate) fn attached(&self, id: u32) -> Result<impl Iterator<Item = u32>, Error> {
        let context = self.contexts.get(&id).ok_or(Error::NoContext(id))?;
        Ok(context.resources.iter().copied())
    }

    /// Id, name and number of attached resources of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &ContextName, usize)> {
        self.contexts
            .iter()
            .map(|(id, context)| (*id, &context.name, context.resources.len()))
    }
}
