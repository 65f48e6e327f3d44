//! What a key or a token allows.

use axum::http::Method;
use serde::{Deserialize, Serialize};

/// One thing that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To see jobs and to fetch what they made.
    Read,
    /// To make jobs and to end them.
    Write,
    /// That reading and writing reach the jobs of every user of the namespace.
    Admin,
}

impl Scope {
    /// The scope's name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin].into_iter().find(|scope| scope.as_str() == name)
    }
}

/// All that is allowed. Reading and writing where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(Vec<Scope>);

impl Default for Scopes {
    fn default() -> Self {
        Self(vec![Scope::Read, Scope::Write])
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// A scope that a request needs and does not have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("This needs the scope `{}`, which your key or token does not have. Use another, or ask an administrator.", .0.as_str())]
pub(crate) struct ScopeMissing(Scope);

impl Scopes {
    /// Whether they are what is allowed where nothing else is said.
    #[must_use]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Nothing is allowed.
    #[must_use]
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `scope` is among them.
    #[must_use]
    pub(crate) fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether a request of `method` is allowed: what changes nothing needs `read`, all else `write`.
    pub(crate) fn allow(&self, method: &Method) -> Result<(), ScopeMissing> {
        let needed = if method.is_safe() { Scope::Read } else { Scope::Write };
        self.contains(needed).then_some(()).ok_or(ScopeMissing(needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_writing_are_apart_and_an_administrator_has_neither_for_nothing() {
        let allowed = |scopes: &[Scope], method| scopes.iter().copied().collect::<Scopes>().allow(&method);
        for (scopes, reads, writes) in [
            (&[Scope::Read][..], true, false),
            (&[Scope::Write], false, true),
            (&[Scope::Read, Scope::Write], true, true),
            (&[Scope::Admin], false, false),
            (&[], false, false),
        ] {
            assert_eq!(allowed(scopes, Method::GET).is_ok(), reads, "{scopes:?}");
            assert_eq!(allowed(scopes, Method::HEAD).is_ok(), reads, "{scopes:?}");
            assert_eq!(allowed(scopes, Method::POST).is_ok(), writes, "{scopes:?}");
            assert_eq!(allowed(scopes, Method::DELETE).is_ok(), writes, "{scopes:?}");
        }
        assert_eq!(allowed(&[Scope::Read], Method::POST), Err(ScopeMissing(Scope::Write)));
    }
}
