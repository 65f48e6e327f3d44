//! How much memory requests take, and how they are divided to stay within a limit.

use std::ops::Range;

use tch::Kind;

use super::ModelFolder;
use crate::weights::TensorFile;
use crate::{Error, Result};

// What the released shapes take in half precision, above their weights: what `trellis bench --random-weights` shows at 19,904 voxels (338 MiB, 24 kB and
// 141 kB a voxel), and an eighth more. Guidance runs both of its passes at once.

/// What a sample of the sparse structure takes while its flow or decoder runs.
const STRUCTURE: u64 = 384 << 20;
/// What a voxel takes while the flow on latents runs.
const LATENT_VOXEL: u64 = 27 << 10;
/// What a voxel takes while the mesh decoder runs, the largest of all stages.
const MESH_VOXEL: u64 = 156 << 10;

/// What requests may take beside the weights.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes; `None` is all there is.
    available: Option<u64>,
    limit: u64,
    /// Bytes of a number over those of one in half precision.
    width: u64,
    max_batch: usize,
}

impl Budget {
    /// The budget of a pipeline of these folders.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the weights alone exceed the limit.
    pub(super) fn new(
        folders: &[ModelFolder],
        torso: Kind,
        limit: Option<u64>,
        max_batch: usize,
    ) -> Result<Self> {
        let width = if torso == Kind::Half { 1 } else { 2 };
        let Some(limit) = limit else {
            return Ok(Self { available: None, limit: u64::MAX, width, max_batch });
        };
        let weights = weights(folders, torso)?;
        let available = limit.checked_sub(weights).ok_or_else(|| {
            Error::OutOfMemory(format!(
                "the weights take {}, which exceeds the limit of {}; raise the limit or load a smaller model",
                gib(weights),
                gib(limit)
            ))
        })?;
        Ok(Self { available: Some(available), limit, width, max_batch })
    }

    /// So many samples of the sparse structure, divided.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when one of them exceeds the limit.
    pub(super) fn parts_of_structures(&self, samples: usize) -> Result<Vec<Range<usize>>> {
        self.parts(&vec![self.width * STRUCTURE; samples], |_| "sampling a sparse structure".to_owned())
    }

    /// Samples of so many voxels, divided for the flow on latents.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when one of them exceeds the limit.
    pub(super) fn parts_of_latents(&self, voxels: &[i64]) -> Result<Vec<Range<usize>>> {
        self.parts_of_voxels(voxels, LATENT_VOXEL)
    }

    /// Checks that meshes of samples of so many voxels can be made, one by one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when one of them exceeds the limit.
    pub(super) fn check_meshes(&self, voxels: &[i64]) -> Result<()> {
        self.parts_of_voxels(voxels, MESH_VOXEL).map(drop)
    }

    fn parts_of_voxels(&self, voxels: &[i64], each: u64) -> Result<Vec<Range<usize>>> {
        let cost = |count: &i64| count.unsigned_abs().saturating_mul(self.width * each);
        let what =
            |index: usize| format!("an object of {} voxels", voxels.get(index).copied().unwrap_or_default());
        self.parts(&voxels.iter().map(cost).collect::<Vec<_>>(), what)
    }

    /// Consecutive ranges whose costs fit together.
    fn parts(&self, costs: &[u64], what: impl Fn(usize) -> String) -> Result<Vec<Range<usize>>> {
        let available = self.available.unwrap_or(u64::MAX);
        let mut parts: Vec<Range<usize>> = Vec::new();
        let mut sum = 0u64;
        for (index, &cost) in costs.iter().enumerate() {
            if cost > available {
                return Err(self.exceeded(&what(index), cost, available));
            }
            sum = sum.saturating_add(cost);
            match parts.last_mut().filter(|part| part.len() < self.max_batch && sum <= available) {
                Some(part) => part.end = index + 1,
                None => {
                    parts.push(index..index + 1);
                    sum = cost;
                }
            }
        }
        Ok(parts)
    }

    fn exceeded(&self, what: &str, cost: u64, available: u64) -> Error {
        Error::OutOfMemory(format!(
            "{what} takes some {} beside the weights, of which the limit of {} leaves {}; raise the limit, or try another seed",
            gib(cost),
            gib(self.limit),
            gib(available)
        ))
    }
}

/// What `run` makes of the members of each part, in order. A part for which memory does not suffice after all is halved and
/// tried again: others may use the device, and what a part takes is an estimate.
///
/// # Errors
/// Those of `run`, of which [`Error::OutOfMemory`] only for one member alone.
pub(super) fn in_parts<T>(
    parts: Vec<Range<usize>>,
    mut run: impl FnMut(Range<usize>) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let mut waiting: Vec<Range<usize>> = parts.into_iter().rev().collect();
    let mut made = Vec::new();
    while let Some(part) = waiting.pop() {
        match run(part.clone()) {
            Err(Error::OutOfMemory(_)) if part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                waiting.extend([middle..part.end, part.start..middle]);
            }
            result => made.extend(result?),
        }
    }
    Ok(made)
}

/// What the weights take, those of shared decoders once.
fn weights(folders: &[ModelFolder], torso: Kind) -> Result<u64> {
    let mut sum = 0;
    for (index, folder) in folders.iter().enumerate() {
        for role in folder.roles().filter(|role| index == 0 || !role.is_decoder()) {
            let file = TensorFile::open(folder.checkpoint(role)?.weights_path())?;
            let numbers: i64 = file.shapes().map(|(_, shape)| shape.iter().product::<i64>()).sum();
            // What is stored in half precision is what may be held in it.
            let (stored, single) = (file.bytes() as u64, 4 * numbers.unsigned_abs());
            sum += if torso == Kind::Half { stored } else { single };
        }
    }
    Ok(sum)
}

/// Bytes of a device's memory, as far as they can be told beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What the weights take.
    pub weights: u64,
    /// What the largest stage of one request takes besides.
    pub request: u64,
}

impl ModelFolder {
    /// The memory that the model takes in half precision for an object of so many voxels.
    ///
    /// # Errors
    /// When one of its models is missing.
    pub fn memory(&self, voxels: i64) -> Result<Memory> {
        let request = STRUCTURE.max(voxels.unsigned_abs().saturating_mul(MESH_VOXEL));
        Ok(Memory { weights: weights(std::slice::from_ref(self), Kind::Half)?, request })
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(available: Option<u64>, max_batch: usize) -> Budget {
        Budget { available, limit: 64 << 30, width: 1, max_batch }
    }

    #[test]
    fn samples_go_together_as_far_as_memory_and_batch_allow() {
        let lengths = |parts: Vec<Range<usize>>| parts.iter().map(Range::len).collect::<Vec<_>>();
        let parts = |budget: Budget| lengths(budget.parts_of_latents(&[10_000, 20_000, 30_000, 1]).unwrap());
        assert_eq!(parts(budget(None, usize::MAX)), [4]);
        assert_eq!(parts(budget(None, 1)), [1, 1, 1, 1]);
        let least = 30_000 * LATENT_VOXEL;
        assert_eq!(parts(budget(Some(least), usize::MAX)), [2, 1, 1]);
        assert_eq!(parts(budget(Some(3 * least), 3)), [3, 1]);
        assert_eq!(lengths(budget(Some(2 * STRUCTURE), 9).parts_of_structures(3).unwrap()), [2, 1]);
    }

    #[test]
    fn a_part_that_does_not_fit_after_all_is_halved() {
        let mut tried = Vec::new();
        let mut run = |most: usize| {
            tried.clear();
            in_parts(vec![0..1, 1..6], |part| {
                tried.push(part.clone());
                if part.len() > most { Err(Error::OutOfMemory("full".into())) } else { Ok(part.collect()) }
            })
        };
        assert_eq!(run(2).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert!(matches!(run(0), Err(Error::OutOfMemory(_))));
        run(2).unwrap();
        assert_eq!(tried, [0..1, 1..6, 1..3, 3..6, 3..4, 4..6]);
    }

    #[test]
    fn an_object_beyond_the_limit_is_refused_with_its_size() {
        let error = budget(Some(8 << 30), 9).check_meshes(&[5_000, 1_000_000]).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory(_)));
        assert!(error.to_string().contains("1000000 voxels takes some 148.8 GiB"), "{error}");
    }
}
