#!/usr/bin/env bash
# Builds the web page and Swagger UI (api/ui) into a folder. Usage: scripts/ui.sh FOLDER
# Nothing is installed in the source tree: packages, pinned by package-lock.json, lie in TRELLIS_CACHE.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(realpath -m "${1:?which folder?}")
PATH=$(scripts/node.sh):$PATH

packages=$TRELLIS_CACHE/ui-$(sha256sum api/ui/package-lock.json | head -c 12)
if [ ! -f "$packages/complete" ]; then
    mkdir -p "$packages"
    cp api/ui/package.json api/ui/package-lock.json "$packages"
    npm ci --prefix "$packages" --silent --no-audit --no-fund --ignore-scripts
    touch "$packages/complete"
fi

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cp -r api/ui/. "$build"
rm -rf "$build/dist"
ln -s "$packages/node_modules" "$build/node_modules"
cargo build --release --quiet --workspace --bin trellis-api
"$CARGO_TARGET_DIR/release/trellis-api" openapi >"$build/openapi.json"

cd "$build"
bin=node_modules/.bin
$bin/openapi-typescript openapi.json --output src/schema.d.ts >/dev/null
$bin/tsc
$bin/vite build --logLevel error --emptyOutDir --outDir "$out"
for licence in three/LICENSE swagger-ui-dist/{NOTICE,LICENSE,swagger-ui-bundle.js.LICENSE.txt}; do
    printf '===== %s =====\n\n' "$licence"
    cat "node_modules/$licence"
    printf '\n'
done >"$out/licences.txt"
