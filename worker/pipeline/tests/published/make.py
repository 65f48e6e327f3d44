"""Makes the fixtures of this folder: small encoders with random weights as the library transformers writes and computes them.

    pip install torch==2.11.0 transformers==5.24.0 && python make.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

HERE = Path(__file__).parent


def randomise(model):
    """Constructors leave biases at zero and norms at one, where a mix-up would not show."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def save(model, name, **tensors):
    folder = HERE / name
    model.save_pretrained(folder)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "expected.safetensors")


@torch.no_grad()
def dinov2():
    config = Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=2, image_size=28, patch_size=7, num_register_tokens=2
    )
    model = randomise(Dinov2WithRegistersModel(config))
    image = torch.randn(2, 3, 28, 28)
    save(model, "dinov2", image=image, features=model(image, output_hidden_states=True).hidden_states[-1])


@torch.no_grad()
def clip():
    text = dict(vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=9)
    text |= dict(eos_token_id=49, bos_token_id=48, pad_token_id=1, projection_dim=8)
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    model = randomise(CLIPModel(config))
    tokens = torch.randint(0, 48, (2, 9))
    tokens[:, -1] = 49
    save(model, "clip", tokens=tokens, features=model.text_model(tokens).last_hidden_state)


torch.manual_seed(0)
dinov2()
clip()
