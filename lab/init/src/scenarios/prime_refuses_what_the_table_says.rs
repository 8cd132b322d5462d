//! The rows of the error table about PRIME (drivers/gpu/drm/drm_prime.c).

use std::time::Duration;

use anyhow::Result;

use crate::checks::Checks;
use crate::scenario::{Expect, Needs, Scenario, Storey};
use crate::sys::drm::{CLOEXEC, Card, RDWR};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "prime_refuses_what_the_table_says",
    claim: "every refusal of PRIME is the error that the table of facts has for it",
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
    let card = Card::open("vgem")?;
    let object = card.dumb(4096)?;
    let export = |flags| card.export(object.handle, flags);
    checks.answers("an export", export(CLOEXEC | RDWR), "ok");
    checks.answers("an export with unknown flags", export(1 << 30), "EINVAL");
    checks.answers(
        "an export of no object",
        card.export(999, CLOEXEC),
        "ENOENT",
    );
    checks.answers(
        "an import of no descriptor",
        card.import_number(999),
        "EBADF",
    );
    let null = std::fs::File::open("/dev/null")?;
    checks.answers("an import of something else", card.import(&null), "EINVAL");
    let imported = card.import(export(CLOEXEC)?)?;
    checks.equal(
        "an import of our own export is the object",
        &imported,
        &object.handle,
    );
    Ok(())
}
