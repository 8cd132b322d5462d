//! Negotiation: what may be relied on, whatever is offered and needed.

use landbridge_exchange::exporters::fake::FakeExporter;
use landbridge_exchange::importers::fake::FakeImporter;
use landbridge_exchange::terms::{
    CachingNeed, Direction, MemoryModel, Method, Models, Needs, Offer, Refusal, Unmet, negotiate,
};
use landbridge_exchange::{Caching, CachingSource, Error, KnownCaching};
use proptest::prelude::*;
use proptest::sample::select;

use crate::scene::Scene;

const CACHINGS: [Caching; 3] = [
    Caching::WriteBack,
    Caching::WriteCombining,
    Caching::Uncached,
];
const MODELS: [MemoryModel; 4] = [
    MemoryModel::Pinned,
    MemoryModel::Revocable { restorable: false },
    MemoryModel::Revocable { restorable: true },
    MemoryModel::Movable,
];

fn known(caching: Caching) -> KnownCaching {
    KnownCaching {
        caching,
        source: CachingSource::PageTable,
    }
}

fn offers() -> impl Strategy<Value = Offer> {
    let caching = prop::option::of(select(&CACHINGS[..]));
    (select(&MODELS[..]), caching, any::<[bool; 5]>()).prop_map(
        |(model, caching, [cpu, writable, exclusive, descriptor, ranges])| Offer {
            model,
            cpu,
            caching: caching.map(known),
            writable,
            exclusive,
            descriptor,
            ranges,
        },
    )
}

fn needs() -> impl Strategy<Value = Needs> {
    let methods = [
        Method::Cpu,
        Method::Exclusive,
        Method::Descriptor,
        Method::Ranges,
    ];
    let directions = [Direction::Read, Direction::Write, Direction::ReadWrite];
    let caching = prop_oneof![
        Just(CachingNeed::Any),
        Just(CachingNeed::Known),
        select(&CACHINGS[..]).prop_map(CachingNeed::Exactly),
    ];
    let parts = (
        select(methods.to_vec()),
        select(directions.to_vec()),
        caching,
    );
    (parts, any::<[bool; 2]>()).prop_map(|((method, direction, caching), [revocable, movable])| {
        Needs {
            method,
            direction,
            models: Models { revocable, movable },
            caching,
        }
    })
}

/// An offer of all that either offers; where both know the caching, `first`'s.
fn more(first: Offer, second: Offer) -> Offer {
    let pinned = first.model == MemoryModel::Pinned || second.model == MemoryModel::Pinned;
    Offer {
        model: if pinned {
            MemoryModel::Pinned
        } else {
            first.model
        },
        cpu: first.cpu | second.cpu,
        caching: first.caching.or(second.caching),
        writable: first.writable | second.writable,
        exclusive: first.exclusive | second.exclusive,
        descriptor: first.descriptor | second.descriptor,
        ranges: first.ranges | second.ranges,
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
        Unmet::Writable => mended.writable = true,
        Unmet::CachingUnknown | Unmet::Caching { .. } => {
            mended.caching = Some(known(match needs.caching {
                CachingNeed::Exactly(caching) => caching,
                _ => Caching::WriteBack,
            }));
        }
        Unmet::Model(_) | Unmet::NotServed(_) => mended.model = MemoryModel::Pinned,
        Unmet::Direction { .. } => panic!("nothing was agreed on that this could exceed"),
    }
    mended
}

proptest! {
    #[test]
    fn the_same_question_gets_the_same_answer(offer in offers(), needs in needs()) {
        prop_assert_eq!(negotiate(&offer, &needs), negotiate(&offer, &needs));
    }

    #[test]
    fn offering_more_never_turns_a_yes_into_a_no(
        offer in offers(), other in offers(), needs in needs()
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
    fn terms_promise_what_is_needed_and_offered(offer in offers(), needs in needs()) {
        let Ok(terms) = negotiate(&offer, &needs) else { return Ok(()) };
        prop_assert_eq!(terms.method(), needs.method);
        prop_assert_eq!(terms.direction(), needs.direction);
        prop_assert_eq!(terms.model(), offer.model);
        prop_assert_eq!(terms.caching(), offer.caching);
        prop_assert_eq!(terms.model(), MemoryModel::Pinned);
        let offered = match terms.method() {
            Method::Cpu => offer.cpu,
            Method::Exclusive => offer.cpu && offer.exclusive,
            Method::Descriptor => offer.descriptor,
            Method::Ranges => offer.ranges,
        };
        prop_assert!(offered);
        prop_assert!(offer.writable || !terms.direction().writes());
        prop_assert!(terms.caching().is_some() || needs.caching == CachingNeed::Any);
    }

    #[test]
    fn asking_and_attaching_give_the_same_answer(offer in offers(), needs in needs()) {
        let scene = Scene::new();
        let buffer = scene.exchange.publish(FakeExporter::new(1, offer), &scene.tenant).unwrap();
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
    method: Method::Descriptor,
    direction: Direction::ReadWrite,
    models: Models::PINNED,
    caching: CachingNeed::Known,
};

#[test]
fn a_refusal_says_everything_in_words() {
    let offer = Offer {
        model: MemoryModel::Movable,
        caching: None,
        writable: false,
        descriptor: false,
        ..FakeExporter::EVERYTHING
    };
    assert_eq!(
        refusal(offer, WINDOW).to_string(),
        "window of guest 3 can't use fake: descriptor access is not offered; \
         the memory is read-only; the caching is not known; \
         the memory is movable, which the importer can't follow"
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
fn memory_that_moves_or_goes_is_refused_even_to_who_copes_with_it() {
    let copes = Models {
        revocable: true,
        movable: true,
    };
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
            models: copes,
            ..WINDOW
        };
        assert_eq!(
            refusal(offer, needs).to_string(),
            format!(
                "window of guest 3 can't use fake: {name} memory is not served by this version"
            )
        );
        assert_eq!(refusal(offer, WINDOW).unmet, [Unmet::Model(model)]);
    }
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
