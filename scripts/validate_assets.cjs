// Checks the GLB files of a folder with Khronos' glTF-Validator, compares the compressed ones with the others, and unpacks its SPZ file with the decoder of
// the format's makers.
const fs = require("fs");
const path = require("path");
const validator = require("gltf-validator");
const { compare } = require("./validate_compressed.cjs");

const folder = process.argv[2];
const files = fs.readdirSync(folder).filter((name) => name.endsWith(".glb"));

async function gltf(name) {
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(path.join(folder, name))));
    const { numErrors, numWarnings, messages } = report.issues;
    // It knows no compressed buffers, and says so; `compare` looks at what they hold.
    if (numErrors + numWarnings > 0) throw new Error(`${name}: ${JSON.stringify(messages.slice(0, 5))}`);
    const hints = [...new Set(messages.map((message) => message.code))].join(", ");
    console.log(`${name.padEnd(28)} glTF-Validator: no errors, no warnings${hints ? ` (${hints})` : ""}`);
}

async function spz() {
    const { default: start } = await import(path.join(process.env.NODE_PATH, "@adobe/spz/dist/spz.js"));
    const decoder = await start();
    const file = new Uint8Array(fs.readFileSync(path.join(folder, "gaussians.spz")));
    const cloud = decoder.loadSpzFromBuffer(file, { to: decoder.CoordinateSystem.RUB });
    const lists = {};
    for (const list of ["positions", "scales", "rotations", "alphas", "colors"]) lists[list] = Array.from(cloud[list]);
    fs.writeFileSync(path.join(folder, "spz.json"), JSON.stringify({ count: cloud.numPoints, ...lists }));
}

async function main() {
    if (files.length === 0) throw new Error("no GLB files");
    for (const name of files) await gltf(name);
    const compressed = files.filter((name) => name.endsWith("-compressed.glb"));
    if (compressed.length === 0) throw new Error("no compressed GLB files");
    for (const name of compressed) await compare(folder, name);
    await spz();
}

main().catch((error) => {
    console.error(String(error));
    process.exit(1);
});
