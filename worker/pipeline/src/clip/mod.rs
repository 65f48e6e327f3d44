//! CLIP's text tower (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021): a
//! prompt to a condition.

mod text_model;
mod tokenizer;

use tch::{Device, Tensor};

pub use text_model::{ClipTextConfig, ClipTextModel};
pub use tokenizer::{CONTEXT, MAX_PROMPT, Tokenizer, VOCABULARY};

use crate::Result;
use crate::weights::{Checkpoint, Placement};

/// Tokenizer and model.
#[derive(Debug)]
pub struct TextEncoder {
    tokenizer: Tokenizer,
    model: ClipTextModel,
    device: Device,
}

impl TextEncoder {
    /// Loads the model, which computes in f32. The vocabulary is CLIP's own and part of this program.
    ///
    /// # Errors
    /// When the checkpoint is not a `CLIPTextModel`, is one of another vocabulary, or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let model = ClipTextModel::load(checkpoint, placement)?;
        let ClipTextConfig { vocab_size, max_position_embeddings, .. } = model.config();
        if (*vocab_size, *max_position_embeddings) != (VOCABULARY, CONTEXT as i64) {
            return Err(checkpoint.refuse(format!(
                "has {vocab_size} tokens and {max_position_embeddings} places; CLIP's tokenizer needs {VOCABULARY} and {CONTEXT}"
            )));
        }
        Ok(Self { tokenizer: Tokenizer::new(), model, device: placement.device })
    }

    /// The condition `[1, 77, width]` of a prompt. The empty one is what guidance moves away from.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) when the prompt is too long.
    pub fn encode(&self, prompt: &str) -> Result<Tensor> {
        let tokens = Tensor::f_from_slice(&self.tokenizer.tokens(prompt)?)?;
        self.model.forward(&tokens.f_unsqueeze(0)?.f_to_device(self.device)?)
    }
}
