// Heads of attention among rows some of which are padding. cuDNN knows no mask for a part of the rows that is as fast as this:
// queries and keys become longer, by numbers whose products are 0, or far below zero where the key is padding.

#include "eight.cuh"

namespace {

constexpr int THREADS = 256;
constexpr int MASK = 16;  // numbers more; src/kernels/attention.rs says the same
constexpr float FAR_BELOW = -60000.0f;

// LANES threads for each head of a query or a key, of no more than LANES · 8 numbers.
template <int LANES>
__global__ void __launch_bounds__(THREADS)
    masked_heads(half* qkv, const float* scale, const int* padding, half* out, int64_t rows, int64_t period, int heads,
                 int width) {
    const int64_t item = (int64_t(blockIdx.x) * THREADS + threadIdx.x) / LANES;
    const int64_t row = item / (2 * heads);
    if (row >= rows) return;
    const int place = int(item % (2 * heads)), lane = threadIdx.x % LANES, channel = lane * 8;
    const bool is_key = place >= heads, is_padding = padding[row % period], is_present = channel < width;
    half* const from = qkv + (row * 3 * heads + place) * width + channel;
    Eight e = {};
    // A row of padding may hold anything, and what it holds must not come into any product.
    if (is_present && !(is_key && is_padding)) e = load(from);
    if (is_present && is_key && is_padding) *reinterpret_cast<uint4*>(from + heads * width) = uint4{};
    if (scale) {
        float square = 0.0f;
#pragma unroll
        for (int k = 0; k < 8; ++k) square += e.v[k] * e.v[k];
        // Of a warp, all threads of a head are here, though not all heads need be.
        const unsigned together = ((1ull << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);
#pragma unroll
        for (int step = LANES / 2; step > 0; step /= 2) square += __shfl_xor_sync(together, square, step);
        const float length = fmaxf(sqrtf(square), 1e-12f);
        if (is_present) {
            const Eight s = load(scale + place * width + channel);
#pragma unroll
            for (int k = 0; k < 8; ++k) e.v[k] = e.v[k] / length * s.v[k];
        }
    }
    half* const to = out + (row * 2 * heads + place) * (width + MASK);
    if (is_present) store(to + channel, e);
    if (channel < MASK) {
        Eight mask = {};
        if (lane == 0) mask.v[0] = !is_key ? 1.0f : is_padding ? FAR_BELOW : 0.0f;
        store(to + width + channel, mask);
    }
}

template <int LANES>
cudaError_t launch(half* qkv, const float* scale, const int* padding, half* out, int64_t rows, int64_t period, int heads,
                   int width, cudaStream_t stream) {
    const unsigned blocks = unsigned((rows * 2 * heads * LANES + THREADS - 1) / THREADS);
    masked_heads<LANES><<<blocks, THREADS, 0, stream>>>(qkv, scale, padding, out, rows, period, heads, width);
    return cudaGetLastError();
}

}  // namespace

// qkv [rows, 3, heads, width], out [rows, 2, heads, width + MASK]; `scale` [2, heads, width] or null; `padding` [period]. `width` is
// a multiple of 8, 112 at most.
extern "C" int trellis_masked_heads(void* qkv, const float* scale, const int* padding, void* out, int64_t rows,
                                    int64_t period, int heads, int width, cudaStream_t stream) {
    const auto run = width <= 64 ? launch<8> : launch<16>;
    return run(static_cast<half*>(qkv), scale, padding, static_cast<half*>(out), rows, period, heads, width, stream);
}
