// nd_channel_deconv: ChannelDeconv with D and the mean given, x read once and y written once.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "channel_deconv/columns.cuh"
#include "channel_deconv/leftover.cuh"
#include "channel_deconv/whiten_fma.cuh"
#include "channel_deconv/whiten_mma.cuh"
#include "launchers.h"
#include "primitives.cuh"

namespace nd {
namespace {

// The arguments of nd_channel_deconv, and how its channels are divided.
struct ChannelDeconv {
  void const* x;
  float const *mean, *deconv, *leftover_mean, *leftover_scale;
  void* y;
  std::int64_t batch, channels, positions, block;
  bool relu;
  cudaStream_t stream;

  std::int64_t whitened() const { return channels / block * block; }
  std::int64_t left_over() const { return channels - whitened(); }
  std::int64_t image() const { return channels * positions; }
  float floor() const { return relu ? 0.0f : -std::numeric_limits<float>::infinity(); }
  bool empty() const { return batch == 0 || channels == 0 || positions == 0; }
};

// Blocks beyond this have more tiles of rows than a grid can count.
constexpr std::int64_t kLargestBlock = std::int64_t{65535} * WhitenFma::kRows;

// Columns of a launch: a multiple of every width of a vector. Tests set a smaller one.
#ifndef ND_MOST_COLUMNS
#define ND_MOST_COLUMNS (1 << 30)
#endif
constexpr std::int64_t kMostColumns = ND_MOST_COLUMNS;

int check(ChannelDeconv const& call) {
  std::int64_t elements = 0;
  if (call.batch < 0 || call.channels < 0 || call.positions < 0 || call.block <= 0 ||
      __builtin_mul_overflow(call.batch, call.channels, &elements) ||
      __builtin_mul_overflow(elements, call.positions, &elements) ||
      __builtin_mul_overflow(call.channels, call.positions, &elements)) {
    return ND_ERROR_SHAPE;
  }
  if (call.empty()) {
    return 0;
  }
  if (call.whitened() > 0 && call.block > kLargestBlock) {
    return ND_ERROR_SHAPE;
  }
  bool const tables = call.whitened() == 0 || (call.mean != nullptr && call.deconv != nullptr);
  if (call.x == nullptr || call.y == nullptr || !tables) {
    return ND_ERROR_POINTER;
  }
  bool const scaled = call.leftover_mean != nullptr && call.leftover_scale != nullptr;
  return call.left_over() > 0 && !scaled ? ND_ERROR_LEFTOVER : 0;
}

bool is_aligned(void const* pointer, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

template <typename T>
cudaError_t launch_fma(ChannelDeconv const& call, Columns<T> const& columns) {
  using Shape = WhitenFma;
  std::uint32_t const tiles = (columns.count + Shape::kColumns - 1) / Shape::kColumns;
  auto const rows = static_cast<unsigned>((call.block + Shape::kRows - 1) / Shape::kRows);
  return launch(whiten_fma<T>, dim3(tiles, rows), dim3(Shape::kThreads), sizeof(WhitenSlices),
                call.stream, columns, call.mean, call.deconv);
}

template <typename T>
bool is_whole(ChannelDeconv const& call, Columns<T> const& columns, int run_width) {
  std::size_t const run_bytes = sizeof(T) * static_cast<std::size_t>(run_width);
  return columns.row_stride % run_width == 0 && columns.image_stride % run_width == 0 &&
         is_aligned(call.x, run_bytes) && is_aligned(call.y, run_bytes);
}

template <typename T, int kPadded, bool kWhole>
cudaError_t launch_mma(ChannelDeconv const& call, Columns<T> const& columns) {
  using Shape = WhitenMma<T, kPadded>;
  bool has_code = false;
  int processors = 0;
  int shared_limit = 0;
  cudaError_t error = has_tensor_core_code(whiten_mma<T, kPadded, kWhole>, &has_code);
  if (error == cudaSuccess) {
    error = multiprocessors(&processors);
  }
  if (error == cudaSuccess) {
    error = shared_memory_limit(&shared_limit);
  }
  if (error != cudaSuccess) {
    return error;
  }
  if (!has_code || static_cast<std::size_t>(shared_limit) < Shape::kSharedBytes) {
    return launch_fma(call, columns);
  }
  std::uint32_t const tiles = (columns.count + Shape::kColumns - 1) / Shape::kColumns;
  dim3 const grid(std::min(tiles, static_cast<std::uint32_t>(processors * Shape::blocks(kWhole))));
  return launch(whiten_mma<T, kPadded, kWhole>, grid, dim3(32 * kWhitenWarps), Shape::kSharedBytes,
                call.stream, columns, call.mean, call.deconv, processors);
}

template <typename T, int kPadded>
cudaError_t choose_mma(ChannelDeconv const& call, Columns<T> const& columns) {
  return is_whole(call, columns, WhitenMma<T, kPadded>::kWidth)
             ? launch_mma<T, kPadded, true>(call, columns)
             : launch_mma<T, kPadded, false>(call, columns);
}

template <typename T>
cudaError_t whiten_columns(ChannelDeconv const& call, Columns<T> const& columns) {
  if (call.block > 128) {
    return launch_fma(call, columns);
  }
  if (call.block > 64) {
    return choose_mma<T, 128>(call, columns);
  }
  if (call.block > 32) {
    return choose_mma<T, 64>(call, columns);
  }
  return call.block > 16 ? choose_mma<T, 32>(call, columns) : choose_mma<T, 16>(call, columns);
}

// Whole images a launch, or a part of one image's columns where that alone is too much.
template <typename T>
cudaError_t whiten(ChannelDeconv const& call) {
  std::int64_t const row = call.whitened() / call.block * call.positions;
  std::int64_t const width = std::min<std::int64_t>(row, kMostColumns);
  std::int64_t const images = kMostColumns / width;
  for (std::int64_t image = 0; image < call.batch; image += images) {
    std::int64_t const some = std::min(images, call.batch - image);
    for (std::int64_t column = 0; column < row; column += width) {
      std::int64_t const part = std::min(width, row - column);
      std::int64_t const offset = image * call.image() + column;
      Columns<T> const columns = {static_cast<T const*>(call.x) + offset,
                                  static_cast<T*>(call.y) + offset,
                                  static_cast<std::uint32_t>(some * part),
                                  static_cast<std::uint32_t>(part),
                                  row,
                                  call.image(),
                                  static_cast<int>(call.block),
                                  call.floor()};
      cudaError_t const error = whiten_columns(call, columns);
      if (error != cudaSuccess) {
        return error;
      }
    }
  }
  return cudaSuccess;
}

template <typename T, int kWidth>
cudaError_t launch_leftover(ChannelDeconv const& call, Leftover<T> const& leftover) {
  constexpr std::int64_t kMostBlocks = 1 << 16;
  std::int64_t const work = leftover.images * leftover.per_image / kWidth;
  std::int64_t const blocks = (work + kLeftoverThreads - 1) / kLeftoverThreads;
  dim3 const grid(static_cast<unsigned>(std::min(blocks, kMostBlocks)));
  return launch(scale_leftover<T, kWidth>, grid, dim3(kLeftoverThreads), 0, call.stream, leftover,
                call.leftover_mean, call.leftover_scale);
}

template <typename T>
cudaError_t leave_over(ChannelDeconv const& call) {
  constexpr int kWidth = 16 / static_cast<int>(sizeof(T));
  std::int64_t const skipped = call.whitened() * call.positions;
  Leftover<T> const leftover = {static_cast<T const*>(call.x) + skipped,
                                static_cast<T*>(call.y) + skipped,
                                call.batch,
                                call.left_over() * call.positions,
                                call.image(),
                                call.floor()};
  bool const whole = leftover.per_image % kWidth == 0 && call.image() % kWidth == 0 &&
                     is_aligned(leftover.x, 16) && is_aligned(leftover.y, 16);
  return whole ? launch_leftover<T, kWidth>(call, leftover) : launch_leftover<T, 1>(call, leftover);
}

template <typename T>
cudaError_t run(ChannelDeconv const& call) {
  cudaError_t error = cudaSuccess;
  if (call.whitened() > 0) {
    error = whiten<T>(call);
  }
  if (error == cudaSuccess && call.left_over() > 0) {
    error = leave_over<T>(call);
  }
  return error;
}

}  // namespace
}  // namespace nd

int nd_channel_deconv(void const* x, float const* mean, float const* deconv,
                      float const* leftover_mean, float const* leftover_scale, void* y, int type,
                      int64_t batch, int64_t channels, int64_t positions, int64_t block, int relu,
                      void* stream) {
  if (type != ND_FLOAT32 && type != ND_FLOAT16 && type != ND_BFLOAT16) {
    return ND_ERROR_TYPE;
  }
  nd::ChannelDeconv const call = {x,
                                  mean,
                                  deconv,
                                  leftover_mean,
                                  leftover_scale,
                                  y,
                                  batch,
                                  channels,
                                  positions,
                                  block,
                                  relu != 0,
                                  static_cast<cudaStream_t>(stream)};
  int const problem = nd::check(call);
  if (problem != 0 || call.empty()) {
    return problem;
  }
  switch (type) {
    case ND_FLOAT16:
      return nd::run<__half>(call);
    case ND_BFLOAT16:
      return nd::run<__nv_bfloat16>(call);
    default:
      return nd::run<float>(call);
  }
}
