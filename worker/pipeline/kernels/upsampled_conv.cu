// Convolution over voxels whose values are copies of those of a grid of half the resolution: the coarse values were
// multiplied by the weights of all 27 taps; what is left is to add up, for each voxel, the products of its neighbours'
// parents, in the order of the taps.

#include "eight.cuh"

namespace {

constexpr int THREADS = 256;

__global__ void __launch_bounds__(THREADS)
    add_products(const half* products, const int* neighbours, const int64_t* parent, const half* bias, half* out,
                 int64_t voxels, int channels) {
    const int vectors = channels / 8;
    const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x, voxel = i / vectors;
    if (voxel >= voxels) return;
    const int channel = int(i % vectors) * 8;
    Eight sum = load(bias + channel);
#pragma unroll 9
    for (int tap = 0; tap < 27; ++tap) {
        const int neighbour = neighbours[voxel * 27 + tap];
        if (neighbour >= voxels) continue;
        const Eight e = load(products + (parent[neighbour] * 27 + tap) * channels + channel);
#pragma unroll
        for (int k = 0; k < 8; ++k) sum.v[k] += e.v[k];
    }
    store(out + voxel * channels + channel, sum);
}

}  // namespace

// products [M, 27, channels], neighbours [voxels, 27] with `voxels` for none, parent [voxels], out [voxels, channels];
// channels are a multiple of 8.
extern "C" int trellis_add_products(const void* products, const int* neighbours, const int64_t* parent, const void* bias,
                                    void* out, int64_t voxels, int channels, cudaStream_t stream) {
    const int64_t threads = voxels * (channels / 8);
    add_products<<<unsigned((threads + THREADS - 1) / THREADS), THREADS, 0, stream>>>(
        static_cast<const half*>(products), neighbours, parent, static_cast<const half*>(bias), static_cast<half*>(out),
        voxels, channels);
    return cudaGetLastError();
}
