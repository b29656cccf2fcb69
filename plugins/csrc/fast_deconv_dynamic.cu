// nd_fast_deconv_dynamic: a convolution's weight, folded with its input's own statistics.
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "dynamic/fold_small.cuh"
#include "dynamic/fold_weight.cuh"
#include "dynamic/limits.cuh"
#include "dynamic/types.cuh"
#include "dynamic/whitening.cuh"
#include "launchers.h"

namespace nd {
namespace {

// How many patches a line along one axis holds; none where the kernel does not fit.
std::int64_t positions(NdFastDeconvShape const& shape, int axis) {
  std::int64_t const size = axis == 0 ? shape.height : shape.width;
  std::int64_t const padded = size + shape.padding_begin[axis] + shape.padding_end[axis];
  std::int64_t const reach = std::int64_t{shape.dilation[axis]} * (shape.kernel[axis] - 1) + 1;
  return padded < reach ? 0 : (padded - reach) / shape.sampling[axis] + 1;
}

bool has_sensible_axis(NdFastDeconvShape const& shape, int axis) {
  return shape.kernel[axis] >= 1 && shape.dilation[axis] >= 1 && shape.sampling[axis] >= 1 &&
         shape.padding_begin[axis] >= 0 && shape.padding_end[axis] >= 0 &&
         shape.padding_begin[axis] < kMostElements && shape.padding_end[axis] < kMostElements &&
         std::int64_t{shape.dilation[axis]} * shape.kernel[axis] < kMostElements;
}

// 0, or the code of what is wrong with the shape.
int check(NdFastDeconvShape const& shape) {
  bool const counts = countable(shape.in_channels, shape.height, shape.width) &&
                      countable(shape.groups) && countable(shape.out_channels) &&
                      shape.batch >= 0;
  if (!counts || !has_sensible_axis(shape, 0) || !has_sensible_axis(shape, 1) ||
      shape.n_iter < 0 || !(shape.eps >= 0.0f) || std::isinf(shape.eps) ||
      shape.groups > kMostGroups || shape.in_channels % shape.groups != 0 ||
      shape.out_channels % shape.groups != 0) {
    return ND_ERROR_SHAPE;
  }
  bool const grouped = shape.groups > 1;
  if (!grouped && (shape.block < 1 || shape.in_channels % shape.block != 0)) {
    return ND_ERROR_SHAPE;
  }
  std::int64_t const features =
      grouped ? shape.in_channels / shape.groups : shape.block;
  if (!countable(features, shape.kernel[0], shape.kernel[1], shape.groups) ||
      features * shape.kernel[0] * shape.kernel[1] * shape.groups > kMostRows ||
      !countable(shape.out_channels, shape.in_channels / shape.groups, shape.kernel[0],
                 shape.kernel[1])) {
    return ND_ERROR_SHAPE;
  }
  std::int64_t const lines = positions(shape, 0), columns = positions(shape, 1);
  if (shape.batch == 0 || lines == 0 || columns == 0) {
    return ND_ERROR_NO_SAMPLES;
  }
  return countable(shape.batch, lines, columns, shape.in_channels) &&
                 countable(shape.batch, shape.height, shape.width)
             ? 0
             : ND_ERROR_SHAPE;
}

// 1 x 1 kernels sample pixels, counted through the batch and never in the padding.
bool samples_pixels(NdFastDeconvShape const& shape) {
  return shape.kernel[0] * shape.kernel[1] == 1;
}

SampleLayout sample_layout(NdFastDeconvShape const& shape) {
  bool const grouped = shape.groups > 1;
  bool const pixels = samples_pixels(shape);
  std::int64_t const taps = std::int64_t{shape.kernel[0]} * shape.kernel[1];
  std::int64_t const lines = pixels ? shape.height : positions(shape, 0);
  std::int64_t const columns = pixels ? shape.width : positions(shape, 1);
  std::int64_t const step =
      pixels ? std::int64_t{shape.sampling[0]} * shape.sampling[1] : 1;
  std::int64_t const per_vector = divide_up(shape.batch * lines * columns, step);

  SampleLayout layout;
  layout.groups = static_cast<int>(shape.groups);
  layout.group_channels = static_cast<int>(shape.in_channels / shape.groups);
  layout.shared = grouped ? 1 : static_cast<int>(shape.in_channels / shape.block);
  layout.features =
      static_cast<int>(taps * (grouped ? shape.in_channels / shape.groups : shape.block));
  layout.samples = static_cast<int>(per_vector * layout.shared);
  layout.height = static_cast<int>(shape.height);
  layout.width = static_cast<int>(shape.width);
  layout.image_size = shape.in_channels * shape.height * shape.width;
  layout.outer_step = 1;
  // One sample is the first pixel, however far the next would be.
  layout.inner_step = per_vector == 1 ? 1 : static_cast<int>(step);
  layout.per_vector = Divider(static_cast<std::uint32_t>(per_vector));
  layout.per_image = Divider(static_cast<std::uint32_t>(lines * columns));
  layout.per_line = Divider(static_cast<std::uint32_t>(columns));
  layout.taps = Divider(static_cast<std::uint32_t>(taps));
  layout.kernel_width = Divider(static_cast<std::uint32_t>(shape.kernel[1]));
  layout.per_group = Divider(static_cast<std::uint32_t>(layout.features));
  layout.stride_y = pixels ? 1 : shape.sampling[0];
  layout.stride_x = pixels ? 1 : shape.sampling[1];
  layout.padding_y = pixels ? 0 : shape.padding_begin[0];
  layout.padding_x = pixels ? 0 : shape.padding_begin[1];
  layout.dilation_y = shape.dilation[0];
  layout.dilation_x = shape.dilation[1];
  return layout;
}

struct Plan {
  Whitening whitening;
  WeightLayout weight;
  SplitWeight split;
};

Plan make_plan(NdFastDeconvShape const& shape, Workspace& workspace) {
  SampleLayout const layout = sample_layout(shape);
  Plan plan{};
  plan.weight = {static_cast<int>(shape.out_channels),
                 static_cast<int>(shape.out_channels / shape.groups), layout.groups,
                 layout.features, layout.shared};
  WhiteningRequest const request{layout, true, shape.n_iter, shape.eps};
  if (!request.small()) {
    plan.split = take_split_weight(workspace, plan.weight);
  }
  plan.whitening = take_whitening(workspace, request);
  return plan;
}

template <typename T>
int run(Plan const& plan, T const* maps, float const* weight, float const* bias, T* folded_weight,
        T* folded_bias, cudaStream_t stream) {
  Whitening const& whitening = plan.whitening;
  int error = launch_whitening(maps, whitening, stream);
  if (error != 0) {
    return error;
  }
  if (whitening.request.small()) {
    return launch_fold_small(weight, bias, whitening.deconv, whitening.mean, plan.weight,
                             folded_weight, folded_bias, stream);
  }
  error = launch_split_weight(weight, plan.weight, plan.split, stream);
  return error != 0 ? error
                    : launch_fold_weight(plan.split, bias, plan.weight, whitening.iteration,
                                         whitening.mean, folded_weight, folded_bias, stream);
}

}  // namespace
}  // namespace nd

size_t nd_fast_deconv_dynamic_workspace(NdFastDeconvShape const* shape, int type) {
  if (shape == nullptr || !nd::is_type(type) || nd::check(*shape) != 0) {
    return 0;
  }
  nd::Workspace workspace(nullptr);
  nd::make_plan(*shape, workspace);
  return workspace.bytes();
}

int nd_fast_deconv_dynamic(void const* x, float const* weight, float const* bias,
                           void* folded_weight, void* folded_bias, int type,
                           NdFastDeconvShape const* shape, void* workspace,
                           size_t workspace_bytes, void* stream) {
  if (!nd::is_type(type)) {
    return ND_ERROR_TYPE;
  }
  if (shape == nullptr) {
    return ND_ERROR_POINTER;
  }
  if (int const error = nd::check(*shape); error != 0) {
    return error;
  }
  if (x == nullptr || weight == nullptr || bias == nullptr || folded_weight == nullptr ||
      folded_bias == nullptr) {
    return ND_ERROR_POINTER;
  }
  nd::Workspace memory(workspace);
  nd::Plan const plan = nd::make_plan(*shape, memory);
  if (!memory.fits(workspace_bytes)) {
    return ND_ERROR_WORKSPACE;
  }
  return nd::with_type(type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return nd::run(plan, static_cast<T const*>(x), weight, bias, static_cast<T*>(folded_weight),
                   static_cast<T*>(folded_bias), static_cast<cudaStream_t>(stream));
  });
}
