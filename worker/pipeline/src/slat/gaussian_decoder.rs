//! Structured latents to Gaussian splats (SPEC section 6).

use serde::Deserialize;
use tch::{Kind, Tensor};
use trellis_asset::Gaussians;

use super::rows::rows;
use super::transformer::{SwinProjection, TransformerConfig};
use crate::Result;
use crate::sparse::SparseTensor;
use crate::weights::{Checkpoint, Placement};

/// Numbers of one Gaussian: place, colour, scale, rotation, opacity.
const WIDTHS: [i64; 5] = [3, 3, 3, 4, 1];

/// Constructor arguments of the reference's `SLatGaussianDecoder`.
#[derive(Debug, Clone, Deserialize)]
pub struct GaussianDecoderConfig {
    /// Its transformer.
    #[serde(flatten)]
    pub transformer: TransformerConfig,
    /// Channels of a latent.
    pub latent_channels: i64,
    representation_config: Representation,
}

/// How numbers become Gaussians. The filter against aliasing, `2d_filter_kernel_size`, is for rendering.
#[derive(Debug, Clone, Deserialize)]
struct Representation {
    lr: Rates,
    perturb_offset: bool,
    voxel_size: f64,
    num_gaussians: i64,
    #[serde(rename = "3d_filter_kernel_size")]
    smallest_scale: f64,
    scaling_bias: f64,
    opacity_bias: f64,
    scaling_activation: String,
}

/// Factors of the network's numbers, which gave each of them its own rate of learning.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Rates {
    #[serde(rename = "_xyz")]
    offset: f64,
    #[serde(rename = "_features_dc")]
    colour: f64,
    #[serde(rename = "_scaling")]
    scale: f64,
    #[serde(rename = "_rotation")]
    rotation: f64,
    #[serde(rename = "_opacity")]
    opacity: f64,
}

impl GaussianDecoderConfig {
    /// What keeps this program from running such a model, if anything.
    fn objection(&self) -> Option<String> {
        let Representation { num_gaussians, scaling_activation, .. } = &self.representation_config;
        if scaling_activation != "softplus" {
            return Some(format!(
                "scaling_activation {scaling_activation:?} is not supported, only \"softplus\""
            ));
        }
        if *num_gaussians < 1 {
            return Some(format!("num_gaussians is {num_gaussians}; a voxel must hold one or more"));
        }
        self.transformer.objection()
    }
}

/// The model.
#[derive(Debug)]
pub struct GaussianDecoder {
    config: GaussianDecoderConfig,
    network: SwinProjection,
    /// Where in a voxel each of its Gaussians starts, before the hyperbolic tangent: `[Gaussians, 3]`.
    starts: Option<Tensor>,
}

/// Gaussians of one sample as the network gives them, before activation; `[G, c]` in f32 each.
#[derive(Debug)]
pub struct GaussianParameters {
    /// Centres in the model's frame moved by ½: 0..1.
    pub positions: Tensor,
    /// Colours: spherical harmonics of degree 0.
    pub colours: Tensor,
    /// Scales, to be biased and activated.
    pub scales: Tensor,
    /// Rotations, without the unit quaternion that they differ from.
    pub rotations: Tensor,
    /// Opacities, to be biased and activated.
    pub opacities: Tensor,
}

impl GaussianDecoder {
    /// Loads the model.
    ///
    /// # Errors
    /// When the checkpoint is not an `SLatGaussianDecoder` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: GaussianDecoderConfig = checkpoint.config("SLatGaussianDecoder")?;
        if let Some(objection) = config.objection() {
            return Err(checkpoint.refuse(objection));
        }
        let Representation { num_gaussians, perturb_offset, .. } = config.representation_config;
        let outputs = num_gaussians * WIDTHS.iter().sum::<i64>();
        checkpoint.build(placement, |weights| {
            // The file holds it either way.
            let starts = weights.float("offset_perturbation", &[num_gaussians, 3])?;
            Ok(Self {
                network: SwinProjection::load(weights, &config.transformer, config.latent_channels, outputs)?,
                starts: perturb_offset.then_some(starts),
                config: config.clone(),
            })
        })
    }

    /// The Gaussians of each sample of latents `[N, C]` in f32.
    ///
    /// # Errors
    /// As [`GaussianDecoder::raw`].
    pub fn forward(&self, latents: &SparseTensor) -> Result<Vec<Gaussians>> {
        let parameters = self.parameters(&self.raw(latents)?)?;
        parameters.iter().map(|sample| self.activate(sample)).collect()
    }

    /// The channels of each voxel, `[N, 14 · Gaussians]` in f32.
    ///
    /// # Errors
    /// When the model's numbers overflow or libtorch fails.
    pub fn raw(&self, latents: &SparseTensor) -> Result<SparseTensor> {
        self.network.forward(latents)
    }

    /// The Gaussians that these channels mean, by sample.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn parameters(&self, raw: &SparseTensor) -> Result<Vec<GaussianParameters>> {
        raw.samples()?.iter().map(|(voxels, values)| self.sample(voxels, values)).collect()
    }

    fn sample(&self, voxels: &Tensor, values: &Tensor) -> Result<GaussianParameters> {
        let Representation { lr, num_gaussians, voxel_size, .. } = &self.config.representation_config;
        let resolution = f64::from(self.config.transformer.resolution);
        let parts = values.f_split_with_sizes(WIDTHS.map(|width| width * num_gaussians), 1)?;
        let [offsets, colours, scales, rotations, opacities] = &parts[..] else {
            unreachable!("five sizes give five parts")
        };
        let split = |part: &Tensor, rate: f64| part.f_mul_scalar(rate)?.f_unflatten(1, [*num_gaussians, -1]);

        let mut offsets = split(offsets, lr.offset)?;
        if let Some(starts) = &self.starts {
            offsets = offsets.f_add(starts)?;
        }
        // In the reference's order of operations, whose roundings show in the last bit.
        let offsets = offsets.f_tanh()?.f_div_scalar(resolution)?.f_mul_scalar(0.5)?;
        let centres = voxels.f_to_kind(Kind::Float)?.f_add_scalar(0.5)?.f_div_scalar(resolution)?;
        let positions = centres.f_unsqueeze(1)?.f_add(&offsets.f_mul_scalar(*voxel_size)?)?;
        Ok(GaussianParameters {
            positions: positions.f_flatten(0, 1)?,
            colours: split(colours, lr.colour)?.f_flatten(0, 1)?,
            scales: split(scales, lr.scale)?.f_flatten(0, 1)?,
            rotations: split(rotations, lr.rotation)?.f_flatten(0, 1)?,
            opacities: split(opacities, lr.opacity)?.f_flatten(0, 1)?,
        })
    }

    /// Gaussians as they are drawn and stored.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn activate(&self, parameters: &GaussianParameters) -> Result<Gaussians> {
        let GaussianParameters { positions, colours, scales, rotations, opacities } = parameters;
        let Representation { smallest_scale, scaling_bias, opacity_bias, .. } =
            &self.config.representation_config;
        let scales = scales.f_add_scalar(inverse_softplus(*scaling_bias))?.f_softplus()?;
        let scales = scales.f_square()?.f_add_scalar(smallest_scale.powi(2))?.f_sqrt()?;
        let opacities = opacities.f_add_scalar((opacity_bias / (1.0 - opacity_bias)).ln())?.f_sigmoid()?;
        let unit = Tensor::f_from_slice(&[1f32, 0.0, 0.0, 0.0])?.f_to_device(rotations.device())?;
        Ok(Gaussians {
            positions: rows(&positions.f_sub_scalar(0.5)?)?,
            harmonics: rows(colours)?,
            opacities: rows(&opacities)?,
            scales: rows(&scales)?,
            rotations: rows(&rotations.f_add(&unit)?)?,
        })
    }
}

/// ln(exp(y) - 1).
fn inverse_softplus(y: f64) -> f64 {
    y.exp_m1().ln()
}
