// Attention within windows of voxels, in f16 with f32 sums. Rows stay where they are: queries, keys and values are
// gathered by the windows' lists of rows, and results go back to their own rows. A block of threads answers 64 queries
// of a window for one head, walking over its keys with a running softmax.

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

namespace {

constexpr int WIDTH = 64;
constexpr int TILE = 64;
constexpr int THREADS = 128;
constexpr int BYTES = TILE * WIDTH * 2;

struct Attention {
    const half* q;
    const half* k;
    const half* v;
    half* out;
    // The rows of all windows, one window after the other.
    const int* rows;
    // For each 64 queries: where their window starts in `rows`, its length, and the first query.
    const int* tiles;
    // From one row of q, k and v to the next.
    int64_t stride;
    int heads;
    float scale;
};

__device__ uint32_t place(uint32_t base, int row, int piece) { return base + row * 128 + ((piece ^ (row & 7)) << 4); }

// Copies `count` rows of a window to a tile; the rest is zeros.
__device__ void gather(uint32_t base, const half* x, int64_t stride, const int* rows, int count) {
#pragma unroll
    for (int i = threadIdx.x; i < TILE * 8; i += THREADS) {
        const int row = i / 8, piece = i % 8;
        const bool present = row < count;
        const half* from = x + (present ? rows[row] : rows[0]) * stride + piece * 8;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place(base, row, piece)), "l"(from),
                     "r"(present ? 16 : 0));
    }
}

__device__ void load_four(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address));
}

__device__ void load_four_transposed(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address));
}

__device__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ uint32_t pack(float low, float high) {
    const half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

// Over the four threads that share a row.
__device__ float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

__device__ float row_sum(float x) {
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}

__global__ void __launch_bounds__(THREADS) attend(const __grid_constant__ Attention p) {
    __shared__ __align__(1024) char shared[5 * BYTES];
    const uint32_t queries = uint32_t(__cvta_generic_to_shared(shared));
    const uint32_t keys = queries + BYTES, values = queries + 3 * BYTES;
    const int start = p.tiles[3 * blockIdx.x], length = p.tiles[3 * blockIdx.x + 1], first = p.tiles[3 * blockIdx.x + 2];
    const int head = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int* rows = p.rows + start;
    const half *q = p.q + head * WIDTH, *k = p.k + head * WIDTH, *v = p.v + head * WIDTH;
    const int tiles = (length + TILE - 1) / TILE;

    auto load = [&](int tile) {
        gather(keys + tile % 2 * BYTES, k, p.stride, rows + tile * TILE, length - tile * TILE);
        gather(values + tile % 2 * BYTES, v, p.stride, rows + tile * TILE, length - tile * TILE);
        asm volatile("cp.async.commit_group;");
    };
    gather(queries, q, p.stride, rows + first, length - first);
    load(0);

    uint32_t query[4][4];
    float result[8][4] = {};
    float largest[2] = {-INFINITY, -INFINITY}, total[2] = {};
    for (int tile = 0; tile < tiles; ++tile) {
        if (tile + 1 < tiles) {
            load(tile + 1);
            asm volatile("cp.async.wait_group 1;" ::: "memory");
        } else {
            asm volatile("cp.async.wait_group 0;" ::: "memory");
        }
        __syncthreads();
        if (tile == 0) {
#pragma unroll
            for (int d = 0; d < 4; ++d) load_four(query[d], place(queries, warp * 16 + lane % 16, 2 * d + lane / 16));
        }
        const uint32_t key_tile = keys + tile % 2 * BYTES, value_tile = values + tile % 2 * BYTES;

        float scores[8][4] = {};
#pragma unroll
        for (int d = 0; d < 4; ++d) {
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                uint32_t b[4];
                load_four(b, place(key_tile, n * 16 + lane / 16 * 8 + lane % 8, 2 * d + lane / 8 % 2));
                multiply(scores[2 * n], query[d], b[0], b[1]);
                multiply(scores[2 * n + 1], query[d], b[2], b[3]);
            }
        }
        const int present = length - tile * TILE;
#pragma unroll
        for (int n = 0; n < 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int key = n * 8 + lane % 4 * 2 + i % 2;
                scores[n][i] = key < present ? scores[n][i] * p.scale : -INFINITY;
            }
#pragma unroll
        for (int half_row = 0; half_row < 2; ++half_row) {
            float peak = largest[half_row];
#pragma unroll
            for (int n = 0; n < 8; ++n) peak = fmaxf(peak, fmaxf(scores[n][2 * half_row], scores[n][2 * half_row + 1]));
            peak = row_max(peak);
            const float shrink = exp2f(largest[half_row] - peak);
            largest[half_row] = peak;
            total[half_row] *= shrink;
#pragma unroll
            for (int n = 0; n < 8; ++n)
#pragma unroll
                for (int i = 2 * half_row; i < 2 * half_row + 2; ++i) {
                    result[n][i] *= shrink;
                    scores[n][i] = exp2f(scores[n][i] - peak);
                    total[half_row] += scores[n][i];
                }
        }
#pragma unroll
        for (int key = 0; key < 4; ++key) {
            const uint32_t a[4] = {pack(scores[2 * key][0], scores[2 * key][1]), pack(scores[2 * key][2], scores[2 * key][3]),
                                   pack(scores[2 * key + 1][0], scores[2 * key + 1][1]),
                                   pack(scores[2 * key + 1][2], scores[2 * key + 1][3])};
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                uint32_t b[4];
                load_four_transposed(b, place(value_tile, key * 16 + lane % 16, 2 * n + lane / 16));
                multiply(result[2 * n], a, b[0], b[1]);
                multiply(result[2 * n + 1], a, b[2], b[3]);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int half_row = 0; half_row < 2; ++half_row) {
        const int at = first + warp * 16 + lane / 4 + 8 * half_row;
        const float share = 1.0f / row_sum(total[half_row]);
        if (at >= length) continue;
        half* out = p.out + (int64_t(rows[at]) * p.heads + head) * WIDTH + lane % 4 * 2;
#pragma unroll
        for (int n = 0; n < 8; ++n)
            *reinterpret_cast<half2*>(out + 8 * n) =
                __floats2half2_rn(result[n][2 * half_row] * share, result[n][2 * half_row + 1] * share);
    }
}

}  // namespace

// Softmax(q kᵀ / √64) v for heads of 64 channels; `tiles` of them. q, k and v have the same stride; out is [rows, heads, 64].
extern "C" int trellis_window_attention(const half* q, const half* k, const half* v, half* out, const int* rows,
                                        const int* tiles, int tile_count, int64_t stride, int heads,
                                        cudaStream_t stream) {
    const float scale = 0.125f * 1.4426950408889634f;
    attend<<<dim3(tile_count, heads), THREADS, 0, stream>>>({q, k, v, out, rows, tiles, stride, heads, scale});
    return cudaGetLastError();
}
