#!/usr/bin/env bash
# Installs what a target needs and this machine lacks. Silent and quick when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $1" >&2
    exit 1
}

command -v cargo >/dev/null || fail "Rust is missing. Install it from https://rustup.rs, then run make again."
command -v go >/dev/null || fail "Go is missing (1.26 or newer). Install it from https://go.dev/dl, then run make again."
command -v python3 >/dev/null || fail "Python 3 is missing. It unpacks wheels of libraries and tools: apt-get install python3 python3-venv"

packages=$(sed 's/#.*//' scripts/debian-packages.txt | xargs)
missing=()
for package in $packages; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "please install what Debian calls: ${missing[*]}"
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    echo "Installing Debian packages: ${missing[*]}"
    "${root[@]}" apt-get update -qq || fail "apt-get update failed; see its message above."
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        fail "apt-get install failed; see its message above."
fi

scripts/libtorch.sh >/dev/null
scripts/onnxruntime.sh >/dev/null
scripts/node.sh >/dev/null
