#!/usr/bin/env bash
# Has small assets of every format checked by programs of others: Khronos' glTF-Validator, glTF-Transform with meshoptimizer's decoder, OpenUSD, trimesh,
# plyfile, Pillow, and the decoder that SPZ's makers publish. They are installed once, pinned, into $TRELLIS_CACHE.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${TRELLIS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trellis3d}
python_packages="numpy==2.4.6 pillow==13.0.0 plyfile==1.1.5 trimesh==5.2.0 usd-core==26.11"
PATH=$(scripts/node.sh):$PATH
npm_packages="gltf-validator@2.0.0-dev.3.10 @gltf-transform/core@4.5.1 @gltf-transform/extensions@4.5.1 meshoptimizer@1.3.0 @adobe/spz@0.2.3"
tools=$cache/asset-validators-$(echo "$python_packages $npm_packages" | sha256sum | head -c 12)

if ! [ -e "$tools/.complete" ]; then
    echo "Installing validators of asset files, once (about 200 MB) ..." >&2
    rm -rf "$tools"
    python3 -m venv "$tools"
    # shellcheck disable=SC2086 # a list
    "$tools/bin/pip" install --quiet --disable-pip-version-check $python_packages
    # shellcheck disable=SC2086
    npm install --prefix "$tools" --silent --no-audit --no-fund --ignore-scripts $npm_packages
    touch "$tools/.complete"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo build --release --quiet --workspace --example assets
"${CARGO_TARGET_DIR:-target}/release/examples/assets" write "$folder"
NODE_PATH=$tools/node_modules node scripts/validate_assets.cjs "$folder"
"$tools/bin/python" scripts/validate_assets.py "$folder"
