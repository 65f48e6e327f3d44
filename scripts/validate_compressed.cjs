// Decodes compressed GLB files with glTF-Transform and meshoptimizer's own decoder, and compares them with the same meshes uncompressed: vertices and
// faces are in another order, and numbers are rounded.
const path = require("path");
const { NodeIO } = require("@gltf-transform/core");
const { EXTMeshoptCompression, KHRMeshQuantization } = require("@gltf-transform/extensions");

// The roundings of `worker/asset/src/formats/glb/compressed.rs`: positions to 1/65535 of the longest side, the others of 1, normals to 8 bits.
const STEP = 1 / 65535;
const TOLERANCES = { POSITION: 0.51 * STEP, COLOR_0: 0.51 * STEP, TEXCOORD_0: 0.51 * STEP, NORMAL: 0.02 };
// Floats are rounded once more on the way.
const FLOAT = 1e-6;

async function reader() {
    const { MeshoptDecoder } = await import(path.join(process.env.NODE_PATH, "meshoptimizer/meshopt_decoder.mjs"));
    await MeshoptDecoder.ready;
    return new NodeIO()
        .registerExtensions([EXTMeshoptCompression, KHRMeshQuantization])
        .registerDependencies({ "meshopt.decoder": MeshoptDecoder });
}

// The only mesh of a file in its node's place: each vertex's numbers by their names, and the faces.
function mesh(document) {
    const node = document.getRoot().listNodes().find((node) => node.getMesh());
    const [primitive] = node.getMesh().listPrimitives();
    const [scale, shift] = [node.getWorldScale(), node.getWorldTranslation()];
    const vertices = {};
    for (const name of primitive.listSemantics()) {
        const accessor = primitive.getAttribute(name);
        vertices[name] = Array.from({ length: accessor.getCount() }, (_, index) => accessor.getElement(index, []));
    }
    vertices.POSITION = vertices.POSITION.map((at) => at.map((x, axis) => x * scale[axis] + shift[axis]));
    // Colours may come with an alpha or without.
    if (vertices.COLOR_0) vertices.COLOR_0 = vertices.COLOR_0.map((color) => color.slice(0, 3));
    const indices = Array.from(primitive.getIndices().getArray());
    const faces = Array.from({ length: indices.length / 3 }, (_, face) => indices.slice(3 * face, 3 * face + 3));
    return { vertices, faces };
}

const distance = (a, b) => Math.max(...a.map((x, axis) => Math.abs(x - b[axis])));

// Of each vertex of `decoded` the one of `original` that it is, by all of its numbers.
function matches(decoded, original, side) {
    const names = Object.keys(original);
    if (names.sort().join() !== Object.keys(decoded).sort().join()) {
        throw new Error(`attributes ${Object.keys(decoded)} instead of ${names}`);
    }
    const allowed = (name) => TOLERANCES[name] * (name === "POSITION" ? side : 1) + FLOAT;
    return decoded.POSITION.map((_, vertex) => {
        const off = (at) => Math.max(...names.map((name) => distance(decoded[name][vertex], original[name][at]) / allowed(name)));
        const offs = original.POSITION.map((_, at) => off(at));
        const nearest = offs.indexOf(Math.min(...offs));
        if (!(offs[nearest] <= 1)) throw new Error(`vertex ${vertex} is none of the uncompressed file's: off ${offs[nearest]}`);
        return nearest;
    });
}

// Faces that start with their least vertex, sorted.
function canonical(faces) {
    const turned = faces.map(([a, b, c]) => (a < b && a < c ? [a, b, c] : b < c ? [b, c, a] : [c, a, b]));
    return turned.map(String).sort().join(" ");
}

async function compare(folder, name) {
    const io = await reader();
    const read = async (file) => mesh(await io.read(path.join(folder, file)));
    const [decoded, original] = [await read(name), await read(name.replace("-compressed", ""))];
    const sides = [0, 1, 2].map((axis) => {
        const values = original.vertices.POSITION.map((at) => at[axis]);
        return Math.max(...values) - Math.min(...values);
    });
    const vertex = matches(decoded.vertices, original.vertices, Math.max(...sides));
    if (new Set(vertex).size !== original.vertices.POSITION.length) throw new Error(`${name}: vertices are missing`);
    if (canonical(decoded.faces.map((face) => face.map((at) => vertex[at]))) !== canonical(original.faces)) {
        throw new Error(`${name}: the faces are not those of the uncompressed file`);
    }
    const names = Object.keys(original.vertices).sort().join(", ");
    console.log(`${name.padEnd(28)} glTF-Transform, meshoptimizer: ${original.faces.length} faces as uncompressed, with ${names}`);
}

module.exports = { compare };
