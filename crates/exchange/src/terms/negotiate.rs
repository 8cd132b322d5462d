//! Offer and needs in, terms or every unmet need out.

use crate::caching::KnownCaching;
use crate::terms::{
    CachingNeed, Direction, MemoryModel, Method, Needs, Offer, RangeNeeds, RangeShape, Snooping,
    Unmet,
};

/// What exporter and importer agreed on. Made by [`negotiate`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    model: MemoryModel,
    pins: bool,
    method: Method,
    direction: Direction,
    caching: Option<KnownCaching>,
    shape: RangeShape,
    snooped: Option<bool>,
    peer_to_peer: bool,
}

impl Terms {
    /// What may happen to the memory.
    pub fn model(&self) -> MemoryModel {
        self.model
    }

    /// Whether the memory is movable, and is held still for this importer.
    pub fn pins(&self) -> bool {
        self.pins
    }

    /// How the importer reaches the memory.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What the importer does with the bytes.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// How the memory is cached; `Some` whenever the importer needed to know.
    pub fn caching(&self) -> Option<KnownCaching> {
        self.caching
    }

    /// What holds of every range.
    pub fn shape(&self) -> RangeShape {
        self.shape
    }

    /// Whether devices' accesses snoop; `Some` whenever the importer needed to
    /// know.
    pub fn snooped(&self) -> Option<bool> {
        self.snooped
    }

    /// Whether the memory is a device's own.
    pub fn peer_to_peer(&self) -> bool {
        self.peer_to_peer
    }
}

/// Negotiates: the terms, or every unmet need (never an empty list).
///
/// Deterministic, and monotone: an exporter that offers more never loses an
/// importer by it.
pub fn negotiate(offer: &Offer, needs: &Needs) -> Result<Terms, Vec<Unmet>> {
    let unmet: Vec<Unmet> = [
        unmet_method(offer, needs.method),
        (needs.direction.writes() && !offer.writable).then_some(Unmet::Writable),
        unmet_caching(offer.caching, needs.caching),
    ]
    .into_iter()
    .chain(unmet_shape(offer.shape, needs.ranges))
    .chain([
        unmet_snooping(offer.snooped, needs.snooping),
        (offer.peer_to_peer && !needs.peer_to_peer).then_some(Unmet::PeerToPeer),
        unmet_model(offer.model, needs),
    ])
    .flatten()
    .collect();
    if !unmet.is_empty() {
        return Err(unmet);
    }
    let pins = needs.models.upgrades(offer.model);
    Ok(Terms {
        model: if pins {
            MemoryModel::Pinned
        } else {
            offer.model
        },
        pins,
        method: needs.method,
        direction: needs.direction,
        caching: offer.caching,
        shape: offer.shape,
        snooped: offer.snooped,
        peer_to_peer: offer.peer_to_peer,
    })
}

fn unmet_method(offer: &Offer, method: Method) -> Option<Unmet> {
    let offered = match method {
        Method::Cpu => offer.cpu,
        Method::Exclusive => offer.cpu && offer.exclusive,
        Method::Descriptor => offer.descriptor,
        Method::Ranges => offer.ranges,
        Method::Pages => offer.pages,
        Method::Dma => offer.dma,
        Method::Private => offer.private,
    };
    (!offered).then_some(Unmet::Method(method))
}

fn unmet_caching(offered: Option<KnownCaching>, need: CachingNeed) -> Option<Unmet> {
    match (need, offered) {
        (CachingNeed::Any, _) | (CachingNeed::Known, Some(_)) => None,
        (_, None) => Some(Unmet::CachingUnknown),
        (CachingNeed::Exactly(needed), Some(offered)) => {
            (needed != offered.caching).then_some(Unmet::Caching { needed, offered })
        }
    }
}

fn unmet_shape(offered: RangeShape, needed: RangeNeeds) -> [Option<Unmet>; 3] {
    [
        (!offered.align.is_multiple_of(needed.align)).then_some(Unmet::Alignment {
            needed: needed.align,
            offered: offered.align,
        }),
        (!needed.cuts && offered.longest > needed.longest).then_some(Unmet::LongRange {
            needed: needed.longest,
            offered: offered.longest,
        }),
        (offered.address_bits > needed.address_bits).then_some(Unmet::AddressBits {
            needed: needed.address_bits,
            offered: offered.address_bits,
        }),
    ]
}

fn unmet_snooping(offered: Option<bool>, need: Snooping) -> Option<Unmet> {
    match (need, offered) {
        (Snooping::Any, _) | (Snooping::Known, Some(_)) | (Snooping::Required, Some(true)) => None,
        (_, None) => Some(Unmet::SnoopingUnknown),
        (Snooping::Required, Some(false)) => Some(Unmet::NotSnooped),
    }
}

fn unmet_model(model: MemoryModel, needs: &Needs) -> Option<Unmet> {
    if needs.models.upgrades(model) || needs.models.accept(model) {
        None
    } else if needs.models.pin {
        Some(Unmet::NeverPinned(model))
    } else {
        Some(Unmet::Model(model))
    }
}
