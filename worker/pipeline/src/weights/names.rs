//! Files that hold a model's tensors under other names than the reference's.

/// How a file names the tensors of a model.
#[derive(Debug, Clone, Copy)]
pub struct Names(fn(&str) -> Vec<String>);

impl Names {
    /// As the model does.
    pub const AS_STORED: Self = Self(|path| vec![path.to_owned()]);

    /// `stored` gives for the model's name of a tensor the file's name, or the names of the parts that are stacked along the first axis.
    pub const fn renamed(stored: fn(&str) -> Vec<String>) -> Self {
        Self(stored)
    }

    /// The parts of the tensor `path`, one for most.
    pub(super) fn parts(&self, path: &str) -> Vec<String> {
        self.0(path)
    }
}
