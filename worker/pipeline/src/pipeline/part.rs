//! Which files a model is made of, and where they may lie: for whoever loads one, fetches one or copies one.

use super::Role;

/// The folder that holds a model's own parts, and so is nobody's name.
const OWN: &str = "ckpts";

/// A model's part as `pipeline.json` names it: a pair of files that differ in their extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it does in the pipeline.
    pub role: Role,
    path: String,
}

/// A part that `pipeline.json` takes from another model, `owner/name/rest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Borrowed<'a> {
    /// Who publishes that model.
    pub owner: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// The part's path in its folder, without extension.
    pub path: &'a str,
}

/// A place relative to a model's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// So many folders above it,
    pub above: usize,
    /// and down this path.
    pub path: String,
}

impl Part {
    pub(super) fn new(role: Role, path: String) -> Self {
        Self { role, path }
    }

    /// Its path in the model's folder, without extension. There it may lie whomever it is taken from.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The model that it is taken from, where that is another one.
    pub fn borrowed(&self) -> Option<Borrowed<'_>> {
        let (owner, rest) = self.path.split_once('/')?;
        let (name, path) = rest.split_once('/')?;
        (owner != OWN).then_some(Borrowed { owner, name, path })
    }

    /// Where it may lie, without extension, the first choice first: in the model's own folder; of another model, in the folder `name` beside
    /// that, and in `owner/name` beside its parent.
    pub fn places(&self) -> Vec<Place> {
        let mut places = vec![Place { above: 0, path: self.path.clone() }];
        if let Some(Borrowed { owner, name, path }) = self.borrowed() {
            places.push(Place { above: 1, path: format!("{name}/{path}") });
            places.push(Place { above: 2, path: format!("{owner}/{name}/{path}") });
        }
        places
    }
}
