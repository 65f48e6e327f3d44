#!/usr/bin/env bash
# Installs libtorch from its PyPI wheel and prints the folder to use as LIBTORCH.
#
# The wheel's folder is not used as it is: it also holds libtorch_cuda.so, which the tch build would link, and a program so
# linked cannot start without CUDA's libraries. The folder made here shows the linker libtorch_cpu alone; on a machine with a GPU the
# program opens libtorch_cuda.so itself.
set -euo pipefail

torch=2.11.0 cudart=13.0.96 cupti=13.0.85
cache=${TRELLIS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trellis3d}
shim=$cache/libtorch-$torch
if [ -e "$shim/.complete" ]; then
    echo "$shim"
    exit
fi

venv=$cache/libtorch-venv
if ! [ -x "$venv/bin/pip" ]; then
    python3 -m venv "$venv" >&2 || {
        echo "Could not make a Python environment. On Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi
echo "Installing libtorch $torch from its wheel (530 MB) ..." >&2
# cudart and cupti are small, and libtorch_cpu of this wheel needs them to start, GPU or not.
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    torch==$torch nvidia-cuda-runtime==$cudart nvidia-cuda-cupti==$cupti >&2 || {
    echo "Could not install the torch $torch wheel. Is PyPI reachable, and is this x86-64 Linux with Python 3.10 or newer?" >&2
    exit 1
}
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

rm -rf "$shim"
mkdir -p "$shim/lib"
ln -s "$site/torch/include" "$shim/include"
for library in libtorch.so libtorch_cpu.so libc10.so libgomp.so.1; do
    ln -s "$site/torch/lib/$library" "$shim/lib/"
done
ln -s "$site"/nvidia/cu13/lib/libcudart.so.13 "$site"/nvidia/cu13/lib/libcupti.so.13 "$shim/lib/"
touch "$shim/.complete"
echo "$shim"
