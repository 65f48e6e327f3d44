"""Makes the fixtures of background removal: small networks that take and give what the published ones do, photos, and what rembg makes of these.

    python3 -m venv venv && venv/bin/pip install rembg==2.0.86 onnxruntime==1.32.0 onnx==1.23.2 pillow==11.3.0
    venv/bin/python make_fixtures.py

Pillow is that of the reference's time: 13 resizes in another order, rows or columns first, which moves values by up to 2/255.

Run in this folder, which it fills. The networks have random weights, but brighter pixels get higher values, so their masks show an object.
"""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ["U2NET_HOME"] = str(HERE)

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from rembg import new_session, remove

# The published names of input and output, the input's side, and whether the network ends in a sigmoid.
NETWORKS = {
    "u2net": ("input.1", "1959", 320, True),
    "isnet-general-use": ("input_image", "output", 1024, True),
    "birefnet-general": ("input_image", "output_image", 1024, False),
}
PHOTOS = {"lamp": (96, 72), "tall": (37, 120), "wide": (1500, 20)}


def network(name: str, seed: int) -> None:
    input_name, output_name, side, sigmoid = NETWORKS[name]
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(0.01, 0.04, (4, 3, 5, 5)),
        "b1": rng.normal(0, 0.1, 4),
        "w2": rng.normal(0.1, 0.2, (1, 4, 3, 3)),
        "b2": rng.normal(-1, 0.1, 1),
    }
    nodes = [
        helper.make_node("Conv", [input_name, "w1", "b1"], ["c1"], kernel_shape=[5, 5], pads=[2] * 4),
        helper.make_node("Tanh", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["logits"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Sigmoid" if sigmoid else "Identity", ["logits"], [output_name]),
        # The published networks have more outputs than the one that counts, which is the first.
        helper.make_node("Neg", ["logits"], ["side_output"]),
    ]
    tensor = lambda name, channels: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, side, side])
    graph = helper.make_graph(
        nodes,
        name,
        [tensor(input_name, 3)],
        [tensor(output_name, 1), tensor("side_output", 1)],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / f"{name}.onnx")


def photo(size: tuple[int, int]) -> Image.Image:
    """A bright disc with stripes before a dark gradient; nothing is as bright as 255, so that division by the maximum shows."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    background = np.stack([20 + 60 * x / width, 30 + 50 * y / height, 40 + 30 * (x + y) / (width + height)], -1)
    disc = (x / width - 0.55) ** 2 + (y / height - 0.45) ** 2 < 0.09
    stripes = np.stack([200 + 30 * ((x // 5) % 2), 170 + 20 * ((y // 3) % 2), 150 + 0 * x], -1)
    return Image.fromarray(np.where(disc[..., None], stripes, background).astype(np.uint8))


def shrunk(image: Image.Image) -> Image.Image:
    """As TRELLIS does before it removes a background."""
    scale = min(1, 1024 / max(image.size))
    return image if scale == 1 else image.resize([int(side * scale) for side in image.size], Image.Resampling.LANCZOS)


def main() -> None:
    for name, size in PHOTOS.items():
        photo(size).save(HERE / f"{name}.png", optimize=True)
    for seed, name in enumerate(NETWORKS):
        network(name, seed)
        session = new_session(name, providers=["CPUExecutionProvider"])
        for photo_name in PHOTOS:
            with Image.open(HERE / f"{photo_name}.png") as image:
                cut_out = remove(shrunk(image.convert("RGB")), session=session)
            cut_out.save(HERE / f"{photo_name}.{name}.png", optimize=True)


if __name__ == "__main__":
    main()
