// CUDA C++ as far as the kernels use it, for a C++ compiler and a CPU.
#pragma once

#include "cuda_runtime_api.h"
#include "device_functions.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __grid_constant__
// Blocks run one after another, so that what a block shares is what the kernel's threads share.
#define __shared__ static
