//! Tenants: every pin and every byte is charged to somebody.
//!
//! A tenant has limits and may belong to a larger tenant, which pays too. What
//! is charged is given back when its [`Charge`] goes away.

use std::fmt;
use std::sync::Arc;

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// What a tenant pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Bytes of memory that stay where they are on the tenant's behalf.
    PinnedBytes,
    /// Buffers.
    Buffers,
    /// Attachments of importers.
    Attachments,
    /// Mappings in a guest's window at the same time.
    WindowMaps,
    /// Bytes of buffers, whatever may happen to them.
    Bytes,
    /// CPU mappings in this process.
    Mappings,
}

impl Resource {
    /// All that there are.
    pub const ALL: [Self; 6] = [
        Self::PinnedBytes,
        Self::Buffers,
        Self::Attachments,
        Self::WindowMaps,
        Self::Bytes,
        Self::Mappings,
    ];
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PinnedBytes => "pinned bytes",
            Self::Buffers => "buffers",
            Self::Attachments => "attachments",
            Self::WindowMaps => "window maps",
            Self::Bytes => "bytes",
            Self::Mappings => "mappings",
        })
    }
}

/// The most that a tenant may hold at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of pinned memory.
    pub pinned_bytes: u64,
    /// Buffers.
    pub buffers: u64,
    /// Attachments of importers.
    pub attachments: u64,
    /// Mappings in a guest's window. QEMU aborts past 511.
    pub window_maps: u64,
    /// Bytes of buffers, pinned or not.
    pub bytes: u64,
    /// CPU mappings in this process.
    pub mappings: u64,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self {
        pinned_bytes: u64::MAX,
        buffers: u64::MAX,
        attachments: u64::MAX,
        window_maps: u64::MAX,
        bytes: u64::MAX,
        mappings: u64::MAX,
    };

    /// The most of `resource`.
    pub fn of(&self, resource: Resource) -> u64 {
        match resource {
            Resource::PinnedBytes => self.pinned_bytes,
            Resource::Buffers => self.buffers,
            Resource::Attachments => self.attachments,
            Resource::WindowMaps => self.window_maps,
            Resource::Bytes => self.bytes,
            Resource::Mappings => self.mappings,
        }
    }
}

/// A guest's limits where nobody set others: 1 GiB in all, of which all may be
/// pinned, 16,384 buffers, 65,536 attachments and as many mappings, 500 window
/// maps.
impl Default for Limits {
    fn default() -> Self {
        Self {
            pinned_bytes: 1 << 30,
            buffers: 1 << 14,
            attachments: 1 << 16,
            window_maps: 500,
            bytes: 1 << 30,
            mappings: 1 << 16,
        }
    }
}

/// A tenant asked for more than it may have. Nothing was charged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tenant {tenant} asks for {asked} {resource}: it holds {used} of {limit}")]
pub struct OverLimit {
    /// Whose limit it is: the asker's, or that of a tenant above it.
    pub tenant: String,
    /// What was asked for.
    pub resource: Resource,
    /// How much of it.
    pub asked: u64,
    /// How much the tenant holds.
    pub used: u64,
    /// How much it may hold.
    pub limit: u64,
}

struct Account {
    name: String,
    limits: Limits,
    used: Mutex<[u64; Resource::ALL.len()]>,
    parent: Option<Tenant>,
}

impl Account {
    fn used(&self) -> MutexGuard<'_, [u64; Resource::ALL.len()]> {
        // Each change is one addition or subtraction.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who pays. Clones are the same tenant.
#[derive(Clone)]
pub struct Tenant(Arc<Account>);

impl Tenant {
    /// A tenant that belongs to nobody.
    pub fn new(name: impl Into<String>, limits: Limits) -> Self {
        Self(Arc::new(Account {
            name: name.into(),
            limits,
            used: Mutex::default(),
            parent: None,
        }))
    }

    /// A tenant whose charges this one pays too.
    pub fn child(&self, name: impl Into<String>, limits: Limits) -> Self {
        Self(Arc::new(Account {
            name: name.into(),
            limits,
            used: Mutex::default(),
            parent: Some(self.clone()),
        }))
    }

    /// The tenant's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The most that it may hold.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// How much of `resource` it holds now.
    pub fn used(&self, resource: Resource) -> u64 {
        self.0.used()[resource as usize]
    }

    /// Charges this tenant and all above it, or none of them.
    pub fn charge(&self, resource: Resource, amount: u64) -> Result<Charge, OverLimit> {
        // The tenant's own limit comes first: one that asks for too much must
        // not even for a moment take from what its siblings share with it.
        let mut charge = self.charge_alone(resource, amount)?;
        if let Some(parent) = &self.0.parent {
            charge.above = Some(Box::new(parent.charge(resource, amount)?));
        }
        Ok(charge)
    }

    fn charge_alone(&self, resource: Resource, amount: u64) -> Result<Charge, OverLimit> {
        let mut used = self.0.used();
        let held = used[resource as usize];
        let limit = self.0.limits.of(resource);
        match held.checked_add(amount).filter(|sum| *sum <= limit) {
            Some(sum) => used[resource as usize] = sum,
            None => {
                return Err(OverLimit {
                    tenant: self.0.name.clone(),
                    resource,
                    asked: amount,
                    used: held,
                    limit,
                });
            }
        }
        drop(used);
        Ok(Charge {
            tenant: self.clone(),
            resource,
            amount,
            above: None,
        })
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant")
            .field("name", &self.0.name)
            .field("used", &*self.0.used())
            .finish_non_exhaustive()
    }
}

/// Something that a tenant pays for until this value is dropped.
#[derive(Debug)]
pub struct Charge {
    tenant: Tenant,
    resource: Resource,
    amount: u64,
    above: Option<Box<Charge>>,
}

impl Charge {
    /// Who pays.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// How much is charged.
    pub fn amount(&self) -> u64 {
        self.amount
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.tenant.0.used()[self.resource as usize] -= self.amount;
        drop(self.above.take());
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;

    fn limits(pinned_bytes: u64) -> Limits {
        Limits {
            pinned_bytes,
            ..Limits::NONE
        }
    }

    #[test]
    fn a_charge_is_given_back_when_it_goes_away() {
        let tenant = Tenant::new("guest", limits(10));
        let charge = tenant.charge(Resource::PinnedBytes, 10).unwrap();
        assert_eq!(tenant.used(Resource::PinnedBytes), 10);
        drop(charge);
        assert_eq!(tenant.used(Resource::PinnedBytes), 0);
    }

    #[test]
    fn past_the_limit_the_error_names_limit_use_and_asker_and_nothing_is_charged() {
        let tenant = Tenant::new("guest", limits(10));
        let _held = tenant.charge(Resource::PinnedBytes, 7).unwrap();
        let error = tenant.charge(Resource::PinnedBytes, 4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tenant guest asks for 4 pinned bytes: it holds 7 of 10"
        );
        assert_eq!(tenant.used(Resource::PinnedBytes), 7);
    }

    #[test]
    fn a_child_is_held_to_its_parents_limit_and_a_refusal_charges_neither() {
        let parent = Tenant::new("host", limits(10));
        let child = parent.child("guest", limits(100));
        let error = child.charge(Resource::PinnedBytes, 11).unwrap_err();
        assert_eq!(error.tenant, "host");
        let small = parent.child("small", limits(1));
        assert_eq!(
            small.charge(Resource::PinnedBytes, 2).unwrap_err().tenant,
            "small"
        );
        assert_eq!(parent.used(Resource::PinnedBytes), 0);
        assert_eq!(child.used(Resource::PinnedBytes), 0);
    }

    #[test]
    fn a_charge_that_overflows_is_refused() {
        let tenant = Tenant::new("guest", Limits::NONE);
        let _held = tenant.charge(Resource::Buffers, u64::MAX).unwrap();
        assert!(tenant.charge(Resource::Buffers, 1).is_err());
    }
}
