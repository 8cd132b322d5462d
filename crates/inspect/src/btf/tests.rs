use proptest::prelude::*;

use super::build::Builder;
use super::*;

fn sample() -> Builder {
    let mut b = Builder::new();
    let long = b.int("unsigned long", 8);
    let int = b.int("int", 4);
    let flags = b.typedef("flags_t", long);
    let anon = b.union("", 8, &[("flags", flags, 0), ("raw", long, 0)]);
    let prot = b.structure("prot", 8, &[("val", long, 0)]);
    let names = b.array(int, int, 4);
    let pointer = b.pointer(prot);
    b.structure(
        "area",
        48,
        &[
            ("start", long, 0),
            ("", anon, 64),
            ("prot", prot, 128),
            ("names", names, 192),
            ("next", pointer, 320),
        ],
    );
    b.function("walk");
    b
}

fn parsed(b: Builder) -> Btf {
    Btf::parse(b.finish()).unwrap()
}

#[test]
fn finds_members_through_anonymous_unions_and_dots() {
    let btf = parsed(sample());
    let flags = btf.field("area", "flags").unwrap();
    assert_eq!((flags.offset, flags.size), (8, 8));
    assert_eq!(flags.target, Target::Value);
    let val = btf.field("area", "prot.val").unwrap();
    assert_eq!((val.offset, val.size), (16, 8));
    let names = btf.field("area", "names").unwrap();
    assert_eq!((names.offset, names.size), (24, 16));
    let next = btf.field("area", "next").unwrap();
    assert!(matches!(next.target, Target::Pointer(id) if btf.field_of(id, "val").is_ok()));
    assert_eq!(btf.struct_size("area").unwrap(), 48);
}

#[test]
fn missing_names_are_missing() {
    let btf = parsed(sample());
    let missing = |result: Result<Field, Error>| matches!(result, Err(Error::BtfMissing { .. }));
    assert!(missing(btf.field("area", "end")));
    assert!(missing(btf.field("void", "start")));
    assert!(matches!(
        btf.function("area"),
        Err(Error::BtfMissing { .. })
    ));
    assert!(btf.function("walk").is_ok());
}

#[test]
fn longer_headers_are_honoured() {
    for header in [24, 28, 32, 64] {
        let btf = Btf::parse(sample().finish_with(header, &[])).unwrap();
        assert_eq!(btf.field("area", "prot").unwrap().offset, 16);
    }
}

#[test]
fn unknown_kinds_need_the_layout_table() {
    let with_unknown = || {
        let mut b = sample();
        b.raw("", 40 << 24 | 2, 0, &[7, 7, 7]);
        b.function("after");
        b
    };
    assert!(Btf::parse(with_unknown().finish()).is_err());
    let mut layout = vec![0; 41 * 4];
    layout[160] = 4;
    layout[161] = 4;
    let btf = Btf::parse(with_unknown().finish_with(32, &layout)).unwrap();
    assert!(btf.function("after").is_ok());
}

#[test]
fn more_than_sixteen_bits_of_members() {
    let mut b = Builder::new();
    let byte = b.int("char", 1);
    let names: Vec<String> = (0..70_000).map(|n| format!("m{n}")).collect();
    let members: Vec<_> = names.iter().map(|n| (n.as_str(), byte, 0)).collect();
    b.structure("huge", 1, &members);
    b.function("after");
    let btf = parsed(b);
    assert!(btf.function("after").is_ok());
    // A lookup past the step limit is refused, not endless.
    assert!(btf.field("huge", "m69999").is_err());
    assert!(btf.field("huge", "m100").is_ok());
}

#[test]
fn bit_fields_are_refused() {
    let mut b = Builder::new();
    let int = b.int("int", 4);
    let narrow = b.raw("int", 1 << 24, 4, &[3]);
    b.bit_structure("new", 8, &[("bits", int, 3 << 24), ("whole", int, 32)]);
    b.structure("old", 8, &[("bits", narrow, 0), ("odd", int, 33)]);
    let btf = parsed(b);
    let unusable = |result| matches!(result, Err(Error::BtfUnusable { .. }));
    assert!(unusable(btf.field("new", "bits")));
    assert_eq!(btf.field("new", "whole").unwrap().offset, 4);
    assert!(unusable(btf.field("old", "bits")));
    assert!(unusable(btf.field("old", "odd")));
}

#[test]
fn members_outside_their_structure_are_refused() {
    let mut b = Builder::new();
    let long = b.int("long", 8);
    b.structure("small", 8, &[("past", long, 64)]);
    assert!(parsed(b).field("small", "past").is_err());
}

#[test]
fn namesakes_must_agree() {
    let mut b = Builder::new();
    let long = b.int("long", 8);
    b.structure("twin", 8, &[("a", long, 0)]);
    b.structure("twin", 8, &[("a", long, 0)]);
    b.structure("rival", 16, &[("a", long, 0)]);
    b.structure("rival", 16, &[("a", long, 64)]);
    b.function("f");
    b.function("f");
    let btf = parsed(b);
    assert_eq!(btf.field("twin", "a").unwrap().offset, 0);
    assert!(btf.field("rival", "a").is_err());
    assert!(btf.function("f").is_err());
}

#[test]
fn types_that_go_in_circles_end() {
    let mut b = Builder::new();
    b.typedef("loop", 1);
    b.structure("outer", 8, &[("x", 1, 0)]);
    b.structure("", 8, &[("", 3, 0)]);
    b.structure("deep", 8, &[("", 3, 0)]);
    b.raw("", 3 << 24, 0, &[5, 5, 2]);
    b.structure("rings", 8, &[("r", 5, 0)]);
    let btf = parsed(b);
    assert!(btf.field("outer", "x").is_err());
    assert!(btf.field("deep", "y").is_err());
    assert!(btf.field("rings", "r").is_err());
}

#[test]
fn every_cut_is_an_error_or_harmless() {
    let whole = sample().finish();
    for end in 0..whole.len() {
        assert!(Btf::parse(whole[..end].to_vec()).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn damage_never_panics(
        at in proptest::collection::vec((0usize..700, any::<u8>()), 1..8),
    ) {
        let mut data = sample().finish();
        for (index, byte) in at {
            let len = data.len();
            data[index % len] = byte;
        }
        if let Ok(btf) = Btf::parse(data) {
            for path in ["flags", "prot.val", "names", "next", "start.x"] {
                if let Ok(field) = btf.field("area", path) {
                    let size = btf.struct_size("area").unwrap();
                    prop_assert!(field.offset + field.size <= size);
                }
            }
            let _ = btf.function("walk");
        }
    }

    #[test]
    fn noise_never_panics(mut data in proptest::collection::vec(any::<u8>(), 24..400)) {
        data[..8].copy_from_slice(&sample().finish()[..8]);
        if let Ok(btf) = Btf::parse(data) {
            for id in 0..btf.type_count() {
                let _ = btf.field_of(id as u32, "a.b");
            }
        }
    }
}
