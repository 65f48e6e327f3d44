//! The transformer over a prompt's tokens.

use serde::Deserialize;
use tch::Tensor;

use crate::Result;
use crate::nn::{LayerNorm, Linear};
use crate::weights::{Checkpoint, Placement, Weights};

/// What a whole CLIP holds besides its text tower.
const OTHER_PARTS: [&str; 4] = ["vision_model", "visual_projection", "text_projection", "logit_scale"];
/// Slope of the sigmoid that stands in for the Gaussian distribution in CLIP's GELU.
const QUICK_GELU: f64 = 1.702;

/// A published `CLIPModel`: this tower beside the one for images.
#[derive(Debug, Deserialize)]
struct ClipConfig {
    text_config: ClipTextConfig,
}

/// Constructor arguments, in the names of the published `text_config`.
#[derive(Debug, Clone, Deserialize)]
pub struct ClipTextConfig {
    /// Tokens that are told apart.
    pub vocab_size: i64,
    /// Width of a token.
    pub hidden_size: i64,
    /// Width of the perceptron's middle.
    pub intermediate_size: i64,
    /// Blocks.
    pub num_hidden_layers: i64,
    /// Attention heads.
    pub num_attention_heads: i64,
    /// Tokens of a prompt.
    pub max_position_embeddings: i64,
    /// Of the perceptron; only `quick_gelu`, the released one, is known.
    #[serde(default = "quick_gelu")]
    pub hidden_act: String,
    /// Added to variances before their root is taken.
    #[serde(default = "eps")]
    pub layer_norm_eps: f64,
}

fn quick_gelu() -> String {
    "quick_gelu".to_owned()
}

fn eps() -> f64 {
    1e-5
}

impl ClipTextConfig {
    /// What keeps this program from running such a model, if anything.
    fn objection(&self) -> Option<String> {
        if self.hidden_act != "quick_gelu" {
            return Some(format!("hidden_act {:?} is not supported, only \"quick_gelu\"", self.hidden_act));
        }
        let (channels, heads) = (self.hidden_size, self.num_attention_heads);
        (heads < 1 || channels % heads != 0)
            .then(|| format!("{heads} heads do not divide hidden_size {channels}"))
    }
}

/// The model.
#[derive(Debug)]
pub struct ClipTextModel {
    config: ClipTextConfig,
    tokens: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl ClipTextModel {
    /// Loads the model, which computes in f32: by itself, or from a whole CLIP as it is published.
    ///
    /// # Errors
    /// When the checkpoint is not a `CLIPTextModel` or `CLIPModel`, or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let whole = checkpoint.class() == "CLIPModel";
        let config = if whole {
            checkpoint.config::<ClipConfig>("CLIPModel")?.text_config
        } else {
            checkpoint.config("CLIPTextModel")?
        };
        if let Some(objection) = config.objection() {
            return Err(checkpoint.refuse(objection));
        }
        checkpoint.build(placement, |weights| {
            if whole {
                OTHER_PARTS.iter().for_each(|part| weights.skip(part));
            }
            Self::new(config, &weights.at("text_model"))
        })
    }

    fn new(config: ClipTextConfig, weights: &Weights) -> Result<Self> {
        let ClipTextConfig { vocab_size, hidden_size, max_position_embeddings, .. } = config;
        let (embeddings, layers) = (weights.at("embeddings"), weights.at("encoder").at("layers"));
        // The numbers from 0, which older files hold.
        embeddings.skip("position_ids");
        Ok(Self {
            tokens: embeddings.tensor("token_embedding.weight", &[vocab_size, hidden_size])?,
            positions: embeddings
                .tensor("position_embedding.weight", &[max_position_embeddings, hidden_size])?,
            blocks: (0..config.num_hidden_layers)
                .map(|index| Block::load(&config, &layers.at(index)))
                .collect::<Result<_>>()?,
            norm: LayerNorm::affine(&weights.at("final_layer_norm"), hidden_size, config.layer_norm_eps)?,
            config,
        })
    }

    /// What the model was built from.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// Token numbers `[B, tokens]` in i64 to the last block's output, normalised: `[B, tokens, width]`.
    ///
    /// # Errors
    /// When a number is beyond the vocabulary or libtorch fails.
    pub fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let h = self.blocks.iter().try_fold(self.embed(tokens)?, |h, block| block.forward(&h))?;
        self.norm.forward(&h)
    }

    /// What enters the first block.
    ///
    /// # Errors
    /// As [`ClipTextModel::forward`].
    pub fn embed(&self, tokens: &Tensor) -> Result<Tensor> {
        let length = tokens.size2()?.1;
        let embedded = Tensor::f_embedding(&self.tokens, tokens, -1, false, false)?;
        Ok(embedded.f_add(&self.positions.f_narrow(0, 0, length)?)?)
    }
}

#[derive(Debug)]
struct Block {
    heads: i64,
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    output: Linear,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Block {
    fn load(config: &ClipTextConfig, weights: &Weights) -> Result<Self> {
        let &ClipTextConfig { hidden_size, intermediate_size, layer_norm_eps, .. } = config;
        let (attention, mlp) = (weights.at("self_attn"), weights.at("mlp"));
        let square = |name: &str| Linear::load(&attention.at(name), hidden_size, hidden_size);
        Ok(Self {
            heads: config.num_attention_heads,
            norm1: LayerNorm::affine(&weights.at("layer_norm1"), hidden_size, layer_norm_eps)?,
            q: square("q_proj")?,
            k: square("k_proj")?,
            v: square("v_proj")?,
            output: square("out_proj")?,
            norm2: LayerNorm::affine(&weights.at("layer_norm2"), hidden_size, layer_norm_eps)?,
            up: Linear::load(&mlp.at("fc1"), hidden_size, intermediate_size)?,
            down: Linear::load(&mlp.at("fc2"), intermediate_size, hidden_size)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.f_add(&self.attend(&self.norm1.forward(x)?)?)?;
        let hidden = self.up.forward(&self.norm2.forward(&x)?)?;
        let hidden = hidden.f_mul(&hidden.f_mul_scalar(QUICK_GELU)?.f_sigmoid()?)?;
        Ok(x.f_add(&self.down.forward(&hidden)?)?)
    }

    /// Each token attends to itself and to those before it; padding is no exception.
    fn attend(&self, x: &Tensor) -> Result<Tensor> {
        let heads = |layer: &Linear| {
            Ok::<_, crate::Error>(layer.forward(x)?.f_unflatten(-1, [self.heads, -1])?.f_transpose(1, 2)?)
        };
        let (q, k, v) = (heads(&self.q)?, heads(&self.k)?, heads(&self.v)?);
        let (mask, causal) = (None::<Tensor>, true);
        let mixed = Tensor::f_scaled_dot_product_attention(&q, &k, &v, mask, 0.0, causal, None, false)?;
        self.output.forward(&mixed.f_transpose(1, 2)?.f_flatten(2, 3)?)
    }
}
