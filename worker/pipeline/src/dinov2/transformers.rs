//! DINOv2 as it is published for the library `transformers`
//! (<https://huggingface.co/facebook/dinov2-with-registers-large>): the same tensors under other names, queries, keys and values apart.

use serde::Deserialize;

use super::DinoV2Config;

/// The class that such a `config.json` names.
pub(super) const CLASS: &str = "Dinov2WithRegistersModel";

/// What of `config.json` decides the model.
#[derive(Debug, Deserialize)]
pub(super) struct PublishedConfig {
    image_size: i64,
    patch_size: i64,
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    mlp_ratio: f64,
    num_register_tokens: i64,
    #[serde(default)]
    use_swiglu_ffn: bool,
}

impl PublishedConfig {
    /// The constructor's arguments. `None`: it is the giant, whose perceptron is of another kind.
    pub(super) fn into_config(self) -> Option<DinoV2Config> {
        (!self.use_swiglu_ffn).then_some(DinoV2Config {
            img_size: self.image_size,
            patch_size: self.patch_size,
            embed_dim: self.hidden_size,
            depth: self.num_hidden_layers,
            num_heads: self.num_attention_heads,
            mlp_ratio: self.mlp_ratio,
            num_register_tokens: self.num_register_tokens,
        })
    }
}

/// The stored names of the tensor `path`.
pub(super) fn stored(path: &str) -> Vec<String> {
    let Some((block, name)) = path.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) else {
        return vec![outside_blocks(path)];
    };
    let layer = |name: &str| format!("encoder.layer.{block}.{name}");
    match name.rsplit_once('.') {
        Some(("attn.qkv", kind)) => ["query", "key", "value"]
            .map(|part| layer(&format!("attention.attention.{part}.{kind}")))
            .to_vec(),
        Some(("attn.proj", kind)) => vec![layer(&format!("attention.output.dense.{kind}"))],
        Some(("ls1", _)) => vec![layer("layer_scale1.lambda1")],
        Some(("ls2", _)) => vec![layer("layer_scale2.lambda1")],
        // The norms and the perceptron are called alike.
        _ => vec![layer(name)],
    }
}

fn outside_blocks(path: &str) -> String {
    match path {
        "cls_token" | "mask_token" | "register_tokens" => format!("embeddings.{path}"),
        "pos_embed" => "embeddings.position_embeddings".to_owned(),
        "patch_embed.proj.weight" => "embeddings.patch_embeddings.projection.weight".to_owned(),
        "patch_embed.proj.bias" => "embeddings.patch_embeddings.projection.bias".to_owned(),
        "norm" => "layernorm".to_owned(),
        _ => path.to_owned(),
    }
}
