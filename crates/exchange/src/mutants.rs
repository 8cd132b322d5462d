//! Seeded bugs: one for each rule that the model checker is to watch over.
//!
//! Only with the feature `model`, and only while `seed` says so, does the code
//! break a rule. `tests/model` shows that each of them is found.

/// A rule, broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Importers come in while the memory is away.
    LateJoin,
    /// Accesses begin while the memory is away.
    LateEnter,
    /// A mapping made before a move or a revocation is kept after it.
    StaleMapping,
    /// A revocation leaves CPU mappings as they are.
    NoCut,
    /// A revocation waits for nobody.
    Impatient,
    /// A move waits for nobody.
    MoveAtOnce,
    /// Nobody waits for a move.
    NoKernelFence,
    /// Pinned memory is moved.
    MovePinned,
    /// Nobody maps the memory again after a move.
    NoFollow,
    /// A second revocation returns before the first is over.
    HalfRevoked,
    /// A restoration does not wait for the revocation to be over.
    EarlyRestore,
    /// A revocation does not wait for a move to end.
    RevokeInMove,
    /// A frame is decoded into memory that is away.
    StaleExclusive,
    /// A window that is being mapped is not waited for.
    ForgottenMap,
    /// A descriptor is lent of memory that is away.
    LateLoan,
    /// Nobody looks for what lingers in a window after a reset.
    Lingering,
    /// Who was not cut off in time is cut off after a restoration.
    OutOfTurn,
    /// Who comes after a restoration waits for who was cut off.
    StaleFences,
    /// Several reservations are locked in the order in which they are named.
    AnyOrder,
}

#[cfg(feature = "model")]
std::thread_local! {
    // The checker runs all threads of a test on the one that started it, so tests
    // don't see each other's seeds.
    static SEEDED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Breaks a rule from now on, or none.
#[cfg(feature = "model")]
pub fn seed(mutant: Option<Mutant>) {
    SEEDED.set(mutant);
}

/// Whether to break this rule.
#[cfg(feature = "model")]
pub(crate) fn seeded(mutant: Mutant) -> bool {
    SEEDED.get() == Some(mutant)
}

/// Whether to break this rule: never.
#[cfg(not(feature = "model"))]
pub(crate) const fn seeded(_: Mutant) -> bool {
    false
}
