//! Wavefront OBJ (<http://paulbourke.net/dataformats/obj/>): y up, with its material (`.mtl`) and its texture beside it.

mod read;
mod write;

pub use read::{Beside, read};
pub(super) use write::archive;
pub use write::files;
