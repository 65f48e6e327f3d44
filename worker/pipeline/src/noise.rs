//! The noise that sampling starts from, equal to the reference's for the same seed.

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::Result;

/// libtorch's CPU generator is one for the process; whoever seeds it must draw before another does.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Draws standard normal noise from libtorch's CPU generator, as if nothing else had drawn since it was seeded.
#[derive(Debug)]
pub struct Noise {
    seed: u64,
    drawn: Vec<Vec<i64>>,
}

impl Noise {
    /// A generator freshly seeded with `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: Vec::new() }
    }

    /// The next tensor of `shape`, in f32 on `device`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn draw(&mut self, shape: &[i64], device: Device) -> Result<Tensor> {
        let normal = |shape: &[i64]| Tensor::f_randn(shape, (Kind::Float, Device::Cpu));
        let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(self.seed as i64);
        // Draws made before, by this or that request in between, are repeated: the generator has no saved state.
        for shape in &self.drawn {
            let _ = normal(shape)?;
        }
        let noise = normal(shape)?;
        self.drawn.push(shape.to_owned());
        Ok(noise.f_to_device(device)?)
    }
}

/// Standard normal numbers of the generator of `device` itself, in f32: millions at once, but others than on another device.
///
/// # Errors
/// When libtorch fails.
pub(crate) fn draw_on(device: Device, seed: u64, shape: &[i64]) -> Result<Tensor> {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed as i64);
    Ok(Tensor::f_randn(shape, (Kind::Float, device))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_run_side_by_side_do_not_disturb_each_other() {
        let first_and_second = |noise: &mut Noise| {
            let _ = noise.draw(&[1, 8, 4, 4], Device::Cpu).unwrap();
            noise.draw(&[5, 8], Device::Cpu).unwrap()
        };
        let alone = first_and_second(&mut Noise::new(42));

        let (mut one, mut other) = (Noise::new(42), Noise::new(7));
        let _ = one.draw(&[1, 8, 4, 4], Device::Cpu).unwrap();
        let _ = first_and_second(&mut other);
        assert_eq!(one.draw(&[5, 8], Device::Cpu).unwrap(), alone);
    }
}
