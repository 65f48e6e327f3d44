//! The safetensors format (<https://github.com/huggingface/safetensors#format>), read through a memory map.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// A safetensors file whose header has been checked: every tensor lies within the file.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    map: Mmap,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<i64>,
    bytes: Range<usize>,
}

impl TensorFile {
    /// Maps the file and checks its header against its length.
    ///
    /// # Errors
    /// When it cannot be read, is truncated, or is not a safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        let map = super::mmap::map(path)?;
        let entries = entries(&map).map_err(|error| {
            Error::model(path, format!("not a whole safetensors file ({error}); copy or download it again"))
        })?;
        Ok(Self { path: path.to_owned(), map, entries })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the whole file.
    pub fn bytes(&self) -> usize {
        self.map.len()
    }

    /// Name and shape of each tensor, by name.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.shape.as_slice()))
    }

    /// The shape of the tensor `name`, if the file has it.
    pub fn shape(&self, name: &str) -> Option<&[i64]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Copies a tensor, as it is stored, into the memory of the CPU. `None`: the file has none of that name.
    ///
    /// # Errors
    /// When its element type is one that models do not use.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        let kind = kind(entry.dtype).ok_or_else(|| {
            Error::model(
                &self.path,
                format!("{name} has the element type {:?}, which is not supported", entry.dtype),
            )
        })?;
        let data = self.map.get(entry.bytes.clone()).unwrap_or_default();
        Ok(Some(Tensor::f_from_data_size(data, &entry.shape, kind)?))
    }
}

/// Parses the header. `SafeTensors` has checked that sizes, offsets and file length agree when this returns.
fn entries(map: &Mmap) -> std::result::Result<BTreeMap<String, Entry>, safetensors::SafeTensorError> {
    let start = map.as_ptr() as usize;
    let entry = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let offset = view.data().as_ptr() as usize - start;
        let entry = Entry {
            dtype: view.dtype(),
            shape: dimensions(view.shape()),
            bytes: offset..offset + view.data().len(),
        };
        (name, entry)
    };
    Ok(SafeTensors::deserialize(map)?.tensors().into_iter().map(entry).collect())
}

fn dimensions(shape: &[usize]) -> Vec<i64> {
    // A dimension beyond i64 occurs only beside a zero: such a tensor is empty whatever its shape.
    shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
}

fn kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F32 => Some(Kind::Float),
        Dtype::F64 => Some(Kind::Double),
        Dtype::U8 => Some(Kind::Uint8),
        Dtype::I32 => Some(Kind::Int),
        Dtype::I64 => Some(Kind::Int64),
        Dtype::BOOL => Some(Kind::Bool),
        _ => None,
    }
}
