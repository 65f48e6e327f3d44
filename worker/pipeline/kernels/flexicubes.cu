// FlexiCubes on a grid of `cells`³ cubes, step by step: a thread for each grid vertex, cube or edge, which gathers what it
// needs. Cubes and vertices are numbered lexicographically, z fastest; rows are where the decoder's values lie.

#include <cuda_runtime.h>
#include <stdint.h>

namespace {

constexpr int THREADS = 256;
constexpr int BETA = 12, ALPHA = 8;
// A case in the table: the number of its dual vertices, the number of the face whose neighbour decides (or -1), and the
// crossed edges of each vertex as a bit set.
constexpr int CASE = 6;

struct Point {
    int x, y, z;
};

__device__ Point point(int64_t index, int side) {
    return {int(index / (int64_t(side) * side)), int(index / side % side), int(index % side)};
}

__device__ int64_t index(Point p, int side) { return (int64_t(p.x) * side + p.y) * side + p.z; }

__device__ bool within(Point p, int side) {
    return unsigned(p.x) < unsigned(side) && unsigned(p.y) < unsigned(side) && unsigned(p.z) < unsigned(side);
}

// The cube of which `vertex` is corner `corner`.
__device__ Point cube_at(Point vertex, int corner) {
    return {vertex.x - (corner & 1), vertex.y - (corner >> 1 & 1), vertex.z - (corner >> 2)};
}

__device__ Point corner_of(Point cube, int corner) {
    return {cube.x + (corner & 1), cube.y + (corner >> 1 & 1), cube.z + (corner >> 2)};
}

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ int64_t thread_index() { return int64_t(blockIdx.x) * THREADS + threadIdx.x; }

__global__ void place_rows(const int* coords, int64_t stride, int64_t count, int side, int* row_of, int* outside) {
    const int64_t row = thread_index();
    if (row >= count) return;
    const int* at = coords + row * stride;
    const Point p = {at[0], at[1], at[2]};
    if (within(p, side)) {
        row_of[index(p, side)] = int(row);
    } else {
        *outside = 1;
    }
}

// The mean over the cubes around a vertex of `width` values that each has for this corner.
template <class Use>
__device__ int mean_of_corners(const float* feats, int64_t stride, const int* row_of, int cells, Point vertex, int first,
                               int width, Use use) {
    const float* found[8];
    int count = 0;
    for (int corner = 7; corner >= 0; --corner) {
        const Point cube = cube_at(vertex, corner);
        const int row = within(cube, cells) ? row_of[index(cube, cells)] : -1;
        if (row >= 0) found[count++] = feats + row * stride + first + corner * width;
    }
    for (int channel = 0; channel < width && count > 0; ++channel) {
        float sum = 0.0f;
        for (int i = 0; i < count; ++i) sum += found[i][channel];
        use(channel, sum / float(count));
    }
    return count;
}

__global__ void mean_distances(const float* feats, int64_t stride, const int* row_of, int cells, float bias, float* sdf) {
    const int64_t at = thread_index(), side = cells + 1;
    if (at >= side * side * side) return;
    const Point vertex = point(at, int(side));
    float sum = 0.0f;
    int count = 0;
    for (int corner = 7; corner >= 0; --corner) {
        const Point cube = cube_at(vertex, corner);
        const int row = within(cube, cells) ? row_of[index(cube, cells)] : -1;
        if (row < 0) continue;
        sum += feats[row * stride + corner] - bias;
        ++count;
    }
    sdf[at] = count > 0 ? sum / float(count) : 1.0f;
}

__global__ void find_cases(const float* sdf, int cells, uint8_t* cases, bool* is_crossed) {
    const int64_t at = thread_index();
    if (at >= int64_t(cells) * cells * cells) return;
    const Point cube = point(at, cells);
    int inside = 0;
#pragma unroll
    for (int corner = 0; corner < 8; ++corner)
        inside |= int(sdf[index(corner_of(cube, corner), cells + 1)] < 0.0f) << corner;
    cases[at] = uint8_t(inside);
    is_crossed[at] = inside != 0 && inside != 255;
}

// Vertices of crossed cubes.
__global__ void mark_near(const bool* is_crossed, int cells, bool* is_near) {
    const int64_t at = thread_index(), side = cells + 1;
    if (at >= side * side * side) return;
    const Point vertex = point(at, int(side));
    bool near = false;
#pragma unroll
    for (int corner = 0; corner < 8; ++corner) {
        const Point cube = cube_at(vertex, corner);
        near |= within(cube, cells) && is_crossed[index(cube, cells)];
    }
    is_near[at] = near;
}

// Two ambiguous cubes that share their face are both inverted.
__global__ void settle_cases(const int64_t* crossed, int64_t count, const uint8_t* cases, const int* table, int cells,
                             uint8_t* settled, int* vertices, int* crossed_row) {
    const int64_t i = thread_index();
    if (i >= count) return;
    const int64_t at = crossed[i];
    int inside = cases[at];
    const int face = table[inside * CASE + 1];
    if (face >= 0) {
        Point beyond = point(at, cells);
        const int step = face % 2 * 2 - 1;
        (face / 2 == 0 ? beyond.x : face / 2 == 1 ? beyond.y : beyond.z) += step;
        if (within(beyond, cells) && table[cases[index(beyond, cells)] * CASE + 1] >= 0) inside ^= 255;
    }
    settled[i] = uint8_t(inside);
    vertices[i] = table[inside * CASE];
    crossed_row[at] = int(i);
}

// Position and attributes of grid vertices.
__global__ void place_vertices(const int64_t* near, int64_t count, const float* feats, int64_t stride, const int* row_of,
                               int cells, int deform, int attribute, int attributes, float* values, int* vertex_row) {
    const int64_t i = thread_index();
    if (i >= count) return;
    const int64_t at = near[i];
    vertex_row[at] = int(i);
    const Point p = point(at, cells + 1);
    const int xyz[3] = {p.x, p.y, p.z};
    float* value = values + i * (3 + attributes);
    for (int axis = 0; axis < 3; ++axis) value[axis] = float(xyz[axis]) / float(cells) - 0.5f;
    for (int channel = 0; channel < attributes; ++channel) value[3 + channel] = 0.5f;
    mean_of_corners(feats, stride, row_of, cells, p, deform, 3,
                    [&](int axis, float mean) { value[axis] += tanhf(mean) * (0.5f / float(cells)); });
    mean_of_corners(feats, stride, row_of, cells, p, attribute, attributes,
                    [&](int channel, float mean) { value[3 + channel] = sigmoid(mean); });
}

}  // namespace

struct Surface {
    const int64_t* crossed;
    const uint8_t* cases;
    // The number of each crossed cube's first dual vertex.
    const int64_t* first;
    const int* table;
    const float* sdf;
    // Position and attributes, where `vertex_row` says.
    const float* values;
    const int* vertex_row;
    // Raw weights of the cubes, where `cube_row` says.
    const float* weights;
    const int* cube_row;
    int64_t weight_stride;
    int cells;
    int attributes;
};

namespace {

__device__ const float* weights_of(const Surface& s, int64_t cube) {
    const int row = s.cube_row[cube];
    return row >= 0 ? s.weights + row * s.weight_stride : nullptr;
}

__device__ float stretched(const float* raw, int i) { return raw ? tanhf(raw[i]) * 0.99f + 1.0f : 1.0f; }

__constant__ int8_t EDGES[12][2] = {{0, 1}, {1, 5}, {4, 5}, {0, 4}, {2, 3}, {3, 7},
                                    {6, 7}, {2, 6}, {2, 0}, {3, 1}, {7, 5}, {6, 4}};

// The dual vertices of a crossed cube: means over the crossings of a patch, weighted by beta.
__global__ void place_dual(const __grid_constant__ Surface s, int64_t count, float* positions, float* attributes) {
    const int64_t i = thread_index();
    if (i >= count) return;
    const int64_t at = s.crossed[i];
    const Point cube = point(at, s.cells);
    const float* raw = weights_of(s, at);
    const int* entry = s.table + s.cases[i] * CASE;
    const int width = 3 + s.attributes;
    for (int patch = 0; patch < entry[0]; ++patch) {
        float sums[9] = {};
        float total = 0.0f;
        for (int edges = entry[2 + patch]; edges != 0; edges &= edges - 1) {
            const int edge = __ffs(edges) - 1;
            const float beta = stretched(raw, edge);
            const float* ends[2];
            Point corners[2];
            float distances[2];
#pragma unroll
            for (int end = 0; end < 2; ++end) {
                const int corner = EDGES[edge][end];
                corners[end] = corner_of(cube, corner);
                const int64_t vertex = index(corners[end], s.cells + 1);
                distances[end] = s.sdf[vertex] * stretched(raw, BETA + corner);
                const int row = s.vertex_row[vertex];
                ends[end] = row >= 0 ? s.values + int64_t(row) * width : nullptr;
            }
            total += beta;
            const float span = distances[1] - distances[0];
#pragma unroll
            for (int channel = 0; channel < 9; ++channel) {
                if (channel >= width) break;
                float values[2];
#pragma unroll
                for (int end = 0; end < 2; ++end) {
                    const int xyz[3] = {corners[end].x, corners[end].y, corners[end].z};
                    const float absent = channel < 3 ? float(xyz[channel % 3]) / float(s.cells) - 0.5f : 0.5f;
                    values[end] = ends[end] ? ends[end][channel] : absent;
                }
                sums[channel] += (values[0] * distances[1] - values[1] * distances[0]) / span * beta;
            }
        }
        const int64_t vertex = s.first[i] + patch;
#pragma unroll
        for (int axis = 0; axis < 3; ++axis) positions[vertex * 3 + axis] = sums[axis] / total;
#pragma unroll
        for (int channel = 0; channel < 6; ++channel)
            if (channel < s.attributes) attributes[vertex * s.attributes + channel] = sums[3 + channel] / total;
    }
}

// For each near vertex the edges that start there and have four cubes, in the order of their other ends (y, z, x):
// 1 where the surface crosses it and its start is outside, 2 where it is inside.
__global__ void find_edges(const int64_t* near, int64_t count, const float* sdf, int cells, uint8_t* edges) {
    const int64_t i = thread_index();
    if (i >= count) return;
    const Point v = point(near[i], cells + 1);
    const bool inside = sdf[near[i]] < 0.0f;
    const bool x = v.x > 0 && v.x < cells, y = v.y > 0 && v.y < cells, z = v.z > 0 && v.z < cells;
    const auto crossed = [&](bool has_cubes, Point end) {
        return has_cubes && (sdf[index(end, cells + 1)] < 0.0f) != inside ? 1 + int(inside) : 0;
    };
    edges[3 * i] = uint8_t(crossed(x && z && v.y > 0, {v.x, v.y - 1, v.z}));
    edges[3 * i + 1] = uint8_t(crossed(x && y && v.z < cells, {v.x, v.y, v.z + 1}));
    edges[3 * i + 2] = uint8_t(crossed(y && z && v.x < cells, {v.x + 1, v.y, v.z}));
}

// Two faces around each edge. `directions` [3, 4, 4]: the steps back to the four cubes, and the edge's number in each.
__global__ void connect(const __grid_constant__ Surface s, const int64_t* near, const int64_t* edges, int64_t outside,
                        int64_t count, const int* directions, const int* crossed_row, int* faces) {
    const int64_t i = thread_index();
    if (i >= count) return;
    const Point v = point(near[edges[i] / 3], s.cells + 1);
    const int* direction = directions + edges[i] % 3 * 16;
    int vertices[4];
    float gamma[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const int* step = direction + 4 * k;
        const int64_t cube = index({v.x - step[0], v.y - step[1], v.z - step[2]}, s.cells);
        const int row = crossed_row[cube];
        const int* entry = s.table + s.cases[row] * CASE;
        int patch = 0;
        for (int p = 1; p < entry[0]; ++p)
            if (entry[2 + p] >> step[3] & 1) patch = p;
        vertices[k] = int(s.first[row]) + patch;
        const float* raw = weights_of(s, cube);
        gamma[k] = raw ? sigmoid(raw[BETA + ALPHA]) * 0.99f + 0.005f : 0.5f;
    }
    const bool inside = i >= outside;
    const int a = inside ? 2 : 0, b = inside ? 3 : 1, c = inside ? 1 : 3, d = inside ? 0 : 2;
    const bool along_ac = gamma[a] * gamma[c] > gamma[b] * gamma[d];
    const int corners[6] = {a, b, along_ac ? c : d, along_ac ? a : d, along_ac ? c : b, along_ac ? d : c};
#pragma unroll
    for (int k = 0; k < 6; ++k) faces[6 * i + k] = vertices[corners[k]];
}

unsigned blocks(int64_t count) { return unsigned((count + THREADS - 1) / THREADS); }

}  // namespace

// row_of [cells³] (-1 before) gets the row of each cube; `outside` becomes 1 if one lies outside the grid.
extern "C" int trellis_place_rows(const int* coords, int64_t stride, int64_t count, int cells, int* row_of, int* outside,
                                  cudaStream_t stream) {
    if (count > 0) place_rows<<<blocks(count), THREADS, 0, stream>>>(coords, stride, count, cells, row_of, outside);
    return cudaGetLastError();
}

// sdf [(cells + 1)³]: the mean of the cubes' first eight values less `bias`; 1 where there is no cube.
extern "C" int trellis_mean_distances(const float* feats, int64_t stride, const int* row_of, int cells, float bias,
                                      float* sdf, cudaStream_t stream) {
    const int64_t side = cells + 1;
    mean_distances<<<blocks(side * side * side), THREADS, 0, stream>>>(feats, stride, row_of, cells, bias, sdf);
    return cudaGetLastError();
}

// The bit set of each cube's inside corners, whether it is crossed, and which vertices are corners of such cubes.
extern "C" int trellis_find_cases(const float* sdf, int cells, uint8_t* cases, bool* is_crossed, bool* is_near,
                                  cudaStream_t stream) {
    const int64_t side = cells + 1;
    find_cases<<<blocks(int64_t(cells) * cells * cells), THREADS, 0, stream>>>(sdf, cells, cases, is_crossed);
    mark_near<<<blocks(side * side * side), THREADS, 0, stream>>>(is_crossed, cells, is_near);
    return cudaGetLastError();
}

// For each of the `crossed` cubes its settled case and number of dual vertices; crossed_row [cells³] gets its number.
extern "C" int trellis_settle_cases(const int64_t* crossed, int64_t count, const uint8_t* cases, const int* table,
                                    int cells, uint8_t* settled, int* vertices, int* crossed_row, cudaStream_t stream) {
    settle_cases<<<blocks(count), THREADS, 0, stream>>>(crossed, count, cases, table, cells, settled, vertices,
                                                        crossed_row);
    return cudaGetLastError();
}

// values [count, 3 + attributes] of the `near` vertices from the cubes' values, which start at columns `deform` and
// `attribute`; vertex_row [(cells + 1)³] gets their numbers.
extern "C" int trellis_place_vertices(const int64_t* near, int64_t count, const float* feats, int64_t stride,
                                      const int* row_of, int cells, int deform, int attribute, int attributes,
                                      float* values, int* vertex_row, cudaStream_t stream) {
    place_vertices<<<blocks(count), THREADS, 0, stream>>>(near, count, feats, stride, row_of, cells, deform, attribute,
                                                          attributes, values, vertex_row);
    return cudaGetLastError();
}

extern "C" int trellis_place_dual(const Surface* surface, int64_t count, float* positions, float* attributes,
                                  cudaStream_t stream) {
    place_dual<<<blocks(count), THREADS, 0, stream>>>(*surface, count, positions, attributes);
    return cudaGetLastError();
}

extern "C" int trellis_find_edges(const int64_t* near, int64_t count, const float* sdf, int cells, uint8_t* edges,
                                  cudaStream_t stream) {
    find_edges<<<blocks(count), THREADS, 0, stream>>>(near, count, sdf, cells, edges);
    return cudaGetLastError();
}

// faces [2 · count, 3] around `edges`, of which the first `outside` start outside.
extern "C" int trellis_connect(const Surface* surface, const int64_t* near, const int64_t* edges, int64_t outside,
                               int64_t count, const int* directions, const int* crossed_row, int* faces,
                               cudaStream_t stream) {
    if (count > 0)
        connect<<<blocks(count), THREADS, 0, stream>>>(*surface, near, edges, outside, count, directions, crossed_row,
                                                       faces);
    return cudaGetLastError();
}
