//! Trap: drivers built on shmem GEM show the wrong page through a partial
//! mapping, and through one that is split.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Result;
use landbridge_dmabuf::{Access, DmaBuf, Mapping, Piece, Window};

use crate::checks::Checks;
use crate::exporters::{self, Dumb, Exporter as _};
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::memory::{How, Map, PAGE};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "a_partial_mapping_of_shmem_gem_shows_the_wrong_page",
    claim: "vgem maps the wrong page for a part of a buffer, and our mappings show the right one",
    storey: Storey::Host,
    needs: Needs {
        modules: &["vgem"],
        ..Needs::NOTHING
    },
    limit: Duration::from_secs(15),
    expect: Expect::Passes,
    body,
};

fn body(checks: &mut Checks) -> Result<()> {
    let buffer = Dumb::of("vgem", "vgem")?.export(64 << 10, exporters::Access::ReadWrite)?;
    let whole = Map::new(&buffer, 0, buffer.bytes(), How::SHARED)?;
    for page in 0..4_u8 {
        whole.set(usize::from(page) * PAGE, page + 1);
    }
    let part = Map::new(&buffer, 2 * PAGE, PAGE, How::SHARED)?;
    checks.equal("the kernel shows page 0 at offset 8192", &part.get(0), &1);
    let untouched = Map::new(&buffer, 0, buffer.bytes(), How::SHARED)?;
    let split = untouched.drop_front(PAGE)?;
    checks.equal("after a split it shows page 0 as page 1", &split.get(0), &1);

    let ours = DmaBuf::try_from(buffer.as_fd().try_clone_to_owned()?)?;
    let mapping = Mapping::new(&ours, 2 * PAGE as u64, PAGE as u64, Access::ReadOnly)?;
    let seen = mapping.view().read_at::<u8>(0)?;
    checks.equal("our mapping of that part shows page 2", &seen, &3);
    let window = Window::reserve(1 << 20)?;
    let piece = Piece::new(&ours, 2 * PAGE as u64, PAGE as u64);
    checks.refused(
        "a window, which can't map more than it is told, refuses the part",
        window.map(0, &piece, Access::ReadOnly),
        "map the whole buffer",
    );
    let all = Piece::new(&ours, 0, buffer.size());
    window.map(0, &all, Access::ReadOnly)?;
    let seen = window.with(2 * PAGE, PAGE, |view| view.read_at::<u8>(0))??;
    checks.equal("a window with the whole buffer shows page 2", &seen, &3);
    checks.refused(
        "a window does not split a mapping",
        window.unmap(0, PAGE),
        "occupied",
    );
    Ok(())
}
