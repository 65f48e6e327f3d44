// What the program asks before it uses this library.

#include <cuda_runtime.h>

// Of the functions' signatures: the program uses a library of its own version only.
extern "C" int trellis_version() { return 4; }

// Makes `device` the one that launches go to. Fails where it is not of the architecture that this library is built for.
extern "C" int trellis_select(int device) {
    int major = 0;
    const cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (error != cudaSuccess) return error;
    return major == 9 ? cudaSetDevice(device) : cudaErrorNoKernelImageForDevice;
}

extern "C" const char* trellis_error(int code) { return cudaGetErrorString(cudaError_t(code)); }
