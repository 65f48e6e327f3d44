//! How many attention heads a model has.

use serde::Deserialize;

const DEFAULT_WIDTH: i64 = 64;

/// What the reference's constructors say of attention heads.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Heads {
    /// Attention heads; `None`: as many as heads of `num_head_channels` fit.
    #[serde(default)]
    pub num_heads: Option<i64>,
    /// Width of a head, where `num_heads` is not given.
    #[serde(default)]
    pub num_head_channels: Option<i64>,
}

impl Heads {
    /// The heads of a model whose tokens are so wide.
    pub fn of(self, channels: i64) -> i64 {
        let width = self.num_head_channels.unwrap_or(DEFAULT_WIDTH).max(1);
        self.num_heads.unwrap_or(channels / width)
    }
}
