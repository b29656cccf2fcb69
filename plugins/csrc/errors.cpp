// The library's return codes in words, and the version of its interface.
#include <cuda_runtime_api.h>

#include "launchers.h"

char const* nd_error_text(int code) {
  if (code > 0) {
    return cudaGetErrorString(static_cast<cudaError_t>(code));
  }
  switch (code) {
    case 0:
      return "no error";
    case ND_ERROR_TYPE:
      return "the type is neither float32, float16 nor bfloat16";
    case ND_ERROR_SHAPE:
      return "a size, count or option is out of range, or sizes contradict each other";
    case ND_ERROR_POINTER:
      return "a pointer that is needed is null";
    case ND_ERROR_LEFTOVER:
      return "channels are left over, but their mean or scale is null";
    case ND_ERROR_WORKSPACE:
      return "the workspace is null, misaligned or smaller than was asked for";
    case ND_ERROR_NO_SAMPLES:
      return "the batch holds nothing that statistics could be taken of";
    default:
      return "unknown code";
  }
}

int nd_library_version(void) { return 1; }
