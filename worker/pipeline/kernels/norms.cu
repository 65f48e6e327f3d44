// Norms followed by SiLU, in one pass over the values after one for the statistics. Sums run in a fixed order.

#include "eight.cuh"

namespace {

constexpr int THREADS = 256;
constexpr int MAX_BLOCKS = 1024;

__device__ float silu(float x) { return x / (1.0f + expf(-x)); }

// The sum and the sum of squares of each group over the rows of a block: `partial` [blocks, groups, 2].
template <class T>
__global__ void __launch_bounds__(THREADS)
    sum_groups(const T* x, float* partial, int64_t rows, int rows_per_block, int channels, int groups) {
    __shared__ float sums[2][THREADS * 8];
    const int vectors = channels / 8, lanes = THREADS / vectors;
    const int vector = threadIdx.x % vectors, lane = threadIdx.x / vectors;
    const int64_t start = int64_t(blockIdx.x) * rows_per_block;
    const int64_t end = min(rows, start + rows_per_block);
    Eight sum = {}, square = {};
    if (lane < lanes) {
        for (int64_t row = start + lane; row < end; row += lanes) {
            const Eight e = load(x + row * channels + vector * 8);
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                sum.v[i] += e.v[i];
                square.v[i] += e.v[i] * e.v[i];
            }
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            sums[0][lane * channels + vector * 8 + i] = sum.v[i];
            sums[1][lane * channels + vector * 8 + i] = square.v[i];
        }
    }
    __syncthreads();
    const int width = channels / groups;
    for (int i = threadIdx.x; i < 2 * groups; i += THREADS) {
        const int group = i / 2;
        float total = 0.0f;
        for (int l = 0; l < lanes; ++l)
            for (int c = 0; c < width; ++c) total += sums[i % 2][l * channels + group * width + c];
        partial[int64_t(blockIdx.x) * 2 * groups + i] = total;
    }
}

// From the sums to a scale and a shift for each channel: a warp for each group.
__global__ void finish_groups(const float* partial, const float* weight, const float* bias, float* scale, float* shift,
                              int blocks, int64_t rows, int channels, int groups, float eps) {
    const int group = blockIdx.x, lane = threadIdx.x, width = channels / groups;
    double sum = 0.0, square = 0.0;
    for (int block = lane; block < blocks; block += 32) {
        sum += partial[(int64_t(block) * groups + group) * 2];
        square += partial[(int64_t(block) * groups + group) * 2 + 1];
    }
    for (int step = 16; step > 0; step /= 2) {
        sum += __shfl_xor_sync(~0u, sum, step);
        square += __shfl_xor_sync(~0u, square, step);
    }
    const double count = double(rows) * width, mean = sum / count;
    const double deviation = 1.0 / sqrt(max(square / count - mean * mean, 0.0) + eps);
    for (int c = group * width + lane; c < (group + 1) * width; c += 32) {
        scale[c] = float(deviation * weight[c]);
        shift[c] = float(bias[c] - mean * deviation * weight[c]);
    }
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    scale_silu(const T* x, const float* scale, const float* shift, T* out, int64_t vectors, int per_row) {
    const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= vectors) return;
    const int channel = i % per_row * 8;
    const Eight e = load(x + i * 8), a = load(scale + channel), b = load(shift + channel);
    Eight result;
#pragma unroll
    for (int k = 0; k < 8; ++k) result.v[k] = silu(e.v[k] * a.v[k] + b.v[k]);
    store(out + i * 8, result);
}

template <class T>
cudaError_t group_norm_silu(const void* x, const float* weight, const float* bias, void* out, float* scratch,
                            int64_t rows, int channels, int groups, float eps, cudaStream_t stream) {
    const int rows_per_block = int(max(int64_t(64), (rows + MAX_BLOCKS - 1) / MAX_BLOCKS));
    const int blocks = int((rows + rows_per_block - 1) / rows_per_block);
    float *scale = scratch, *shift = scratch + channels, *partial = scratch + 2 * channels;
    sum_groups<T><<<blocks, THREADS, 0, stream>>>(static_cast<const T*>(x), partial, rows, rows_per_block, channels,
                                                   groups);
    finish_groups<<<groups, 32, 0, stream>>>(partial, weight, bias, scale, shift, blocks, rows, channels, groups, eps);
    const int64_t vectors = rows * (channels / 8);
    scale_silu<T><<<unsigned((vectors + THREADS - 1) / THREADS), THREADS, 0, stream>>>(
        static_cast<const T*>(x), scale, shift, static_cast<T*>(out), vectors, channels / 8);
    return cudaGetLastError();
}

// LANES threads share a row of LANES · VECTORS · 8 channels.
template <class T, int LANES, int VECTORS>
__global__ void __launch_bounds__(THREADS)
    norm_rows(const T* x, const float* weight, const float* bias, T* out, int64_t rows, float eps) {
    constexpr int CHANNELS = LANES * VECTORS * 8;
    const int64_t row = (int64_t(blockIdx.x) * THREADS + threadIdx.x) / LANES;
    const int lane = threadIdx.x % LANES;
    const bool present = row < rows;
    Eight e[VECTORS];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) {
        e[i] = present ? load(x + row * CHANNELS + (i * LANES + lane) * 8) : Eight{};
#pragma unroll
        for (int k = 0; k < 8; ++k) sum += e[i].v[k];
    }
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    const float mean = sum / CHANNELS;
    float square = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i)
#pragma unroll
        for (int k = 0; k < 8; ++k) square += (e[i].v[k] - mean) * (e[i].v[k] - mean);
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) square += __shfl_xor_sync(~0u, square, step);
    if (!present) return;
    const float deviation = rsqrtf(square / CHANNELS + eps);
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) {
        const int channel = (i * LANES + lane) * 8;
        const Eight w = load(weight + channel), b = load(bias + channel);
        Eight result;
#pragma unroll
        for (int k = 0; k < 8; ++k) result.v[k] = silu((e[i].v[k] - mean) * deviation * w.v[k] + b.v[k]);
        store(out + row * CHANNELS + channel, result);
    }
}

template <class T, int LANES, int VECTORS>
cudaError_t launch_rows(const void* x, const float* weight, const float* bias, void* out, int64_t rows, float eps,
                        cudaStream_t stream) {
    const unsigned blocks = unsigned((rows * LANES + THREADS - 1) / THREADS);
    norm_rows<T, LANES, VECTORS><<<blocks, THREADS, 0, stream>>>(static_cast<const T*>(x), weight, bias,
                                                                 static_cast<T*>(out), rows, eps);
    return cudaGetLastError();
}

template <class T>
cudaError_t layer_norm_silu(const void* x, const float* weight, const float* bias, void* out, int64_t rows,
                            int channels, float eps, cudaStream_t stream) {
    switch (channels) {
        case 32: return launch_rows<T, 4, 1>(x, weight, bias, out, rows, eps, stream);
        case 64: return launch_rows<T, 8, 1>(x, weight, bias, out, rows, eps, stream);
        case 128: return launch_rows<T, 16, 1>(x, weight, bias, out, rows, eps, stream);
        case 256: return launch_rows<T, 32, 1>(x, weight, bias, out, rows, eps, stream);
        case 512: return launch_rows<T, 32, 2>(x, weight, bias, out, rows, eps, stream);
        case 1024: return launch_rows<T, 32, 4>(x, weight, bias, out, rows, eps, stream);
        case 2048: return launch_rows<T, 32, 8>(x, weight, bias, out, rows, eps, stream);
        default: return cudaErrorInvalidValue;
    }
}

}  // namespace

// SiLU of the group norm of x [rows, channels], the rows of one sample. Channels are a multiple of 8, 2048 at most.
// `scratch` holds 2 · channels + 2048 · groups floats.
extern "C" int trellis_group_norm_silu(const void* x, const float* weight, const float* bias, void* out,
                                       float* scratch, int64_t rows, int channels, int groups, float eps, int is_half,
                                       cudaStream_t stream) {
    const auto run = is_half ? group_norm_silu<half> : group_norm_silu<float>;
    return run(x, weight, bias, out, scratch, rows, channels, groups, eps, stream);
}

// SiLU of the layer norm of x [rows, channels]; channels are a power of two from 32 to 2048.
extern "C" int trellis_layer_norm_silu(const void* x, const float* weight, const float* bias, void* out, int64_t rows,
                                       int channels, float eps, int is_half, cudaStream_t stream) {
    const auto run = is_half ? layer_norm_silu<half> : layer_norm_silu<float>;
    return run(x, weight, bias, out, rows, channels, eps, stream);
}
