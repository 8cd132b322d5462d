//! An importer that needs whatever it is told to: a test aid.

use std::sync::Arc;

use crate::holder::{FakeHolder, Holder};
use crate::importer::Importer;
use crate::terms::Needs;

/// An importer that needs whatever it is told to.
#[derive(Debug, Clone)]
pub struct FakeImporter {
    /// Its name.
    pub name: String,
    /// What it needs.
    pub needs: Needs,
    /// What it is told; `None` for one that can't be told.
    pub holder: Option<Arc<FakeHolder>>,
}

impl FakeImporter {
    /// An importer with these needs.
    pub fn new(name: impl Into<String>, needs: Needs) -> Self {
        Self {
            name: name.into(),
            needs,
            holder: Some(Arc::default()),
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

    fn holder(&self) -> Option<Arc<dyn Holder>> {
        Some(Arc::clone(self.holder.as_ref()?) as Arc<_>)
    }
}
