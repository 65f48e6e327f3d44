//! Layers that several models share. Tensors are `[batch, tokens, channels]` unless said otherwise.

mod attention;
mod linear;
mod norm;
mod position;
mod timestep;
mod transformer;

pub use attention::{CrossAttention, SelfAttention, attend};
pub use linear::{Linear, Mlp};
pub use norm::{LayerNorm, QkNorm};
pub use position::position_embedding;
pub use timestep::TimestepEmbedder;
pub use transformer::{BlockConfig, FlowBlock, Modulation, modulate};
