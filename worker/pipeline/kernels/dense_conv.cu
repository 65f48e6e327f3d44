// Convolution of a dense grid to a single channel, in f32: memory-bound, which libraries' matrix products are not made for.

#include <cuda_runtime.h>
#include <stdint.h>

namespace {

constexpr int THREADS = 256;

// LANES threads share a voxel of 4 · LANES channels.
template <int LANES>
__global__ void __launch_bounds__(THREADS)
    convolve_to_one(const float4* x, const float4* weight, const float* bias, float* out, int64_t voxels, int side) {
    const int64_t voxel = (int64_t(blockIdx.x) * THREADS + threadIdx.x) / LANES;
    const int lane = threadIdx.x % LANES;
    const int64_t plane = int64_t(side) * side;
    const int vx = int(voxel / plane % side), vy = int(voxel / side % side), vz = int(voxel % side);
    float sum = 0.0f;
    if (voxel < voxels) {
#pragma unroll
        for (int tap = 0; tap < 27; ++tap) {
            const int dx = tap / 9 - 1, dy = tap / 3 % 3 - 1, dz = tap % 3 - 1;
            const bool inside = unsigned(vx + dx) < unsigned(side) && unsigned(vy + dy) < unsigned(side) &&
                                unsigned(vz + dz) < unsigned(side);
            if (!inside) continue;
            const float4 a = x[(voxel + dx * plane + dy * side + dz) * LANES + lane], b = weight[tap * LANES + lane];
            sum += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
        }
    }
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (voxel < voxels && lane == 0) out[voxel] = sum + *bias;
}

template <int LANES>
cudaError_t launch(const float* x, const float* weight, const float* bias, float* out, int64_t voxels, int side,
                   cudaStream_t stream) {
    const unsigned blocks = unsigned((voxels * LANES + THREADS - 1) / THREADS);
    convolve_to_one<LANES><<<blocks, THREADS, 0, stream>>>(reinterpret_cast<const float4*>(x),
                                                           reinterpret_cast<const float4*>(weight), bias, out, voxels,
                                                           side);
    return cudaGetLastError();
}

}  // namespace

// x [B, side, side, side, channels] with weights [27, channels] to [voxels]; channels are 8, 16, 32, 64 or 128.
extern "C" int trellis_convolve_to_one(const float* x, const float* weight, const float* bias, float* out,
                                       int64_t voxels, int side, int channels, cudaStream_t stream) {
    switch (channels) {
        case 8: return launch<2>(x, weight, bias, out, voxels, side, stream);
        case 16: return launch<4>(x, weight, bias, out, voxels, side, stream);
        case 32: return launch<8>(x, weight, bias, out, voxels, side, stream);
        case 64: return launch<16>(x, weight, bias, out, voxels, side, stream);
        case 128: return launch<32>(x, weight, bias, out, voxels, side, stream);
        default: return cudaErrorInvalidValue;
    }
}
