//! Type information from anywhere: an error or an answer inside its structure, never a
//! panic, never without end.

#![no_main]

use landbridge_inspect::btf::{Btf, Target};
use libfuzzer_sys::fuzz_target;

/// Names that the programs of the crate look up, which a corpus from a kernel contains.
const STRUCTURES: &[(&str, &[&str])] = &[
    (
        "vm_area_struct",
        &["vm_start", "vm_page_prot.pgprot", "vm_file"],
    ),
    ("mm_struct", &["pgd"]),
    ("dma_buf", &["size", "attachments", "attachments.next"]),
    ("device", &["kobj.name"]),
    ("a", &["a", "b", "a.b", ".", ""]),
];

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data.to_vec()) else {
        return;
    };
    for &(name, paths) in STRUCTURES {
        for path in paths {
            if let (Ok(field), Ok(size)) = (btf.field(name, path), btf.struct_size(name)) {
                assert!(field.offset + field.size <= size);
                if field.target == Target::Value {
                    assert!(field.size <= 16);
                }
            }
        }
        let _ = btf.function(name);
    }
    for id in 0..btf.type_count().min(64) as u32 {
        let _ = btf.field_of(id, "a.b");
    }
});
