"""Checks the files that `cargo run --example assets -- write FOLDER` makes with readers that are none of ours."""

import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from plyfile import PlyData
from pxr import Usd, UsdGeom, UsdShade, UsdValidation

HARMONIC = 0.28209479177387814
folder = Path(sys.argv[1])
expected = json.loads((folder / "expected.json").read_text())


def report(name, what):
    print(f"{name:<28} {what}")


def close(name, what, found, wanted, bound):
    off = float(np.abs(np.asarray(found, dtype=np.float64) - np.asarray(wanted, dtype=np.float64)).max())
    assert off <= bound, f"{name}: {what} is off by {off}"


def y_up(points):
    points = np.asarray(points)
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def y_down(points):
    points = np.asarray(points)
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def box(points):
    points = np.asarray(points)
    return np.stack([points.min(axis=0), points.max(axis=0)])


def load_mesh(path):
    """With trimesh, unpacked first where it is an archive."""
    if path.suffix == ".zip":
        target = path.with_suffix("")
        zipfile.ZipFile(path).extractall(target)
        path = target / "model.obj"
    loaded = trimesh.load(path, process=False)
    if isinstance(loaded, trimesh.Scene):
        (loaded,) = loaded.geometry.values()
    return loaded


def check_mesh(name, facts):
    mesh = load_mesh(folder / name)
    wanted = y_up(facts["bounds"]) if Path(name).suffix in (".glb", ".zip") else np.asarray(facts["bounds"])
    assert len(mesh.faces) == facts["faces"], f"{name}: {len(mesh.faces)} faces, not {facts['faces']}"
    if not name.endswith(".stl"):
        assert len(mesh.vertices) >= facts["vertices"], f"{name}: {len(mesh.vertices)} vertices"
    close(name, "the bounding box", mesh.bounds, box(wanted), 1e-6)
    wanted = "no colours" if name.endswith(".stl") else "vertex colours"
    if name.startswith("textured") and Path(name).suffix in (".glb", ".zip"):
        wanted = "a texture"
    found = colours(mesh.visual)
    assert found == wanted, f"{name}: trimesh finds {found}, not {wanted}"
    report(name, f"trimesh: {len(mesh.vertices)} vertices, {len(mesh.faces)} faces, {found}")


def colours(visual):
    if visual.kind == "vertex":
        return "vertex colours"
    if visual.kind != "texture":
        return "no colours"
    # A glTF material without a texture, beside colours of the vertices.
    material = visual.material
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    return "a texture" if picture else "vertex colours" if "color" in visual.vertex_attributes else "no colours"


def check_usdz(name, facts):
    path = folder / name
    stage = Usd.Stage.Open(str(path))
    assert stage and UsdGeom.GetStageUpAxis(stage) == "Y"
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/Asset/Mesh"))
    points = np.asarray(mesh.GetPointsAttr().Get())
    assert len(points) == facts["vertices"] and len(mesh.GetFaceVertexCountsAttr().Get()) == facts["faces"]
    close(name, "the bounding box", box(points), box(y_up(facts["bounds"])), 1e-6)
    valid, reason = UsdGeom.Mesh.ValidateTopology(
        mesh.GetFaceVertexIndicesAttr().Get(), mesh.GetFaceVertexCountsAttr().Get(), len(points)
    )
    assert valid, f"{name}: {reason}"
    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    shader, _, _ = material.ComputeSurfaceSource()
    assert shader.GetIdAttr().Get() == "UsdPreviewSurface", f"{name}: no surface"
    if name.startswith("textured"):
        texture = UsdShade.Shader(stage.GetPrimAtPath("/Asset/Material/Texture"))
        asset = texture.GetInput("file").Get()
        assert asset.resolvedPath, f"{name}: its texture cannot be found"
    complaints = compliance(stage)
    assert not complaints, f"{name}: {complaints}"
    report(name, "OpenUSD: opens, topology and bindings hold, no complaint of its validators")


def compliance(stage):
    """What OpenUSD's validators, all of them, find."""
    registry = UsdValidation.ValidationRegistry()
    validators = registry.GetOrLoadValidatorsByName([data.name for data in registry.GetAllValidatorMetadata()])
    errors = UsdValidation.ValidationContext(validators).Validate(stage)
    return [f"{error.GetName()}: {error.GetMessage()}" for error in errors]


def check_gaussians(name, found, facts, turn, bounds):
    """`found`: positions, sRGB, opacities, scales and rotations (w, x, y, z) in the order of the facts."""
    position, color, opacity, scale, turned = bounds
    harmonics = np.asarray(facts["harmonics"])
    close(name, "the position", found[0], turn(facts["positions"]), position)
    close(name, "the colour", found[1], np.clip(0.5 + HARMONIC * harmonics, 0, 1), color)
    close(name, "the opacity", found[2], facts["opacities"], opacity)
    close(name, "the scale", np.log(found[3]), np.log(facts["scales"]), scale)
    close(name, "the orientation", axes(found[4]), turn(np.swapaxes(axes(facts["rotations"]), -1, -2)).swapaxes(-1, -2), turned)
    report(name, f"{len(found[0])} Gaussians, as they should be")


def axes(quaternions):
    """Rotation matrices."""
    q = np.asarray(quaternions, dtype=np.float64)
    w, x, y, z = (q / np.linalg.norm(q, axis=-1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.asarray(rows), -1, 0)


def check_ply(name, facts):
    rows = PlyData.read(folder / name)["vertex"]
    column = lambda *names: np.stack([rows[name] for name in names], axis=-1)
    found = (
        column("x", "y", "z"),
        np.clip(0.5 + HARMONIC * column("f_dc_0", "f_dc_1", "f_dc_2"), 0, 1),
        1 / (1 + np.exp(-rows["opacity"])),
        np.exp(column("scale_0", "scale_1", "scale_2")),
        column("rot_0", "rot_1", "rot_2", "rot_3"),
    )
    check_gaussians(name, found, facts, y_down, (1e-6, 1e-6, 1e-6, 1e-5, 1e-4))


def check_splat(name, facts):
    """The format has no other definition than its viewer's code: 3 + 3 floats, 4 bytes of colour, 4 of orientation."""
    bytes_ = (folder / name).read_bytes()
    rows = [struct.unpack("<6f8B", bytes_[start : start + 32]) for start in range(0, len(bytes_), 32)]
    table = np.asarray(rows)
    visibility = np.prod(table[:, 3:6], axis=1) * table[:, 9]
    assert (np.diff(visibility) <= visibility.max() * 0.01).all(), f"{name}: the most visible do not come first"
    wanted = y_down(facts["positions"])
    order = [int(np.abs(table[:, :3] - position).sum(axis=1).argmin()) for position in wanted]
    table = table[order]
    found = (table[:, :3], table[:, 6:9] / 255, table[:, 9] / 255, table[:, 3:6], (table[:, 10:14] - 128) / 128)
    check_gaussians(name, found, facts, y_down, (1e-6, 0.003, 0.003, 1e-5, 0.03))


def check_spz(name, facts):
    """As the decoder of the format's makers unpacks it, see validate_assets.cjs."""
    cloud = json.loads((folder / "spz.json").read_text())
    count = cloud["count"]
    shaped = lambda key, width: np.asarray(cloud[key]).reshape(count, width)
    rotations = shaped("rotations", 4)[:, [3, 0, 1, 2]]
    found = (
        shaped("positions", 3),
        np.clip(0.5 + HARMONIC * shaped("colors", 3), 0, 1),
        1 / (1 + np.exp(-np.asarray(cloud["alphas"]))),
        np.exp(shaped("scales", 3)),
        rotations,
    )
    check_gaussians(name, found, facts, y_up, (1e-6, 0.005, 0.003, 0.04, 0.01))


def check_turntable(name):
    picture = Image.open(folder / name)
    assert picture.n_frames == 12 and picture.size == (128, 128), f"{name}: {picture.n_frames} frames"
    durations = []
    for frame in range(picture.n_frames):
        picture.seek(frame)
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        durations.append(picture.info["duration"])
        assert alpha.max() == 255 and alpha[0].max() == 0, f"{name}: frame {frame}"
    assert abs(sum(durations) - 1000) <= 1
    report(name, "Pillow: 12 frames, one second")


checks = {".usdz": check_usdz, ".splat": check_splat, ".spz": check_spz}
for name, facts in expected.items():
    if name == "gaussians.ply":
        check_ply(name, facts)
    elif "-compressed" in name or "-webp" in name:
        continue  # trimesh does not know these extensions; the validator has read them.
    else:
        checks.get(Path(name).suffix, check_mesh)(name, facts)
check_turntable("turntable.webp")
