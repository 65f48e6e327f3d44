#!/usr/bin/env bash
# Fills a folder with what libtorch needs to compute on NVIDIA GPUs, for `--target cuda` of worker.Dockerfile (3 GB).
# Usage: LIBTORCH=$(scripts/libtorch.sh) images/cuda-libraries.sh <folder>
set -euo pipefail
folder=${1:?usage: cuda-libraries.sh <folder>}
: "${LIBTORCH:?not set; run: export LIBTORCH=\$(scripts/libtorch.sh)}"

# The versions that torch's wheel of the same release asks for.
packages=(
    "cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusolver,cusparse,nvjitlink,nvrtc]==13.0.2"
    nvidia-cudnn-cu13==9.19.0.56 nvidia-cusparselt-cu13==0.8.0 nvidia-nccl-cu13==2.28.9 nvidia-nvshmem-cu13==3.4.5
)
torch=$(dirname "$(readlink -f "$LIBTORCH/include")")
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$wheels" "${packages[@]}"

mkdir -p "$folder"
find "$wheels/nvidia" -name '*.so*' -exec cp --no-clobber {} "$folder" \;
for library in libtorch_cuda libtorch_cuda_linalg libc10_cuda libtorch_nvshmem libcaffe2_nvrtc; do
    cp "$torch/lib/$library.so" "$folder"
done

# The driver's library comes from the node, by NVIDIA's container toolkit or GKE's device plugin.
missing=$(LD_LIBRARY_PATH=$folder:$LIBTORCH/lib ldd "$folder"/libtorch_cuda*.so | grep 'not found' | grep -v 'libcuda\.so' | sort -u) || true
[ -z "$missing" ] || {
    echo "The folder $folder lacks: $missing" >&2
    exit 1
}
du -sh "$folder"
