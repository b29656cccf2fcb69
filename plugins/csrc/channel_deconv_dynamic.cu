// nd_channel_deconv_dynamic: an activation, whitened with its own statistics.
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "dynamic/leftover.cuh"
#include "dynamic/limits.cuh"
#include "dynamic/root_values.cuh"
#include "dynamic/types.cuh"
#include "dynamic/whitening.cuh"
#include "launchers.h"

namespace nd {
namespace {

struct Maps {
  std::int64_t batch, channels, height, width, block;

  std::int64_t positions() const { return height * width; }
  std::int64_t whole() const { return channels / block * block; }
  std::int64_t leftover() const { return channels - whole(); }
  bool empty() const { return batch == 0 || channels == 0 || positions() == 0; }
};

struct Options {
  float eps;
  int n_iter;
  int sampling_stride;
};

bool is_sensible(Maps const& maps) {
  bool const sizes = maps.batch >= 0 && maps.channels >= 0 && maps.height >= 0 && maps.width >= 0 &&
                     maps.block >= 1;
  return sizes && (maps.batch == 0 || maps.channels == 0 || maps.height == 0 || maps.width == 0 ||
                   (countable(maps.batch, maps.channels, maps.height, maps.width) &&
                    (maps.whole() == 0 || maps.block <= kMostRows)));
}

bool is_sensible(Options const& options) {
  return options.eps >= 0.0f && !std::isinf(options.eps) && options.n_iter >= 0 &&
         options.sampling_stride >= 1;
}

// Every how many-th value is sampled: all of maps that are smaller than the stride.
std::int64_t sampling_step(Maps const& maps, std::int64_t stride) {
  bool const small = maps.height < stride || maps.width < stride;
  return small ? 1 : stride * stride;
}

SampleLayout sample_layout(Maps const& maps, std::int64_t step) {
  std::int64_t const shared = maps.whole() / maps.block;
  std::int64_t const per_vector = maps.batch * maps.positions();
  SampleLayout layout;
  layout.samples = static_cast<int>(divide_up(shared * per_vector, step));
  layout.features = static_cast<int>(maps.block);
  layout.groups = 1;
  layout.shared = static_cast<int>(shared);
  layout.group_channels = static_cast<int>(maps.whole());
  layout.height = static_cast<int>(maps.height);
  layout.width = static_cast<int>(maps.width);
  layout.image_size = maps.channels * maps.positions();
  // One sample is the first value, however far the next would be.
  layout.outer_step = layout.samples == 1 ? 1 : static_cast<int>(step);
  layout.inner_step = 1;
  layout.per_vector = Divider(static_cast<std::uint32_t>(per_vector));
  layout.per_image = Divider(static_cast<std::uint32_t>(maps.positions()));
  layout.per_line = Divider(static_cast<std::uint32_t>(maps.width));
  layout.taps = Divider(1);
  layout.kernel_width = Divider(1);
  layout.per_group = Divider(static_cast<std::uint32_t>(maps.block));
  layout.stride_y = layout.stride_x = 1;
  layout.padding_y = layout.padding_x = 0;
  layout.dilation_y = layout.dilation_x = 1;
  return layout;
}

LeftoverLayout leftover_layout(Maps const& maps, std::int64_t step) {
  std::int64_t const per_image = divide_up(maps.leftover() * maps.positions(), step);
  LeftoverLayout layout;
  layout.image_size = maps.channels * maps.positions();
  layout.offset = maps.whole() * maps.positions();
  layout.values = static_cast<int>(maps.batch * per_image);
  layout.step = per_image == 1 ? 1 : static_cast<int>(step);
  layout.per_image = Divider(static_cast<std::uint32_t>(per_image));
  return layout;
}

struct Plan {
  bool whitens, has_leftover;
  Whitening whitening;
  LeftoverLayout leftover_layout;
  LeftoverParts leftover_parts;
  // What nd_channel_deconv takes.
  float* mean;
  float* deconv;
  float* leftover_mean;
  float* leftover_scale;
};

Plan make_plan(Maps const& maps, Options const& options, Workspace& workspace) {
  std::int64_t const step = sampling_step(maps, options.sampling_stride);
  Plan plan{};
  plan.whitens = maps.whole() > 0;
  plan.has_leftover = maps.leftover() > 0;
  if (plan.whitens) {
    WhiteningRequest const request{sample_layout(maps, step), false, options.n_iter, options.eps};
    plan.whitening = take_whitening(workspace, request);
    plan.mean = plan.whitening.mean;
    plan.deconv = request.small() ? plan.whitening.deconv
                                  : workspace.take<float>(maps.block * maps.block);
  }
  if (plan.has_leftover) {
    plan.leftover_layout = leftover_layout(maps, step);
    plan.leftover_parts = take_leftover_parts(workspace, plan.leftover_layout);
    plan.leftover_mean = workspace.take<float>(1);
    plan.leftover_scale = workspace.take<float>(1);
  }
  return plan;
}

template <typename T>
int estimate(Plan const& plan, T const* x, float eps, cudaStream_t stream) {
  int error = 0;
  if (plan.whitens) {
    error = launch_whitening(x, plan.whitening, stream);
    if (error == 0 && !plan.whitening.request.small()) {
      error = launch_root_values(plan.whitening.iteration, plan.whitening.moment.features,
                                 plan.deconv, stream);
    }
  }
  if (error == 0 && plan.has_leftover) {
    error = launch_leftover(x, plan.leftover_layout, plan.leftover_parts, eps, plan.leftover_mean,
                            plan.leftover_scale, stream);
  }
  return error;
}

// Enough for any options: every value is a sample, and all tiles of the iteration are computed.
std::size_t most_bytes(Maps const& maps) {
  if (maps.empty()) {
    return Workspace::kAlignment;
  }
  Workspace workspace(nullptr);
  make_plan(maps, {0.0f, kSymmetricSteps + 1, 1}, workspace);
  return workspace.bytes();
}

}  // namespace
}  // namespace nd

size_t nd_channel_deconv_dynamic_workspace(int64_t batch, int64_t channels, int64_t height,
                                           int64_t width, int64_t block, int type) {
  nd::Maps const maps{batch, channels, height, width, block};
  return nd::is_type(type) && nd::is_sensible(maps) ? nd::most_bytes(maps) : 0;
}

int nd_channel_deconv_dynamic(void const* x, void* y, int type, int64_t batch, int64_t channels,
                              int64_t height, int64_t width, int64_t block, float eps, int n_iter,
                              int sampling_stride, void* workspace, size_t workspace_bytes,
                              void* stream) {
  nd::Maps const maps{batch, channels, height, width, block};
  nd::Options const options{eps, n_iter, sampling_stride};
  if (!nd::is_type(type)) {
    return ND_ERROR_TYPE;
  }
  if (!nd::is_sensible(maps) || !nd::is_sensible(options)) {
    return ND_ERROR_SHAPE;
  }
  if (maps.empty()) {
    return 0;
  }
  if (x == nullptr || y == nullptr) {
    return ND_ERROR_POINTER;
  }
  nd::Workspace memory(workspace);
  nd::Plan const plan = nd::make_plan(maps, options, memory);
  if (!memory.fits(workspace_bytes)) {
    return ND_ERROR_WORKSPACE;
  }
  int const error = nd::with_type(type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return nd::estimate(plan, static_cast<T const*>(x), eps, static_cast<cudaStream_t>(stream));
  });
  return error != 0 ? error
                    : nd_channel_deconv(x, plan.mean, plan.deconv, plan.leftover_mean,
                                        plan.leftover_scale, y, type, batch, channels,
                                        maps.positions(), block, 0, stream);
}
