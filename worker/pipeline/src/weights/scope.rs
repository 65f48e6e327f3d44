//! Taking tensors by path while a model is built, and the account of what was taken.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::source::{Source, draw};
use super::{Names, Placement, WeightsError};
use crate::Result;
use crate::finite::is_finite;

/// What was taken, and what was wrong with it.
pub(super) struct Account {
    source: Source,
    placement: Placement,
    names: Names,
    left: BTreeSet<String>,
    wrong: WeightsError,
}

impl Account {
    /// An account of `source`, which `path` names in messages.
    pub(super) fn open(path: &Path, source: Source, placement: Placement, names: Names) -> RefCell<Self> {
        let wrong = WeightsError { path: path.to_owned(), ..WeightsError::default() };
        let left = match &source {
            Source::File(file) => file.shapes().map(|(name, _)| name.to_owned()).collect(),
            Source::Drawn { .. } => BTreeSet::new(),
        };
        RefCell::new(Self { source, placement, names, left, wrong })
    }

    /// Fails when a tensor was missing, unfit or left over.
    pub(super) fn close(mut self) -> Result<()> {
        self.wrong.surplus.extend(self.left);
        if self.wrong.is_empty() { Ok(()) } else { Err(Box::new(self.wrong).into()) }
    }

    fn take(&mut self, path: String, shape: &[i64], kind: Kind) -> Result<Tensor> {
        let parts = self.names.parts(&path);
        let part_shape = divided(shape, parts.len());
        let tensors: Vec<Option<Tensor>> =
            parts.into_iter().map(|part| self.take_stored(part, &part_shape, kind)).collect::<Result<_>>()?;
        match tensors.into_iter().collect::<Option<Vec<_>>>().as_deref() {
            Some([tensor]) => Ok(tensor.shallow_clone()),
            Some(parts) => Ok(Tensor::f_cat(parts, 0)?),
            // A stand-in, of one number: the constructor goes on to find whatever else is wrong, and `close` fails then.
            None => Ok(Tensor::f_zeros([1], (kind, self.placement.device))?.f_expand(shape, false)?),
        }
    }

    /// A tensor of the source. `None`: nothing is to be read, or something is wrong and was noted.
    fn take_stored(&mut self, path: String, shape: &[i64], kind: Kind) -> Result<Option<Tensor>> {
        self.left.remove(&path);
        let file = match &mut self.source {
            Source::File(file) => file,
            Source::Drawn { .. } if !self.placement.read => return Ok(None),
            Source::Drawn { count } => {
                *count += 1;
                return draw(*count, &path, shape, self.placement.device, kind).map(Some);
            }
        };
        match file.shape(&path) {
            None => self.wrong.missing.push(path),
            Some(found) if found != shape => {
                self.wrong.unfit.push(format!("{path} is {found:?}, expected {shape:?}"));
            }
            Some(_) if !self.placement.read => {}
            Some(_) => {
                let stored = file.tensor(&path)?.filter(Tensor::is_floating_point);
                let device = self.placement.device;
                let tensor = stored.map(|stored| stored.f_to_device(device)?.f_to_kind(kind)).transpose()?;
                match tensor {
                    Some(tensor) if is_finite(&tensor)? => return Ok(Some(tensor)),
                    Some(_) => self.wrong.unfit.push(format!("{path} holds numbers that are not finite")),
                    None => self.wrong.unfit.push(format!("{path} holds no floating-point numbers")),
                }
            }
        }
        Ok(None)
    }

    /// Says that no tensor is needed whose name in the model is `path` or begins with `path.`.
    fn skip(&mut self, path: &str) {
        for stored in self.names.parts(path) {
            let below = format!("{stored}.");
            self.left.retain(|name| *name != stored && !name.starts_with(&below));
        }
    }
}

/// The shape of one of `count` equal parts of the first axis.
fn divided(shape: &[i64], count: usize) -> Vec<i64> {
    let mut shape = shape.to_vec();
    if let (Some(first), Ok(count @ 2..)) = (shape.first_mut(), i64::try_from(count)) {
        *first /= count;
    }
    shape
}

/// A place in a checkpoint's tree of tensors, like `blocks.3.self_attn`.
pub struct Weights<'a> {
    account: &'a RefCell<Account>,
    prefix: String,
    kind: Kind,
}

impl<'a> Weights<'a> {
    pub(super) fn root(account: &'a RefCell<Account>) -> Self {
        Self { account, prefix: String::new(), kind: Kind::Float }
    }

    /// The place `name` below this one.
    pub fn at(&self, name: impl Display) -> Self {
        Self { account: self.account, prefix: self.path(name), kind: self.kind }
    }

    /// This place, where tensors are of the torso's kind ([`Placement::torso`]) instead of `Float`.
    pub fn torso(&self) -> Self {
        let kind = self.account.borrow().placement.torso;
        Self { account: self.account, prefix: self.prefix.clone(), kind }
    }

    /// The kind that [`Weights::tensor`] gives here.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the tensors are.
    pub fn device(&self) -> Device {
        self.account.borrow().placement.device
    }

    /// Takes the tensor `name`, which must have `shape`, in the kind of this place. A tensor that is not there or does
    /// not fit is noted for [`Checkpoint::build`](super::Checkpoint::build) to report, and a stand-in is returned.
    ///
    /// # Errors
    /// When memory does not suffice.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.account.borrow_mut().take(self.path(name), shape, self.kind)
    }

    /// The same in `Float` whatever the kind of this place: for norms, which always compute in f32.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn float(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.account.borrow_mut().take(self.path(name), shape, Kind::Float)
    }

    /// Says that the file may hold `name`, or tensors below it, but inference has no use for it.
    pub fn skip(&self, name: &str) {
        self.account.borrow_mut().skip(&self.path(name));
    }

    fn path(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}
