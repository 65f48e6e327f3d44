//! DINOv2 with registers (Oquab et al. 2023, Darcet et al. 2023): the image encoder.

mod transformers;

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::Result;
use crate::nn::{LayerNorm, Linear, Residual, attend_within};
use crate::weights::{Checkpoint, Names, Placement, Weights};
use transformers::PublishedConfig;

const EPS: f64 = 1e-6;
/// Of the norm that follows the encoder.
const OUTPUT_EPS: f64 = 1e-5;

/// Constructor arguments of the reference's `DinoVisionTransformer`.
#[derive(Debug, Clone, Deserialize)]
pub struct DinoV2Config {
    /// Side of the image in pixels.
    pub img_size: i64,
    /// Side of a patch in pixels.
    pub patch_size: i64,
    /// Width of a token.
    pub embed_dim: i64,
    /// Blocks.
    pub depth: i64,
    /// Attention heads.
    pub num_heads: i64,
    /// Hidden over outer width of the perceptron.
    pub mlp_ratio: f64,
    /// Register tokens.
    pub num_register_tokens: i64,
}

/// The encoder.
#[derive(Debug)]
pub struct DinoV2 {
    patch_size: i64,
    torso: Kind,
    patch_embedding: Linear,
    cls_token: Tensor,
    register_tokens: Tensor,
    position: Tensor,
    blocks: Vec<Block>,
    output_norm: LayerNorm,
}

impl DinoV2 {
    /// Loads the encoder. Its torso is the blocks.
    ///
    /// # Errors
    /// When the checkpoint is not a DINOv2, in the form of torch hub or of `transformers`, or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let (config, names) = if checkpoint.class() == transformers::CLASS {
            let published: PublishedConfig = checkpoint.config(transformers::CLASS)?;
            let refuse =
                || checkpoint.refuse("use_swiglu_ffn is not supported: take the large model, not the giant");
            (published.into_config().ok_or_else(refuse)?, Names::renamed(transformers::stored))
        } else {
            (checkpoint.config::<DinoV2Config>("DinoVisionTransformer")?, Names::AS_STORED)
        };
        if config.patch_size < 1 || config.img_size % config.patch_size != 0 || config.num_heads < 1 {
            return Err(checkpoint.refuse("patch_size must divide img_size, and num_heads be at least 1"));
        }
        checkpoint.build_renamed(placement, names, |weights| Self::new(&config, weights))
    }

    fn new(config: &DinoV2Config, weights: &Weights) -> Result<Self> {
        let (channels, side) = (config.embed_dim, config.img_size / config.patch_size);
        let torso = weights.torso();
        // For training, and for a head that TRELLIS does not use.
        ["mask_token", "norm"].iter().for_each(|name| weights.skip(name));
        Ok(Self {
            patch_size: config.patch_size,
            torso: torso.kind(),
            patch_embedding: Linear::from_patches(
                &weights.at("patch_embed.proj"),
                config.patch_size,
                channels,
            )?,
            cls_token: weights.tensor("cls_token", &[1, 1, channels])?,
            register_tokens: weights.tensor("register_tokens", &[1, config.num_register_tokens, channels])?,
            position: weights.tensor("pos_embed", &[1, 1 + side * side, channels])?,
            blocks: (0..config.depth)
                .map(|index| Block::load(config, &torso.at("blocks").at(index)))
                .collect::<Result<_>>()?,
            output_norm: LayerNorm::plain(channels, OUTPUT_EPS),
        })
    }

    /// A normalised image `[B, 3, side, side]` to the condition `[B, tokens, channels]`: class token, registers,
    /// patches by row. It is the last block's output before the encoder's own norm, normalised without affine.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn encode(&self, image: &Tensor) -> Result<Tensor> {
        self.output_norm.forward(&self.features(image)?.f_to_kind(Kind::Float)?)
    }

    /// The last block's output, in the torso's kind.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn features(&self, image: &Tensor) -> Result<Tensor> {
        let x = self.embed(image)?.f_to_kind(self.torso)?;
        let (batch, tokens, _) = x.size3()?;
        let lengths = vec![tokens; batch as usize];
        let mut stream = Residual::new(x.f_flatten(0, 1)?, self.torso, None);
        for block in &self.blocks {
            block.forward(&mut stream, &lengths)?;
        }
        Ok(stream.finish()?.f_unflatten(0, [batch, tokens])?)
    }

    /// The tokens that enter the first block.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn embed(&self, image: &Tensor) -> Result<Tensor> {
        let patches =
            self.patch_embedding.forward(&patches(&image.f_to_kind(Kind::Float)?, self.patch_size)?)?;
        let batch = patches.size3()?.0;
        let each = |tokens: &Tensor| tokens.f_expand([batch, -1, -1], false);
        let positioned = Tensor::f_cat(&[each(&self.cls_token)?, patches], 1)?.f_add(&self.position)?;
        let (cls, patches) = (positioned.f_narrow(1, 0, 1)?, positioned.f_slice(1, 1, None, 1)?);
        Ok(Tensor::f_cat(&[cls, each(&self.register_tokens)?, patches], 1)?)
    }
}

/// `[B, C, p·h, p·w]` to `[B, h·w, C·p·p]`.
fn patches(image: &Tensor, size: i64) -> Result<Tensor> {
    let split = image.f_unflatten(2, [-1, size])?.f_unflatten(4, [-1, size])?;
    Ok(split.f_permute([0, 2, 4, 1, 3, 5])?.f_flatten(3, 5)?.f_flatten(1, 2)?)
}

#[derive(Debug)]
struct Block {
    heads: i64,
    norm1: LayerNorm,
    qkv: Linear,
    projection: Linear,
    scale1: Tensor,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
    scale2: Tensor,
}

impl Block {
    fn load(config: &DinoV2Config, weights: &Weights) -> Result<Self> {
        let channels = config.embed_dim;
        let hidden = (channels as f64 * config.mlp_ratio) as i64;
        let (attention, mlp) = (weights.at("attn"), weights.at("mlp"));
        Ok(Self {
            heads: config.num_heads,
            norm1: LayerNorm::affine(&weights.at("norm1"), channels, EPS)?,
            qkv: Linear::load(&attention.at("qkv"), channels, 3 * channels)?,
            projection: Linear::load(&attention.at("proj"), channels, channels)?,
            scale1: weights.tensor("ls1.gamma", &[channels])?.f_unsqueeze(0)?,
            norm2: LayerNorm::affine(&weights.at("norm2"), channels, EPS)?,
            up: Linear::load(&mlp.at("fc1"), channels, hidden)?,
            down: Linear::load(&mlp.at("fc2"), hidden, channels)?,
            scale2: weights.tensor("ls2.gamma", &[channels])?.f_unsqueeze(0)?,
        })
    }

    fn forward(&self, stream: &mut Residual, lengths: &[i64]) -> Result<()> {
        let x = stream.norm(&self.norm1, None)?;
        let qkv = self.qkv.forward(&x)?.f_unflatten(-1, [3, self.heads, -1])?;
        let part = |index| qkv.f_select(1, index);
        let mixed = attend_within(&part(0)?, &part(1)?, &part(2)?, lengths)?;
        stream.add(self.projection.forward(&mixed)?, Some(&self.scale1))?;
        let x = stream.norm(&self.norm2, None)?;
        let mixed = self.down.forward(&self.up.forward(&x)?.f_gelu_("none")?)?;
        stream.add(mixed, Some(&self.scale2))
    }
}
