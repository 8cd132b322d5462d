//! What is said of ranges beside their addresses.

use std::fmt;

use crate::caching::KnownCaching;

/// Who provides the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Provider {
    /// Nobody said.
    #[default]
    Unstated,
    /// Memory of this host.
    Host,
    /// A guest's memory.
    Guest,
    /// A device's own memory, behind a BAR.
    Device,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unstated => "unstated",
            Self::Host => "host memory",
            Self::Guest => "guest memory",
            Self::Device => "device memory",
        })
    }
}

/// Who may see the bytes. Private memory has no CPU mapping that anything could
/// be said about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contents {
    /// Everybody who maps it.
    Shared {
        /// How a CPU mapping is cached; `None` where nothing is said about a
        /// CPU mapping: there may be none.
        cpu: Option<KnownCaching>,
    },
    /// Its owner alone; importable by descriptor only (guest_memfd).
    Private,
}

/// What is said of a run of ranges. The default says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notes {
    /// Who provides the memory.
    pub provider: Provider,
    /// Who may see the bytes.
    pub contents: Contents,
    /// Other devices reach it without a detour through host memory.
    pub peer_to_peer: bool,
    /// A device's access sees and updates CPU caches.
    pub snooped: bool,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            provider: Provider::Unstated,
            contents: Contents::Shared { cpu: None },
            peer_to_peer: false,
            snooped: false,
        }
    }
}

impl Notes {
    /// How a CPU mapping is cached; `None` where nothing is said about one.
    pub fn cpu(&self) -> Option<KnownCaching> {
        match self.contents {
            Contents::Shared { cpu } => cpu,
            Contents::Private => None,
        }
    }

    /// The same memory as a device sees it: there is nothing to say of a CPU
    /// mapping of a bus address.
    pub(super) fn on_a_bus(self) -> Self {
        Self {
            contents: match self.contents {
                Contents::Shared { .. } => Contents::Shared { cpu: None },
                Contents::Private => Contents::Private,
            },
            ..self
        }
    }
}
