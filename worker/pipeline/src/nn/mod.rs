//! Layers that several models share. Tensors are `[batch, tokens, channels]`, or rows `[N, channels]` of samples that follow
//! one another, unless said otherwise.

mod attention;
mod heads;
mod linear;
mod norm;
mod position;
mod residual;
mod samples;
mod timestep;
mod torso;
mod transformer;

pub use attention::{Context, CrossAttention, SelfAttention, attend, attend_within};
pub use heads::Heads;
pub use linear::{Linear, Mlp};
pub use norm::{LayerNorm, QkNorm};
pub use position::position_embedding;
pub use residual::{Residual, ShiftScale};
pub use samples::{Rows, Samples};
pub use timestep::TimestepEmbedder;
pub use torso::{Contexts, FlowTorso, Times};
pub use transformer::{BlockConfig, FlowBlock, Modulation};
