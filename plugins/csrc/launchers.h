// The library's plain C interface: one function an operation, each queued on a CUDA stream.
//
// Everything that computes is reached through these functions, by the TensorRT plugin as by tests
// and tools, so that no caller needs TensorRT. Pointers are device pointers unless they are to a
// shape; `stream` is a cudaStream_t. Functions return at once, before the work is done.
//
// They return 0, a positive cudaError_t of the launch, or a negative ND_ERROR_ code where the
// arguments make no sense; `nd_error_text` says which. After a code other than 0 what the outputs
// hold is undefined. Empty tensors are no error: nothing is launched.
#ifndef ND_LAUNCHERS_H
#define ND_LAUNCHERS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ND_EXPORT __attribute__((visibility("default")))
#else
#define ND_EXPORT __declspec(dllexport)
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum NdType { ND_FLOAT32 = 0, ND_FLOAT16 = 1, ND_BFLOAT16 = 2 };

enum NdError {
  ND_ERROR_TYPE = -1,       // the type is none of NdType
  ND_ERROR_SHAPE = -2,      // a size or option is out of range, or sizes contradict each other
  ND_ERROR_POINTER = -3,    // a pointer that is needed is null
  ND_ERROR_LEFTOVER = -4,   // channels are left over, but their mean or scale is null
  ND_ERROR_WORKSPACE = -5,  // the workspace is null, misaligned or smaller than was asked for
  ND_ERROR_NO_SAMPLES = -6, // the batch holds nothing that statistics could be taken of
};

// y[n, b G + g, p] = sum over b' of deconv[b, b'] (x[n, b' G + g, p] - mean[b']) for the first
// floor(channels / block) block channels, G = channels / block; the channels left over become
// (x - leftover_mean) leftover_scale; with `relu`, what is negative becomes 0 (NaN stays NaN).
//
//   x, y            (batch, channels, positions) of `type`, contiguous, aligned to one element;
//                   they must not overlap
//   mean            (block) float32
//   deconv          (block, block) float32, row-major
//   leftover_mean, leftover_scale   (1) float32, or null where block divides channels
//
// Before `relu`, a NaN in x makes every result that it enters NaN, an infinity makes it NaN or
// infinite.
ND_EXPORT int nd_channel_deconv(void const* x, float const* mean, float const* deconv,
                                float const* leftover_mean, float const* leftover_scale, void* y,
                                int type, int64_t batch, int64_t channels, int64_t positions,
                                int64_t block, int relu, void* stream);

// What NDFastDeconvDynamic's attributes and x's shape say. `sampling` is how far apart sampled
// patches are, along height and width.
typedef struct {
  int64_t batch, in_channels, out_channels, groups, block, height, width;
  int32_t kernel[2], padding_begin[2], padding_end[2], dilation[2], sampling[2];
  int32_t n_iter;
  float eps;
} NdFastDeconvShape;

// Bytes of workspace that nd_fast_deconv_dynamic needs; 0 where it would refuse the shape.
ND_EXPORT size_t nd_fast_deconv_dynamic_workspace(NdFastDeconvShape const* shape, int type);

// The weight and bias of the convolution that whitens x with x's own statistics.
//
//   x               (batch, in_channels, height, width) of `type`
//   weight          (out_channels, in_channels / groups, kernel[0], kernel[1]) float32
//   bias            (out_channels) float32
//   folded_weight   as weight, of `type`
//   folded_bias     as bias, of `type`
//   workspace       aligned to 256 bytes
ND_EXPORT int nd_fast_deconv_dynamic(void const* x, float const* weight, float const* bias,
                                     void* folded_weight, void* folded_bias, int type,
                                     NdFastDeconvShape const* shape, void* workspace,
                                     size_t workspace_bytes, void* stream);

// Bytes of workspace that nd_channel_deconv_dynamic needs; 0 where it would refuse the shape.
ND_EXPORT size_t nd_channel_deconv_dynamic_workspace(int64_t batch, int64_t channels,
                                                     int64_t height, int64_t width, int64_t block,
                                                     int type);

// nd_channel_deconv with the mean, the deconv and the leftover channels' statistics of x itself.
ND_EXPORT int nd_channel_deconv_dynamic(void const* x, void* y, int type, int64_t batch,
                                        int64_t channels, int64_t height, int64_t width,
                                        int64_t block, float eps, int n_iter, int sampling_stride,
                                        void* workspace, size_t workspace_bytes, void* stream);

// What a function's return code means, in words. Never null.
ND_EXPORT char const* nd_error_text(int code);

// The version of this interface: 1.
ND_EXPORT int nd_library_version(void);

#ifdef __cplusplus
}
#endif

#endif
