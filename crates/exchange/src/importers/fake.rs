//! An importer that needs whatever it is told to: a test aid.

use crate::importer::Importer;
use crate::terms::Needs;

/// An importer that needs whatever it is told to.
#[derive(Debug, Clone)]
pub struct FakeImporter {
    /// Its name.
    pub name: String,
    /// What it needs.
    pub needs: Needs,
}

impl FakeImporter {
    /// An importer with these needs.
    pub fn new(name: impl Into<String>, needs: Needs) -> Self {
        Self {
            name: name.into(),
            needs,
        }
    }
}

impl Importer for FakeImporter {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn needs(&self) -> Needs {
        self.needs
    }
}
