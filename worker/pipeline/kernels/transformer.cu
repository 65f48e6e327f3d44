// What lies between the matrix products of a transformer block, in one pass each. Sums run in a fixed order.

#include "eight.cuh"

// A residual stream `x` [rows, channels] that takes up a branch, and is normalised for the next one. Pointers may be null
// where it says so. `T` is half or float, and so is `X`, which is no narrower.
struct Residual {
    void* x;              // X, is added to
    const void* branch;   // T [rows, channels] or null
    const void* gate;     // T [samples, gate_stride] or null: times the branch
    const void* constant; // T [samples, constant_stride] or null: added too
    void* out;            // T [rows, channels] or null: norm(x) · weight + bias, times (1 + scale) + shift
    const float* weight;  // [channels] or null, as `bias`
    const float* bias;
    const void* scale;    // T [samples, scale_stride] or null, as `shift`
    const void* shift;
    const int* sample;    // the sample of each row, or null: 0
    int64_t rows;
    int64_t gate_stride;
    int64_t constant_stride;
    int64_t scale_stride;
    int channels;
    int x_is_half;
    int is_half;
    float eps;
};

namespace {

constexpr int THREADS = 256;
constexpr unsigned ALL = ~0u;

template <int LANES>
__device__ float sum_lanes(float value) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) value += __shfl_xor_sync(ALL, value, step);
    return value;
}

// A warp for each row; each thread holds VECTORS times eight channels.
template <class X, class T, int VECTORS>
__global__ void __launch_bounds__(THREADS) residual_norm(const Residual r) {
    const int64_t row = (int64_t(blockIdx.x) * THREADS + threadIdx.x) / 32;
    if (row >= r.rows) return;
    const int lane = threadIdx.x % 32;
    const int64_t sample = r.sample ? r.sample[row] : 0, start = row * r.channels;
    X* const x = static_cast<X*>(r.x) + start;
    const bool changes = r.branch || r.constant;
    Eight e[VECTORS];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) {
        const int channel = (i * 32 + lane) * 8;
        e[i] = {};
        if (channel >= r.channels) continue;
        e[i] = load(x + channel);
        if (r.branch) {
            const Eight b = load(static_cast<const T*>(r.branch) + start + channel);
            Eight g;
#pragma unroll
            for (int k = 0; k < 8; ++k) g.v[k] = 1.0f;
            if (r.gate) g = load(static_cast<const T*>(r.gate) + sample * r.gate_stride + channel);
#pragma unroll
            for (int k = 0; k < 8; ++k) e[i].v[k] += g.v[k] * b.v[k];
        }
        if (r.constant) {
            const Eight c = load(static_cast<const T*>(r.constant) + sample * r.constant_stride + channel);
#pragma unroll
            for (int k = 0; k < 8; ++k) e[i].v[k] += c.v[k];
        }
        if (changes) store(x + channel, e[i]);
#pragma unroll
        for (int k = 0; k < 8; ++k) sum += e[i].v[k];
    }
    if (!r.out) return;
    const float mean = sum_lanes<32>(sum) / r.channels;
    float square = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i)
        if ((i * 32 + lane) * 8 < r.channels) {
#pragma unroll
            for (int k = 0; k < 8; ++k) square += (e[i].v[k] - mean) * (e[i].v[k] - mean);
        }
    const float deviation = rsqrtf(sum_lanes<32>(square) / r.channels + r.eps);
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) {
        const int channel = (i * 32 + lane) * 8;
        if (channel >= r.channels) continue;
#pragma unroll
        for (int k = 0; k < 8; ++k) e[i].v[k] = (e[i].v[k] - mean) * deviation;
        if (r.weight) {
            const Eight w = load(r.weight + channel), b = load(r.bias + channel);
#pragma unroll
            for (int k = 0; k < 8; ++k) e[i].v[k] = e[i].v[k] * w.v[k] + b.v[k];
        }
        if (r.scale) {
            const int64_t place = sample * r.scale_stride + channel;
            const Eight a = load(static_cast<const T*>(r.scale) + place), b = load(static_cast<const T*>(r.shift) + place);
#pragma unroll
            for (int k = 0; k < 8; ++k) e[i].v[k] = e[i].v[k] * (1.0f + a.v[k]) + b.v[k];
        }
        store(static_cast<T*>(r.out) + start + channel, e[i]);
    }
}

template <class X, class T>
cudaError_t launch_residual(const Residual& r, cudaStream_t stream) {
    const unsigned blocks = unsigned((r.rows * 32 + THREADS - 1) / THREADS);
    switch ((r.channels + 255) / 256) {
        case 1: residual_norm<X, T, 1><<<blocks, THREADS, 0, stream>>>(r); break;
        case 2: residual_norm<X, T, 2><<<blocks, THREADS, 0, stream>>>(r); break;
        case 3: residual_norm<X, T, 3><<<blocks, THREADS, 0, stream>>>(r); break;
        case 4: residual_norm<X, T, 4><<<blocks, THREADS, 0, stream>>>(r); break;
        case 5: residual_norm<X, T, 5><<<blocks, THREADS, 0, stream>>>(r); break;
        case 6: residual_norm<X, T, 6><<<blocks, THREADS, 0, stream>>>(r); break;
        case 7: residual_norm<X, T, 7><<<blocks, THREADS, 0, stream>>>(r); break;
        case 8: residual_norm<X, T, 8><<<blocks, THREADS, 0, stream>>>(r); break;
        default: return cudaErrorInvalidValue;
    }
    return cudaGetLastError();
}

// LANES threads for each head, of no more than LANES · 8 numbers.
template <class T, int LANES>
__global__ void __launch_bounds__(THREADS)
    head_norm(T* x, const float* scale, int64_t rows, int64_t stride, int heads, int width) {
    const int64_t item = (int64_t(blockIdx.x) * THREADS + threadIdx.x) / LANES;
    const int64_t row = item / heads;
    const int head = int(item % heads), channel = threadIdx.x % LANES * 8;
    const bool present = row < rows && channel < width;
    T* const place = x + row * stride + head * width + channel;
    Eight e = {};
    if (present) e = load(place);
    float square = 0.0f;
#pragma unroll
    for (int k = 0; k < 8; ++k) square += e.v[k] * e.v[k];
    const float length = fmaxf(sqrtf(sum_lanes<LANES>(square)), 1e-12f);
    if (!present) return;
    const Eight s = load(scale + head * width + channel);
#pragma unroll
    for (int k = 0; k < 8; ++k) e.v[k] = e.v[k] / length * s.v[k];
    store(place, e);
}

template <class T, int LANES>
cudaError_t launch_heads(void* x, const float* scale, int64_t rows, int64_t stride, int heads, int width,
                         cudaStream_t stream) {
    const unsigned blocks = unsigned((rows * heads * LANES + THREADS - 1) / THREADS);
    head_norm<T, LANES><<<blocks, THREADS, 0, stream>>>(static_cast<T*>(x), scale, rows, stride, heads, width);
    return cudaGetLastError();
}

template <class T>
cudaError_t head_norms(void* x, const float* scale, int64_t rows, int64_t stride, int heads, int width,
                       cudaStream_t stream) {
    if (width <= 32) return launch_heads<T, 4>(x, scale, rows, stride, heads, width, stream);
    if (width <= 64) return launch_heads<T, 8>(x, scale, rows, stride, heads, width, stream);
    if (width <= 128) return launch_heads<T, 16>(x, scale, rows, stride, heads, width, stream);
    return cudaErrorInvalidValue;
}

}  // namespace

// `channels` is a multiple of 8, 2048 at most.
extern "C" int trellis_residual_norm(const Residual* r, cudaStream_t stream) {
    if (r->x_is_half) return launch_residual<half, half>(*r, stream);
    return r->is_half ? launch_residual<float, half>(*r, stream) : launch_residual<float, float>(*r, stream);
}

// x / |x| · scale for each of the `heads` · `width` numbers that a row of `stride` numbers starts with, in place; `scale` is
// [heads, width], `width` a multiple of 8, 128 at most.
extern "C" int trellis_head_norm(void* x, const float* scale, int64_t rows, int64_t stride, int heads, int width,
                                 int is_half, cudaStream_t stream) {
    const auto run = is_half ? head_norms<half> : head_norms<float>;
    return run(x, scale, rows, stride, heads, width, stream);
}
