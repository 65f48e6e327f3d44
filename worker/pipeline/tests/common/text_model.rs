//! A small text model in the released layout: the flows of fixture 15's image model under a CLIP of seeded random weights, with that
//! model's decoders named as a text model names them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of this module")]

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{TensorView, serialize_to_file};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;
use trellis::clip::{CONTEXT, VOCABULARY};

/// Width of the fixture's conditions.
const WIDTH: usize = 32;
const HIDDEN: usize = 64;
const BLOCKS: usize = 2;

/// A models root that holds both models.
pub struct Models {
    root: TempDir,
}

impl Models {
    /// Copies the image model of fixture 15 and makes the text model beside it.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let models = Self { root };
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/15_end2end/model");
        copy(&fixture, &models.image());
        let text = models.text();
        let pipeline = fs::read_to_string(fixture.join("pipeline.json")).unwrap();
        fs::create_dir_all(text.join("ckpts/small")).unwrap();
        fs::write(text.join("pipeline.json"), text_pipeline(&pipeline).to_string()).unwrap();
        for flow in ["ss_flow_tiny", "slat_flow_tiny"] {
            for extension in ["json", "safetensors"] {
                let name = format!("ckpts/{flow}.{extension}");
                fs::copy(fixture.join(&name), text.join(&name)).unwrap();
            }
        }
        write_clip(&text.join("ckpts/small/clip"));
        models
    }

    /// The image model's folder.
    pub fn image(&self) -> PathBuf {
        self.root.path().join("owner/TRELLIS-image")
    }

    /// Fills a bias of the image model.
    pub fn set_bias(&self, model: &str, name: &str, value: f32) {
        let path = self.image().join(model).with_extension("safetensors");
        let bytes = fs::read(&path).unwrap();
        let whole = SafeTensors::deserialize(&bytes).unwrap();
        let bias = whole.tensor(name).unwrap();
        assert_eq!(bias.dtype(), Dtype::F32);
        let filled: Vec<u8> = bias.data().chunks(4).flat_map(|_| value.to_le_bytes()).collect();
        let tensors = whole.tensors().into_iter().map(|(other, view)| match other == name {
            true => (other, TensorView::new(Dtype::F32, bias.shape().to_vec(), &filled).unwrap()),
            false => (other, view),
        });
        serialize_to_file(tensors, None, &path).unwrap();
    }

    /// The text model's folder.
    pub fn text(&self) -> PathBuf {
        self.root.path().join("owner/TRELLIS-text")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn text_pipeline(image_pipeline: &str) -> Value {
    let mut pipeline: Value = serde_json::from_str(image_pipeline).unwrap();
    pipeline["name"] = "TrellisTextTo3DPipeline".into();
    let arguments = pipeline["args"].as_object_mut().unwrap();
    arguments.remove("image_cond_model");
    arguments.insert("text_cond_model".into(), "small/clip".into());
    for (role, path) in arguments["models"].as_object_mut().unwrap() {
        if role.contains("decoder") {
            *path = format!("owner/TRELLIS-image/{}", path.as_str().unwrap()).into();
        }
    }
    pipeline
}

fn write_clip(stem: &Path) {
    let args = json!({
        "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT, "hidden_size": WIDTH,
        "intermediate_size": HIDDEN, "num_hidden_layers": BLOCKS, "num_attention_heads": 2
    });
    let config = json!({"name": "CLIPTextModel", "args": args});
    fs::write(stem.with_extension("json"), config.to_string()).unwrap();

    let mut random = Random(3);
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = clip_shapes()
        .into_iter()
        .map(|(name, shape)| {
            let scale = if name.contains("norm") { 1.0 } else { 0.2 };
            let count = shape.iter().product::<usize>();
            let bytes = (0..count).flat_map(|_| (scale * random.next()).to_le_bytes()).collect();
            (format!("text_model.{name}"), shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, &stem.with_extension("safetensors")).unwrap();
}

fn clip_shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("embeddings.token_embedding.weight".to_owned(), vec![VOCABULARY as usize, WIDTH]),
        ("embeddings.position_embedding.weight".to_owned(), vec![CONTEXT, WIDTH]),
    ];
    let mut layer = |name: String, inputs: Option<usize>, outputs: usize| {
        let weight = inputs.map_or_else(|| vec![outputs], |inputs| vec![outputs, inputs]);
        shapes.extend([(format!("{name}.weight"), weight), (format!("{name}.bias"), vec![outputs])]);
    };
    for block in 0..BLOCKS {
        let place = |name: &str| format!("encoder.layers.{block}.{name}");
        for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            layer(place(&format!("self_attn.{name}")), Some(WIDTH), WIDTH);
        }
        layer(place("layer_norm1"), None, WIDTH);
        layer(place("layer_norm2"), None, WIDTH);
        layer(place("mlp.fc1"), Some(WIDTH), HIDDEN);
        layer(place("mlp.fc2"), Some(HIDDEN), WIDTH);
    }
    layer("final_layer_norm".to_owned(), None, WIDTH);
    shapes
}

/// Numbers in -1..1 (SplitMix64), the same each time; libtorch's generator belongs to the noise.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}
