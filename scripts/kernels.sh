#!/usr/bin/env bash
# Compiles worker/pipeline/kernels/*.cu to libtrellis_kernels.so beside the programs, or where the first argument says. It
# needs no GPU and no CUDA installation: nvcc comes from its wheels. Built for Hopper (H100, H200); programs run without it,
# and on other GPUs, with libtorch's own operations.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${TRELLIS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trellis3d}
output=${1:-${CARGO_TARGET_DIR:-$cache/target}/release/libtrellis_kernels.so}
toolkit=$cache/cuda-13.0.88
if ! [ -e "$toolkit/.complete" ]; then
    echo "Installing nvcc from its wheels (110 MB) ..." >&2
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$toolkit" \
        nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
        nvidia-cuda-cccl==13.0.85 nvidia-cuda-runtime==13.0.96 >&2 || {
        echo "Could not install the CUDA compiler's wheels. Is PyPI reachable, and is this x86-64 Linux?" >&2
        exit 1
    }
    touch "$toolkit/.complete"
fi

mkdir -p "$(dirname "$output")"
"$toolkit/nvidia/cu13/bin/nvcc" -std=c++17 -O3 --threads 0 -gencode arch=compute_90a,code=sm_90a \
    -shared -Xcompiler -fPIC --cudart static -L"$toolkit/nvidia/cu13/lib" -Xlinker --strip-all \
    worker/pipeline/kernels/*.cu -o "$output"
echo "$output"
