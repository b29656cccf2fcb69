// What kernels are written with: the operations that a GPU and the emulator do each in its own way.
//
// Nothing outside these headers uses PTX, launches a kernel or declares dynamic shared memory, so
// that a C++ compiler with the emulator's headers (tests/plugins/emulator, -DND_EMULATED) runs the
// same kernels on a CPU.
#pragma once

#include "primitives/convert.cuh"
#include "primitives/copy.cuh"
#include "primitives/launch.cuh"
#include "primitives/mma.cuh"
