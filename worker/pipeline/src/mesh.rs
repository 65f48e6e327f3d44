//! Triangle meshes.
