//! Offer and needs in, terms or every unmet need out.

use crate::caching::KnownCaching;
use crate::terms::{CachingNeed, Direction, MemoryModel, Method, Needs, Offer, Unmet};

/// What exporter and importer agreed on. Made by [`negotiate`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    model: MemoryModel,
    method: Method,
    direction: Direction,
    caching: Option<KnownCaching>,
}

impl Terms {
    /// What may happen to the memory.
    pub fn model(&self) -> MemoryModel {
        self.model
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
        unmet_model(offer.model, needs),
    ]
    .into_iter()
    .flatten()
    .collect();
    if unmet.is_empty() {
        Ok(Terms {
            model: offer.model,
            method: needs.method,
            direction: needs.direction,
            caching: offer.caching,
        })
    } else {
        Err(unmet)
    }
}

fn unmet_method(offer: &Offer, method: Method) -> Option<Unmet> {
    let offered = match method {
        Method::Cpu => offer.cpu,
        Method::Exclusive => offer.cpu && offer.exclusive,
        Method::Descriptor => offer.descriptor,
        Method::Ranges => offer.ranges,
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

fn unmet_model(model: MemoryModel, needs: &Needs) -> Option<Unmet> {
    if !needs.models.accept(model) {
        Some(Unmet::Model(model))
    } else if model != MemoryModel::Pinned {
        Some(Unmet::NotServed(model))
    } else {
        None
    }
}
