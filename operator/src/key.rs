//! How objects are named inside the operator.

use std::fmt;
use std::sync::Arc;

/// An object's `metadata.uid`: jobs and worker pods are told apart by it, so a new object of an old name is another one.
pub(crate) type Uid = Arc<str>;

/// A namespace and a name in it: how jobs refer to pools.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
