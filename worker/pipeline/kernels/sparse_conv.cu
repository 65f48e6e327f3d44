// Convolution over the active voxels of a grid, in f16 with f32 sums: an implicit matrix product on Hopper's tensor
// cores. A block of threads makes some rows of the output. It walks over the taps of the kernel; for each it gathers the
// rows of the neighbours straight into shared memory (an absent neighbour is zeros) and multiplies them with the tap's
// weights while the next rows are under way. Each number is summed up by one thread in one order: the result is the same
// bytes each time.

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

namespace {

constexpr int MAX_TAPS = 27;

}  // namespace

struct Shape {
    const half* x;
    // The row of each of a voxel's neighbours, [voxels, 27]; at least `voxels` where there is none.
    const int* map;
    const half* weight;
    const half* bias;
    // Added to the result, or null. Output row r takes row r >> around_shift.
    const half* around;
    half* out;
    int64_t voxels;
    // Whether `map` is that of the grid of half the resolution, whose voxels were each divided into eight of these.
    int divided;
    int inputs;
    int outputs;
    // 27, or 8 where each voxel is divided into `children` and a child sees eight neighbours of the voxel.
    int taps;
    int children;
    int around_shift;
};

namespace {

// The row of the neighbour of `voxel` at `step` (0 to 26), or -1.
__device__ int neighbour(const Shape& s, int64_t voxel, int step) {
    if (!s.divided) {
        const int row = s.map[voxel * 27 + step];
        return row < s.voxels ? row : -1;
    }
    const int x = (voxel >> 2 & 1) + step / 9 - 1, y = (voxel >> 1 & 1) + step / 3 % 3 - 1, z = (voxel & 1) + step % 3 - 1;
    const int parent = s.map[(voxel >> 3) * 27 + ((x >> 1) + 1) * 9 + ((y >> 1) + 1) * 3 + (z >> 1) + 1];
    return parent < s.voxels >> 3 ? parent * 8 + (x & 1) * 4 + (y & 1) * 2 + (z & 1) : -1;
}

// The step to the neighbour that a child sees as its `tap`: along each axis the one before and its own, or its own and
// the one after.
__device__ int seen(int child, int tap) {
    int x = (tap >> 2 & 1) + (child >> 2 & 1), y = (tap >> 1 & 1) + (child >> 1 & 1), z = (tap & 1) + (child & 1);
    return x * 9 + y * 3 + z;
}

__device__ void copy16(uint32_t to, const void* from, bool present) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(present ? 16 : 0));
}

// The same through the L1 cache, for what is read again soon.
__device__ void copy16_cached(uint32_t to, const void* from, bool present) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(present ? 16 : 0));
}

__device__ void commit_copies() { asm volatile("cp.async.commit_group;"); }

template <int PENDING>
__device__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// The tensor cores' description of a tile in shared memory: rows of WIDTH halves, whose 16-byte pieces are swizzled.
template <int WIDTH>
__device__ uint64_t describe(uint32_t address) {
    constexpr uint64_t swizzle = WIDTH == 64 ? 1 : 2;
    constexpr uint64_t eight_rows = 8 * WIDTH * 2 / 16;
    return uint64_t(address >> 4 & 0x3fff) | uint64_t(1) << 16 | eight_rows << 32 | swizzle << 62;
}

// Where piece `piece` of a row goes in such a tile, in bytes.
template <int WIDTH>
__device__ int place(int row, int piece) {
    constexpr int pieces = WIDTH / 8;
    int swizzled = WIDTH == 64 ? piece ^ (row & 7) : piece ^ (row >> 1 & 3);
    return (row * pieces + swizzled) * 16;
}

__device__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

template <int PENDING>
__device__ void wait_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

#define REGS_16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define REGS_32 REGS_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define REGS_48 REGS_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define REGS_64 REGS_48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define REGS_96                                                                                                \
    REGS_64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87," \
            "%88,%89,%90,%91,%92,%93,%94,%95"
#define SUMS_8(i)                                                                                              \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
        "+f"(d[i + 7])
#define SUMS_16 SUMS_8(0), SUMS_8(8)
#define SUMS_32 SUMS_16, SUMS_8(16), SUMS_8(24)
#define SUMS_48 SUMS_32, SUMS_8(32), SUMS_8(40)
#define SUMS_64 SUMS_48, SUMS_8(48), SUMS_8(56)
#define SUMS_96 SUMS_64, SUMS_8(64), SUMS_8(72), SUMS_8(80), SUMS_8(88)
#define PRODUCT(columns, regs, a_reg, b_reg, sums)                                                           \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.f16.f16 {" regs "}, " a_reg ", " b_reg \
                 ", 1, 1, 1, 0, 0;"                                                                           \
                 : sums                                                                                       \
                 : "l"(a), "l"(b))

// d [64, COLUMNS] += a [64, 16] · b [COLUMNS, 16]ᵀ, by four warps.
template <int COLUMNS>
__device__ void product(float (&d)[COLUMNS / 2], uint64_t a, uint64_t b) {
    if constexpr (COLUMNS == 32) PRODUCT(32, REGS_16, "%16", "%17", SUMS_16);
    if constexpr (COLUMNS == 64) PRODUCT(64, REGS_32, "%32", "%33", SUMS_32);
    if constexpr (COLUMNS == 96) PRODUCT(96, REGS_48, "%48", "%49", SUMS_48);
    if constexpr (COLUMNS == 128) PRODUCT(128, REGS_64, "%64", "%65", SUMS_64);
    if constexpr (COLUMNS == 192) PRODUCT(192, REGS_96, "%96", "%97", SUMS_96);
}

// GROUPS groups of four warps make 64 rows each. A stage holds WIDTH channels of one tap.
template <int COLUMNS, int WIDTH, int STAGES, int GROUPS>
struct Tiling {
    static constexpr int ROWS = 64 * GROUPS;
    static constexpr int THREADS = 128 * GROUPS;
    static constexpr int A_TILE = ROWS * WIDTH * 2;
    static constexpr int STAGE = A_TILE + COLUMNS * WIDTH * 2;
    static constexpr int SHARED = 1024 + STAGES * STAGE;
};

template <int COLUMNS, int WIDTH, int STAGES, int GROUPS>
__global__ void __launch_bounds__(128 * GROUPS, COLUMNS <= 128 && GROUPS == 2 ? 2 : 1)
    convolve(const __grid_constant__ Shape s) {
    using T = Tiling<COLUMNS, WIDTH, STAGES, GROUPS>;
    constexpr int ROWS = T::ROWS, THREADS = T::THREADS, PIECES = WIDTH / 8;
    extern __shared__ char dynamic[];
    __shared__ int rows[MAX_TAPS][ROWS];
    __shared__ unsigned used;
    __shared__ int order[MAX_TAPS];
    const int thread = threadIdx.x, child = blockIdx.z, first_column = blockIdx.y * COLUMNS;
    const int64_t first_row = int64_t(blockIdx.x) * ROWS;

    if (thread == 0) used = 0;
    __syncthreads();
    for (int i = thread; i < s.taps * ROWS; i += THREADS) {
        const int tap = i / ROWS;
        const int64_t voxel = first_row + i % ROWS;
        const int step = s.children == 1 ? tap : seen(child, tap);
        const int found = voxel < s.voxels ? neighbour(s, voxel, step) : -1;
        rows[tap][i % ROWS] = found;
        // A warp is within one tap.
        if (__any_sync(~0u, found >= 0) && thread % 32 == 0) atomicOr(&used, 1u << tap);
    }
    __syncthreads();
    const unsigned mask = used;
    if (thread < s.taps && mask >> thread & 1) order[__popc(mask & ((1u << thread) - 1))] = thread;
    __syncthreads();

    const uint32_t base = (uint32_t(__cvta_generic_to_shared(dynamic)) + 1023) & ~1023u;
    const int taps = __popc(mask), steps = taps * (s.inputs / WIDTH);
    const int64_t depth = int64_t(s.taps) * s.inputs;

    // All taps of a few channels before the next channels: the rows that taps share are then still in the L1 cache.
    const int piece = thread % PIECES, first = thread / PIECES;
    const half* x = s.x + piece * 8;
    const half* weight = s.weight + int64_t(child) * s.outputs * depth + piece * 8;
    int next_tap = 0, next_channel = 0;
    auto load = [&](int step) {
        const int tap = order[next_tap], channel = next_channel;
        if (++next_tap == taps) {
            next_tap = 0;
            next_channel += WIDTH;
        }
        const uint32_t stage = base + step % STAGES * T::STAGE;
#pragma unroll
        for (int row = first; row < ROWS; row += THREADS / PIECES) {
            const int source = rows[tap][row];
            const half* from = x + int64_t(max(source, 0)) * s.inputs + channel;
            copy16_cached(stage + place<WIDTH>(row, piece), from, source >= 0);
        }
        const half* tap_weight = weight + tap * s.inputs + channel;
#pragma unroll
        for (int row = first; row < COLUMNS; row += THREADS / PIECES) {
            const int column = first_column + row;
            const bool present = column < s.outputs;
            copy16(stage + T::A_TILE + place<WIDTH>(row, piece), tap_weight + (present ? column : 0) * depth, present);
        }
    };

    float sums[COLUMNS / 2];
#pragma unroll
    for (float& sum : sums) sum = 0.0f;

    for (int step = 0; step < STAGES - 2; ++step) {
        if (step < steps) load(step);
        commit_copies();
    }
    const int group = thread / 128;
    for (int step = 0; step < steps; ++step) {
        wait_copies<STAGES - 3>();
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        // All have waited for the products before the last ones: their stage is free.
        __syncthreads();
        if (step + STAGES - 2 < steps) load(step + STAGES - 2);
        commit_copies();
        const uint32_t stage = base + step % STAGES * T::STAGE;
        begin_products();
        const uint64_t a = describe<WIDTH>(stage + group * 64 * WIDTH * 2), b = describe<WIDTH>(stage + T::A_TILE);
#pragma unroll
        for (int k = 0; k < WIDTH / 16; ++k) product<COLUMNS>(sums, a + 2 * k, b + 2 * k);
        commit_products();
        wait_products<1>();
    }
    wait_products<0>();

    const int lane = thread % 32;
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; ++j) {
        const int column = first_column + 8 * j + lane % 4 * 2;
        if (column >= s.outputs) break;
        const float2 bias = __half22float2(*reinterpret_cast<const half2*>(s.bias + column));
#pragma unroll
        for (int upper = 0; upper < 2; ++upper) {
            const int64_t voxel = first_row + group * 64 + thread % 128 / 32 * 16 + lane / 4 + 8 * upper;
            if (voxel >= s.voxels) continue;
            const int64_t row = voxel * s.children + child;
            float2 value = make_float2(sums[4 * j + 2 * upper] + bias.x, sums[4 * j + 2 * upper + 1] + bias.y);
            if (s.around) {
                const half* around = s.around + (row >> s.around_shift) * s.outputs + column;
                const float2 more = __half22float2(*reinterpret_cast<const half2*>(around));
                value.x += more.x;
                value.y += more.y;
            }
            *reinterpret_cast<half2*>(s.out + row * s.outputs + column) = __float22half2_rn(value);
        }
    }
}

template <int COLUMNS, int WIDTH, int STAGES, int GROUPS>
cudaError_t launch(const Shape& s, cudaStream_t stream) {
    using T = Tiling<COLUMNS, WIDTH, STAGES, GROUPS>;
    auto kernel = convolve<COLUMNS, WIDTH, STAGES, GROUPS>;
    cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, T::SHARED);
    if (error != cudaSuccess) return error;
    const dim3 grid((s.voxels + T::ROWS - 1) / T::ROWS, (s.outputs + COLUMNS - 1) / COLUMNS, s.children);
    kernel<<<grid, T::THREADS, T::SHARED, stream>>>(s);
    return cudaGetLastError();
}

}  // namespace

// Runs the convolution that `shape` describes. Inputs are a multiple of 32, outputs of 8; pointers are aligned to 16 bytes.
// The tilings are those that were fastest on an H100 for the widths of the released models.
extern "C" int trellis_sparse_conv(const Shape* shape, cudaStream_t stream) {
    const Shape& s = *shape;
    const bool is_wide = s.inputs % 64 == 0;
    if (s.outputs % 192 == 0) return launch<192, 32, 4, 4>(s, stream);
    if (s.outputs % 96 == 0) return is_wide ? launch<96, 64, 3, 2>(s, stream) : launch<96, 32, 4, 4>(s, stream);
    if (s.outputs <= 32) return launch<32, 32, 6, 2>(s, stream);
    if (!is_wide) return launch<64, 32, 6, 2>(s, stream);
    if (s.outputs >= 512) return launch<128, 64, 4, 4>(s, stream);
    // Few voxels: narrow tiles, so that all multiprocessors have some.
    return s.outputs % 128 == 0 && s.voxels > 10000 ? launch<128, 64, 3, 2>(s, stream) : launch<64, 64, 4, 2>(s, stream);
}
