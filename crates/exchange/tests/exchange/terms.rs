//! Negotiation: what may be relied on, whatever is offered and needed.

use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::importers::fake::FakeImporter;
use landbridge_exchange::tenant::Resource;
use landbridge_exchange::terms::{
    CachingNeed, Direction, MemoryModel, Method, Models, Needs, Offer, RangeNeeds, RangeShape,
    Refusal, Revocation, Snooping, Unmet, negotiate,
};
use landbridge_exchange::{Caching, CachingSource, Error, Evidence, KnownCaching, Limits, Tenant};
use proptest::prelude::*;
use proptest::sample::select;

use crate::scene::Scene;

const CACHINGS: [Caching; 3] = [
    Caching::WriteBack,
    Caching::WriteCombining,
    Caching::Uncached,
];
const MODELS: [MemoryModel; 5] = [
    MemoryModel::Pinned,
    MemoryModel::Revocable { restorable: false },
    MemoryModel::Revocable { restorable: true },
    MemoryModel::Movable { pinnable: true },
    MemoryModel::Movable { pinnable: false },
];

fn known(caching: Caching) -> KnownCaching {
    KnownCaching {
        caching,
        source: CachingSource::Kernel(Evidence::PageTable),
    }
}

fn offers() -> impl Strategy<Value = Offer> {
    let caching = prop::option::of(select(&CACHINGS[..]));
    let snooped = prop::option::of(any::<bool>());
    let parts = (select(&MODELS[..]), caching, snooped, shapes());
    (parts, any::<[bool; 9]>()).prop_map(|((model, caching, snooped, shape), has)| {
        let [
            cpu,
            writable,
            exclusive,
            descriptor,
            ranges,
            pages,
            dma,
            private,
            peer,
        ] = has;
        Offer {
            model,
            cpu,
            caching: caching.map(known),
            writable,
            exclusive,
            descriptor,
            ranges,
            pages,
            dma,
            private,
            shape,
            snooped,
            peer_to_peer: peer,
        }
    })
}

fn shapes() -> impl Strategy<Value = RangeShape> {
    (
        select(vec![1, 512, 4096, 2 << 20]),
        select(vec![4096, 2 << 20, u64::MAX]),
        select(vec![32, 40, 64]),
    )
        .prop_map(|(align, longest, address_bits)| RangeShape {
            align,
            longest,
            address_bits,
        })
}

fn range_needs() -> impl Strategy<Value = RangeNeeds> {
    (shapes(), any::<bool>()).prop_map(|(shape, cuts)| RangeNeeds {
        align: shape.align,
        longest: shape.longest,
        cuts,
        address_bits: shape.address_bits,
    })
}

fn models() -> impl Strategy<Value = Models> {
    let revocable = [
        Revocation::Refused,
        Revocation::IfRestorable,
        Revocation::Accepted,
    ];
    (select(revocable.to_vec()), any::<[bool; 2]>()).prop_map(|(revocable, [movable, pin])| {
        Models {
            revocable,
            movable,
            pin,
        }
    })
}

fn needs() -> impl Strategy<Value = Needs> {
    let methods = [
        Method::Cpu,
        Method::Exclusive,
        Method::Descriptor,
        Method::Ranges,
        Method::Pages,
        Method::Dma,
        Method::Private,
    ];
    let directions = [Direction::Read, Direction::Write, Direction::ReadWrite];
    let snooping = [Snooping::Any, Snooping::Known, Snooping::Required];
    let caching = prop_oneof![
        Just(CachingNeed::Any),
        Just(CachingNeed::Known),
        select(&CACHINGS[..]).prop_map(CachingNeed::Exactly),
    ];
    let parts = (
        select(methods.to_vec()),
        select(directions.to_vec()),
        select(snooping.to_vec()),
        caching,
    );
    (parts, models(), range_needs(), any::<bool>()).prop_map(
        |((method, direction, snooping, caching), models, ranges, peer_to_peer)| Needs {
            method,
            direction,
            models,
            caching,
            ranges,
            snooping,
            peer_to_peer,
        },
    )
}

/// How much a model promises. Between models of the same rank neither is more.
fn rank(model: MemoryModel) -> u8 {
    match model {
        MemoryModel::Pinned => 2,
        MemoryModel::Revocable { restorable: true } | MemoryModel::Movable { pinnable: true } => 1,
        _ => 0,
    }
}

fn more_of(first: MemoryModel, second: MemoryModel) -> MemoryModel {
    use MemoryModel::{Movable, Pinned, Revocable};
    match (first, second) {
        (_, Pinned) => Pinned,
        (Revocable { .. }, Revocable { .. }) | (Movable { .. }, Movable { .. })
            if rank(second) > rank(first) =>
        {
            second
        }
        _ => first,
    }
}

/// An offer of all that either offers; where both know something that is no
/// more or less, `first`'s.
fn more(first: Offer, second: Offer) -> Offer {
    let snooped = match (first.snooped, second.snooped) {
        (Some(false) | None, Some(true)) => Some(true),
        (first, second) => first.or(second),
    };
    Offer {
        model: more_of(first.model, second.model),
        cpu: first.cpu | second.cpu,
        caching: first.caching.or(second.caching),
        writable: first.writable | second.writable,
        exclusive: first.exclusive | second.exclusive,
        descriptor: first.descriptor | second.descriptor,
        ranges: first.ranges | second.ranges,
        pages: first.pages | second.pages,
        dma: first.dma | second.dma,
        private: first.private | second.private,
        shape: RangeShape {
            align: first.shape.align.max(second.shape.align),
            longest: first.shape.longest.min(second.shape.longest),
            address_bits: first.shape.address_bits.min(second.shape.address_bits),
        },
        snooped,
        peer_to_peer: first.peer_to_peer & second.peer_to_peer,
    }
}

/// The offer with one complaint met.
fn mend(offer: Offer, needs: &Needs, unmet: Unmet) -> Offer {
    let mut mended = offer;
    match unmet {
        Unmet::Method(Method::Cpu) => mended.cpu = true,
        Unmet::Method(Method::Exclusive) => (mended.cpu, mended.exclusive) = (true, true),
        Unmet::Method(Method::Descriptor) => mended.descriptor = true,
        Unmet::Method(Method::Ranges) => mended.ranges = true,
        Unmet::Method(Method::Pages) => mended.pages = true,
        Unmet::Method(Method::Dma) => mended.dma = true,
        Unmet::Method(Method::Private) => mended.private = true,
        Unmet::Writable => mended.writable = true,
        Unmet::CachingUnknown | Unmet::Caching { .. } => {
            mended.caching = Some(known(match needs.caching {
                CachingNeed::Exactly(caching) => caching,
                _ => Caching::WriteBack,
            }));
        }
        Unmet::Alignment { needed, .. } => mended.shape.align = needed,
        Unmet::LongRange { needed, .. } => mended.shape.longest = needed,
        Unmet::AddressBits { needed, .. } => mended.shape.address_bits = needed,
        Unmet::SnoopingUnknown | Unmet::NotSnooped => mended.snooped = Some(true),
        Unmet::PeerToPeer => mended.peer_to_peer = false,
        Unmet::Model(_) | Unmet::NeverPinned(_) => mended.model = MemoryModel::Pinned,
        Unmet::NoHolder(_) => mended.model = MemoryModel::Pinned,
        Unmet::Direction { .. } => panic!("nothing was agreed on that this could exceed"),
    }
    mended
}

prop_compose! {
    /// An offer and needs that half of the time agree. Two that are made without
    /// regard to each other hardly ever do, and then no terms are looked at.
    fn meetings()(offer in offers(), needs in needs(), agree in any::<bool>()) -> (Offer, Needs) {
        let unmet = negotiate(&offer, &needs).err().filter(|_| agree);
        let unmet = unmet.unwrap_or_default();
        let offer = unmet.iter().fold(offer, |offer, one| mend(offer, &needs, *one));
        (offer, needs)
    }
}

proptest! {
    #[test]
    fn the_same_question_gets_the_same_answer((offer, needs) in meetings()) {
        prop_assert_eq!(negotiate(&offer, &needs), negotiate(&offer, &needs));
    }

    #[test]
    fn offering_more_never_turns_a_yes_into_a_no(
        (offer, needs) in meetings(), other in offers()
    ) {
        if negotiate(&offer, &needs).is_ok() {
            prop_assert!(negotiate(&more(offer, other), &needs).is_ok());
        }
    }

    #[test]
    fn a_refusal_lists_every_unmet_need_and_no_other(offer in offers(), needs in needs()) {
        let Err(unmet) = negotiate(&offer, &needs) else { return Ok(()) };
        prop_assert!(!unmet.is_empty());
        let all = unmet.iter().fold(offer, |offer, one| mend(offer, &needs, *one));
        prop_assert!(negotiate(&all, &needs).is_ok());
        for (left_out, one) in unmet.iter().enumerate() {
            let but_one = unmet
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != left_out)
                .fold(offer, |offer, (_, one)| mend(offer, &needs, *one));
            prop_assert_eq!(negotiate(&but_one, &needs), Err(vec![*one]));
        }
    }

    #[test]
    fn terms_promise_what_is_needed_and_offered((offer, needs) in meetings()) {
        let Ok(terms) = negotiate(&offer, &needs) else { return Ok(()) };
        prop_assert_eq!(terms.method(), needs.method);
        prop_assert_eq!(terms.direction(), needs.direction);
        prop_assert_eq!(terms.caching(), offer.caching);
        prop_assert_eq!(terms.shape(), offer.shape);
        prop_assert_eq!(terms.snooped(), offer.snooped);
        prop_assert_eq!(terms.peer_to_peer(), offer.peer_to_peer);
        let offered = match terms.method() {
            Method::Cpu => offer.cpu,
            Method::Exclusive => offer.cpu && offer.exclusive,
            Method::Descriptor => offer.descriptor,
            Method::Ranges => offer.ranges,
            Method::Pages => offer.pages,
            Method::Dma => offer.dma,
            Method::Private => offer.private,
        };
        prop_assert!(offered);
        // What the exporter can't keep: a pin of memory that it never pins.
        if terms.pins() {
            prop_assert_eq!(offer.model, MemoryModel::Movable { pinnable: true });
            prop_assert_eq!(terms.model(), MemoryModel::Pinned);
            prop_assert!(needs.models.pin && !needs.models.movable);
        } else {
            prop_assert_eq!(terms.model(), offer.model);
        }
        // What the importer can't take.
        prop_assert!(needs.models.accept(terms.model()));
        prop_assert!(terms.shape().align.is_multiple_of(needs.ranges.align));
        prop_assert!(terms.shape().address_bits <= needs.ranges.address_bits);
        prop_assert!(needs.ranges.cuts || terms.shape().longest <= needs.ranges.longest);
        prop_assert!(terms.snooped().is_some() || needs.snooping == Snooping::Any);
        prop_assert!(terms.snooped() != Some(false) || needs.snooping != Snooping::Required);
        prop_assert!(needs.peer_to_peer || !terms.peer_to_peer());
        prop_assert!(offer.writable || !terms.direction().writes());
        prop_assert!(terms.caching().is_some() || needs.caching == CachingNeed::Any);
    }

    #[test]
    fn asking_and_attaching_give_the_same_answer((offer, needs) in meetings()) {
        let scene = Scene::new();
        let published = scene.exchange.publish(FakeExporter::new(1, offer), &scene.tenant);
        prop_assert_eq!(published.is_err(), offer.contradiction().is_some());
        let Ok(buffer) = published else { return Ok(()) };
        let asked = buffer.ask("somebody", &needs);
        let attached = buffer.attach(&FakeImporter::new("somebody", needs), &scene.tenant);
        match attached {
            Ok(attachment) => prop_assert_eq!(asked, Ok(*attachment.terms())),
            Err(Error::Refused(refusal)) => prop_assert_eq!(asked, Err(refusal)),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

fn refusal(offer: Offer, needs: Needs) -> Refusal {
    let scene = Scene::new();
    let buffer = scene
        .exchange
        .publish(FakeExporter::new(1, offer), &scene.tenant)
        .unwrap();
    buffer.ask("window of guest 3", &needs).unwrap_err()
}

const WINDOW: Needs = Needs {
    caching: CachingNeed::Known,
    ..Needs::new(Method::Descriptor, Direction::ReadWrite)
};

#[test]
fn a_refusal_says_everything_in_words() {
    let offer = Offer {
        model: MemoryModel::Movable { pinnable: false },
        caching: None,
        writable: false,
        descriptor: false,
        ..FakeExporter::EVERYTHING
    };
    assert_eq!(
        refusal(offer, WINDOW).to_string(),
        "window of guest 3 can't use fake: descriptor access is not offered; \
         the memory is read-only; the caching is not known; \
         the memory is movable, never pinned, which the importer can't follow"
    );
}

#[test]
fn what_a_device_can_not_take_is_refused_in_words() {
    let offer = Offer {
        shape: RangeShape {
            align: 4096,
            longest: u64::MAX,
            address_bits: 64,
        },
        snooped: Some(false),
        peer_to_peer: true,
        ..FakeExporter::EVERYTHING
    };
    let needs = Needs {
        ranges: RangeNeeds {
            align: 2 << 20,
            longest: 1 << 16,
            cuts: false,
            address_bits: 32,
        },
        snooping: Snooping::Required,
        models: Models {
            pin: true,
            ..Models::PINNED
        },
        ..Needs::new(Method::Dma, Direction::ReadWrite)
    };
    let revocable = Offer {
        model: MODELS[1],
        snooped: None,
        ..offer
    };
    let words = refusal(offer, needs).to_string();
    let expected = "window of guest 3 can't use fake: \
         ranges must start at multiples of 0x200000, and start at multiples of 0x1000; \
         ranges must have at most 0x10000 bytes, and may have 0xffffffffffffffff; \
         addresses must fit 32 bits, and may have 64; \
         devices don't snoop the CPU's caches; \
         the memory is another device's, which the importer can't reach";
    assert_eq!(words, expected);
    let words = refusal(revocable, needs).to_string();
    assert!(words.ends_with(
        "whether devices snoop the CPU's caches is not known; \
         the memory is another device's, which the importer can't reach; \
         the memory is revocable, which the importer can't follow, and can't be pinned"
    ));
}

#[test]
fn movable_memory_is_pinned_on_request_and_whoever_asks_pays() {
    let scene = Scene::new();
    let offer = Offer {
        model: MemoryModel::Movable { pinnable: true },
        ..FakeExporter::EVERYTHING
    };
    let exporter = FakeExporter::new(8192, offer);
    let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
    assert_eq!(refusal(offer, WINDOW).unmet, [Unmet::Model(offer.model)]);
    let needs = Needs {
        models: Models {
            pin: true,
            ..Models::PINNED
        },
        ..WINDOW
    };
    let limits = Limits {
        pinned_bytes: 8192,
        ..Limits::NONE
    };
    let guest = Tenant::new("other guest", limits);
    let attached = buffer.attach(&FakeImporter::new("window", needs), &guest);
    let attached = attached.unwrap();
    assert!(attached.terms().pins());
    assert_eq!(guest.used(Resource::PinnedBytes), 8192);
    assert_eq!(scene.tenant.used(Resource::PinnedBytes), 0);
    let error = buffer
        .attach(&FakeImporter::new("window", needs), &guest)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "tenant other guest asks for 8192 pinned bytes: it holds 8192 of 8192"
    );
    drop(attached);
    assert_eq!(guest.used(Resource::PinnedBytes), 0);
}

#[test]
fn an_exporter_that_contradicts_itself_is_not_published() {
    let offer = Offer {
        private: true,
        ..FakeExporter::EVERYTHING
    };
    let scene = Scene::new();
    let published = scene
        .exchange
        .publish(FakeExporter::new(1, offer), &scene.tenant);
    assert_eq!(
        published.unwrap_err().to_string(),
        "fake can't export this: private memory has no CPU mapping, in no process"
    );
}

#[test]
fn a_refused_caching_is_named_with_its_source() {
    let needs = Needs {
        caching: CachingNeed::Exactly(Caching::Uncached),
        ..WINDOW
    };
    assert_eq!(
        refusal(FakeExporter::EVERYTHING, needs).to_string(),
        "window of guest 3 can't use fake: uncached caching is needed, \
         the memory is write-back (rule: the fake says so)"
    );
}

#[test]
fn memory_that_moves_or_goes_is_for_those_who_cope_with_it_and_can_be_told() {
    for (model, name) in [
        (MODELS[1], "revocable"),
        (MODELS[2], "revocable, restorable"),
        (MODELS[3], "movable"),
    ] {
        let offer = Offer {
            model,
            ..FakeExporter::EVERYTHING
        };
        let needs = Needs {
            models: Models::ANY,
            ..WINDOW
        };
        assert_eq!(refusal(offer, WINDOW).unmet, [Unmet::Model(model)]);
        let scene = Scene::new();
        let exporter = FakeExporter::new(1, offer);
        let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
        let mut importer = FakeImporter::new("somebody", needs);
        let attached = buffer.attach(&importer, &scene.tenant).unwrap();
        assert_eq!(attached.terms().model(), model);
        importer.holder = None;
        let error = buffer.attach(&importer, &scene.tenant).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "somebody can't use fake: the memory is {name}, and there is nobody to tell when \
                 that happens"
            )
        );
    }
}

#[test]
fn memory_that_never_comes_back_is_refused_to_who_needs_it_back() {
    let needs = Needs {
        models: Models {
            revocable: Revocation::IfRestorable,
            ..Models::PINNED
        },
        ..WINDOW
    };
    let offer = |model| Offer {
        model,
        ..FakeExporter::EVERYTHING
    };
    assert!(negotiate(&offer(MODELS[2]), &needs).is_ok());
    let refused = negotiate(&offer(MODELS[1]), &needs).unwrap_err();
    assert_eq!(refused, [Unmet::Model(MODELS[1])]);
}

#[test]
fn an_attachment_for_ranges_gives_them_and_no_other_does() {
    use landbridge_exchange::ranges::{Range, RangeList};
    let scene = Scene::new();
    let mut ranges = RangeList::default();
    ranges.push(Range::new(0x1000, 0x1000).unwrap()).unwrap();
    let exporter = FakeExporter::new(0x1000, FakeExporter::EVERYTHING).and_ranges(ranges.clone());
    let buffer = scene.exchange.publish(exporter, &scene.tenant).unwrap();
    let attach = |method| {
        let needs = Needs { method, ..WINDOW };
        buffer
            .attach(&FakeImporter::new("iommu", needs), &scene.tenant)
            .unwrap()
    };
    assert_eq!(attach(Method::Ranges).ranges().unwrap(), &ranges);
    for method in [Method::Cpu, Method::Exclusive, Method::Descriptor] {
        assert_eq!(
            attach(method).ranges().unwrap_err().to_string(),
            "iommu can't use fake: ranges access is not offered"
        );
    }
}
