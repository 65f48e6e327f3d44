//! Sampling a rectified flow by Euler steps, with classifier-free guidance (SPEC section 4).
//!
//! The sampler sees one tensor and a velocity for it, so it serves the dense and the sparse model alike.

use serde::Deserialize;
use tch::Tensor;

use crate::{Error, Result};

/// A model that says in which direction a sample moves.
pub trait Velocity {
    /// Readies the model for a run: whatever does not depend on the sample is computed here, once. `times` are 1000 · time
    /// of each step, conditions `[1 or batch, tokens, width]`.
    ///
    /// # Errors
    /// When libtorch fails.
    fn start<'a>(&'a self, times: &[f64], conditions: &[&Tensor]) -> Result<Box<dyn Steps + 'a>>;
}

/// A model that is ready for a run.
pub trait Steps {
    /// The velocities of `x`, in the shape of `x`, at the time of step number `step`, under each of the conditions of these
    /// numbers.
    ///
    /// # Errors
    /// When libtorch fails.
    fn velocities(&self, x: &Tensor, step: usize, conditions: &[usize]) -> Result<Vec<Tensor>>;
}

/// How several images of one object steer one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MultiImage {
    /// Each step follows one image, in turn.
    #[default]
    Stochastic,
    /// Each step follows the mean of all images' velocities.
    Multidiffusion,
}

/// What a sample is to look like.
#[derive(Debug)]
pub struct Condition {
    /// One encoding per image.
    pub images: Vec<Tensor>,
    /// The encoding to move away from.
    pub negative: Tensor,
    /// How several images are combined.
    pub multi_image: MultiImage,
}

/// The parameters of one sampling run, as `pipeline.json` spells them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Sampling {
    /// Euler steps.
    pub steps: usize,
    /// Guidance strength w in v = (1 + w) v_image - w v_negative; 0 is no guidance.
    #[serde(default)]
    pub cfg_strength: f64,
    /// Times at which guidance is on, ends included.
    #[serde(default = "whole_interval")]
    pub cfg_interval: (f64, f64),
    /// How much the steps crowd toward the noisy end; 1 is not at all.
    #[serde(default = "one")]
    pub rescale_t: f64,
}

fn whole_interval() -> (f64, f64) {
    (0.0, 1.0)
}

fn one() -> f64 {
    1.0
}

impl Sampling {
    /// The times from 1 to 0 between which the steps go: r s / (1 + (r - 1) s) for s evenly spaced.
    pub fn times(&self) -> Vec<f64> {
        let (steps, r) = (self.steps, self.rescale_t);
        let spacing = -1.0 / steps as f64;
        let even = (0..steps).map(|index| index as f64 * spacing + 1.0).chain([0.0]);
        even.map(|s| r * s / (1.0 + (r - 1.0) * s)).collect()
    }

    /// Whether guidance is on at time `t`.
    pub fn guides(&self, t: f64) -> bool {
        self.cfg_strength != 0.0 && self.cfg_interval.0 <= t && t <= self.cfg_interval.1
    }
}

/// Moves `noise` along the flow to a sample. `on_step` sees the number of steps done and the sample after each; its
/// error, a cancellation for one, ends the run.
///
/// # Errors
/// When libtorch or `on_step` fails.
pub fn sample(
    model: &dyn Velocity,
    noise: Tensor,
    condition: &Condition,
    sampling: &Sampling,
    on_step: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    if condition.images.is_empty() {
        return Err(Error::InvalidInput("no image was given; send at least one".into()));
    }
    let times = sampling.times();
    let starts: Vec<f64> = times.iter().take(sampling.steps).map(|t| 1000.0 * t).collect();
    let guided = times.iter().take(sampling.steps).any(|&t| sampling.guides(t));
    let negative = guided.then_some(&condition.negative);
    let conditions: Vec<&Tensor> = condition.images.iter().chain(negative).collect();
    let model = model.start(&starts, &conditions)?;
    let mut x = noise;
    for (step, (&t, &next)) in times.iter().zip(times.iter().skip(1)).enumerate() {
        let velocity = guided_velocity(&*model, &x, t, step, condition, sampling)?;
        x = x.f_sub(&velocity.f_mul_scalar(t - next)?)?;
        on_step(step + 1, &x)?;
    }
    Ok(x)
}

fn guided_velocity(
    model: &dyn Steps,
    x: &Tensor,
    t: f64,
    step: usize,
    condition: &Condition,
    sampling: &Sampling,
) -> Result<Tensor> {
    let images = condition.images.len();
    let mut wanted: Vec<usize> = match condition.multi_image {
        MultiImage::Stochastic => vec![step % images],
        MultiImage::Multidiffusion => (0..images).collect(),
    };
    let guides = sampling.guides(t);
    if guides {
        // The negative condition comes after the images.
        wanted.push(images);
    }
    let mut velocities = model.velocities(x, step, &wanted)?;
    let unwanted = if guides { velocities.pop() } else { None };
    let wanted = mean(&velocities)?;
    let Some(unwanted) = unwanted else { return Ok(wanted) };
    let w = sampling.cfg_strength;
    Ok(wanted.f_mul_scalar(1.0 + w)?.f_sub(&unwanted.f_mul_scalar(w)?)?)
}

fn mean(velocities: &[Tensor]) -> Result<Tensor> {
    match velocities {
        [one] => Ok(one.shallow_clone()),
        [first, others @ ..] => {
            let sum = others.iter().try_fold(first.shallow_clone(), |sum, next| sum.f_add(next))?;
            Ok(sum.f_div_scalar(velocities.len() as f64)?)
        }
        [] => Err(Error::Torch("a model gave no velocity".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves every number by what the condition holds.
    struct Constant;

    impl Velocity for Constant {
        fn start<'a>(&'a self, _: &[f64], conditions: &[&Tensor]) -> Result<Box<dyn Steps + 'a>> {
            Ok(Box::new(Ready(conditions.iter().map(|condition| condition.copy()).collect())))
        }
    }

    struct Ready(Vec<Tensor>);

    impl Steps for Ready {
        fn velocities(&self, _: &Tensor, _: usize, conditions: &[usize]) -> Result<Vec<Tensor>> {
            Ok(conditions.iter().map(|&index| self.0[index].copy()).collect())
        }
    }

    fn run(images: &[f64], multi_image: MultiImage, sampling: &Sampling) -> Result<f64> {
        let condition = Condition {
            images: images.iter().map(|&value| Tensor::from(value)).collect(),
            negative: Tensor::from(1.0),
            multi_image,
        };
        let x = sample(&Constant, Tensor::from(0.0), &condition, sampling, &mut |_, _| Ok(()))?;
        Ok(x.double_value(&[]))
    }

    fn sampling(steps: usize, cfg_strength: f64) -> Sampling {
        Sampling { steps, cfg_strength, cfg_interval: (0.5, 1.0), rescale_t: 1.0 }
    }

    #[test]
    fn guidance_holds_at_both_ends_of_its_interval_and_not_beyond() {
        // Times 1, 0.5 are guided: v = 3·2 - 2·1 = 4; there is no step after the second.
        assert_eq!(run(&[2.0], MultiImage::Stochastic, &sampling(2, 2.0)).unwrap(), -4.0);
        // Times 1, 0.75, 0.5 are guided, 0.25 is not.
        assert_eq!(run(&[2.0], MultiImage::Stochastic, &sampling(4, 2.0)).unwrap(), -3.5);
    }

    #[test]
    fn images_take_turns_or_are_averaged() {
        assert_eq!(run(&[1.0, 2.0, 6.0], MultiImage::Stochastic, &sampling(4, 0.0)).unwrap(), -2.5);
        assert_eq!(run(&[1.0, 2.0, 6.0], MultiImage::Multidiffusion, &sampling(4, 0.0)).unwrap(), -3.0);
    }

    #[test]
    fn no_image_is_an_error_and_no_panic() {
        for mode in [MultiImage::Stochastic, MultiImage::Multidiffusion] {
            assert!(matches!(run(&[], mode, &sampling(2, 1.0)), Err(Error::InvalidInput(_))));
        }
    }

    #[test]
    fn a_cancellation_ends_the_run_between_two_steps() {
        let condition = Condition {
            images: vec![Tensor::from(1.0)],
            negative: Tensor::from(0.0),
            multi_image: MultiImage::Stochastic,
        };
        let mut seen = 0;
        let result = sample(&Constant, Tensor::from(0.0), &condition, &sampling(9, 0.0), &mut |step, _| {
            seen = step;
            if step == 3 { Err(Error::Cancelled) } else { Ok(()) }
        });
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(seen, 3);
    }
}
