#!/usr/bin/env bash
# Installs ONNX Runtime from its PyPI wheel and prints the library to use as ORT_DYLIB_PATH. It runs the networks that remove the
# backgrounds of photos; nothing is linked to it.
set -euo pipefail

onnxruntime=1.32.0
cache=${TRELLIS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trellis3d}
library=$cache/onnxruntime-$onnxruntime/libonnxruntime.so
if [ -e "$library" ]; then
    echo "$library"
    exit
fi

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
python3 -m venv "$venv" >&2 || {
    echo "Could not make a Python environment. On Debian: apt-get install python3-venv" >&2
    exit 1
}
echo "Installing ONNX Runtime $onnxruntime from its wheel (20 MB) ..." >&2
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps onnxruntime==$onnxruntime >&2 || {
    echo "Could not install the onnxruntime $onnxruntime wheel. Is PyPI reachable, and is this x86-64 Linux with Python 3.11 or newer?" >&2
    exit 1
}
mkdir -p "$(dirname "$library")"
# In one step: another make may be doing the same.
copy=$(mktemp "$library.XXXXXX")
cp "$venv"/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.$onnxruntime "$copy"
chmod 755 "$copy"
mv "$copy" "$library"
echo "$library"
