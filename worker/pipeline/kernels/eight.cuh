// Sixteen bytes or more at a time: what threads read and write of a row.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

namespace {

// Eight neighbouring values of a row.
struct Eight {
    float v[8];
};

__device__ Eight load(const half* x) {
    const uint4 raw = *reinterpret_cast<const uint4*>(x);
    const half2* pairs = reinterpret_cast<const half2*>(&raw);
    Eight e;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 pair = __half22float2(pairs[i]);
        e.v[2 * i] = pair.x;
        e.v[2 * i + 1] = pair.y;
    }
    return e;
}

__device__ Eight load(const float* x) {
    const float4 a = reinterpret_cast<const float4*>(x)[0], b = reinterpret_cast<const float4*>(x)[1];
    return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

// Stores the values and keeps them as they were rounded.
__device__ void store(half* x, Eight& e) {
    uint4 raw;
    half2* pairs = reinterpret_cast<half2*>(&raw);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        pairs[i] = __floats2half2_rn(e.v[2 * i], e.v[2 * i + 1]);
        const float2 pair = __half22float2(pairs[i]);
        e.v[2 * i] = pair.x;
        e.v[2 * i + 1] = pair.y;
    }
    *reinterpret_cast<uint4*>(x) = raw;
}

__device__ void store(float* x, Eight& e) {
    reinterpret_cast<float4*>(x)[0] = make_float4(e.v[0], e.v[1], e.v[2], e.v[3]);
    reinterpret_cast<float4*>(x)[1] = make_float4(e.v[4], e.v[5], e.v[6], e.v[7]);
}

}  // namespace
