//! Parity of the text encoder: tokens and conditions of prompts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Stage, hollow_checkpoint, read_json};
use serde::Deserialize;
use serde_json::json;
use tch::Tensor;
use trellis::clip::{ClipTextModel, TextEncoder, Tokenizer};
use trellis::weights::Placement;

#[derive(Deserialize)]
struct Cases {
    prompts: Vec<String>,
    input_ids: Vec<Vec<i64>>,
}

#[test]
fn tokens_03_of_all_cases() {
    let Some(stage) = Stage::open("03_clip_text") else { return };
    let cases: Cases =
        serde_json::from_slice(&std::fs::read(stage.path("tokenizer_cases.json")).unwrap()).unwrap();
    let tokenizer = Tokenizer::new();
    assert!(cases.prompts.len() > 10);
    for (prompt, expected) in cases.prompts.iter().zip(cases.input_ids) {
        let tokens = tokenizer.tokens(prompt).unwrap();
        let name: String = prompt.chars().take(28).collect();
        stage.within(&format!("{name:?}"), &Tensor::from_slice(&tokens), &Tensor::from_slice(&expected), 0.0);
    }
}

#[test]
fn text_model_03() {
    let Some(stage) = Stage::open("03_clip_text") else { return };
    let model = ClipTextModel::load(&stage.checkpoint(), stage.placement()).unwrap();
    let tokens = stage.input("input_ids");
    stage.close("hidden_after_embeddings", &model.embed(&tokens).unwrap());
    stage.close("last_hidden_state", &model.forward(&tokens).unwrap());
}

#[test]
fn text_model_03_of_the_released_size_has_the_tensors_that_the_model_takes() {
    let Some(stage) = Stage::open("03_clip_text") else { return };
    let full = read_json(&stage.path("params_full.json"));
    let config = json!({"name": "CLIPTextModel", "args": full["config"]});
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = hollow_checkpoint(folder.path(), &config, &full["params"]);
    stage.holds("params_full", TextEncoder::load(&checkpoint, Placement::unread()).map(drop));
}
