// Where in an activation the samples lie that statistics are taken of.
//
// Sample m of feature f is one value of x, or zero where a patch reaches into the padding. Features
// that share one matrix D lie `shared` apart among the C kh kw entries of a patch: feature f of the
// s-th vector of a patch is entry f shared + s. The rows of all groups are numbered through.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "../primitives.cuh"

namespace nd {

// Divides numbers below 2^31 by a constant that only the host knows, without a division.
class Divider {
 public:
  Divider() : Divider(1) {}
  explicit Divider(std::uint32_t divisor) : divisor_(divisor), shift_(31) {
    while ((std::uint64_t{1} << (shift_ - 31)) < divisor) {
      ++shift_;
    }
    multiplier_ = ((std::uint64_t{1} << shift_) + divisor - 1) / divisor;
  }

  __host__ __device__ std::uint32_t divisor() const { return divisor_; }
  __device__ __forceinline__ std::uint32_t quotient(std::uint32_t number) const {
    return static_cast<std::uint32_t>(number * multiplier_ >> shift_);
  }

 private:
  std::uint32_t divisor_;
  std::uint32_t shift_;
  std::uint64_t multiplier_;  // below 2^32
};

struct Sample {
  std::int64_t image;  // offset of the image
  int y, x;            // of the patch's first tap; negative in the padding
  int shared;          // which of the vectors of a patch
};

struct SampleLayout {
  int samples;         // M
  int features;        // F, one row each
  int groups;
  int shared;
  int group_channels;  // channels from one group to the next
  int height, width;
  std::int64_t image_size;  // elements of an image
  int outer_step;           // between samples, through all vectors of all images
  int inner_step;           // between samples, through the positions of one vector
  Divider per_vector;       // samples of one vector of a patch
  Divider per_image;        // positions of one image
  Divider per_line;         // positions of one line
  Divider taps;             // kh kw
  Divider kernel_width;
  Divider per_group;        // F
  int stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;

  __host__ __device__ int rows() const { return groups * features; }

  __device__ __forceinline__ Sample sample(int index) const {
    std::uint32_t const place = static_cast<std::uint32_t>(index) * outer_step;
    std::uint32_t const vector = per_vector.quotient(place);
    std::uint32_t const position = (place - vector * per_vector.divisor()) * inner_step;
    std::uint32_t const image = per_image.quotient(position);
    std::uint32_t const inside = position - image * per_image.divisor();
    std::uint32_t const line = per_line.quotient(inside);
    std::uint32_t const column = inside - line * per_line.divisor();
    return {image * image_size, static_cast<int>(line) * stride_y - padding_y,
            static_cast<int>(column) * stride_x - padding_x, static_cast<int>(vector)};
  }
};

// The tap of a row's feature: relative to a patch's first, in the same image.
struct Tap {
  int channel_offset;  // elements from the image's start to the channel
  int y, x;

  __device__ __forceinline__ Tap() {}
  __device__ __forceinline__ Tap(SampleLayout const& layout, int row, int shared) {
    std::uint32_t const group = layout.per_group.quotient(row);
    std::uint32_t const feature = row - group * layout.features;
    std::uint32_t const entry = feature * layout.shared + shared;
    std::uint32_t const channel = layout.taps.quotient(entry);
    std::uint32_t const tap = entry - channel * layout.taps.divisor();
    std::uint32_t const line = layout.kernel_width.quotient(tap);
    channel_offset = static_cast<int>(group * layout.group_channels + channel) * layout.height *
                     layout.width;
    y = static_cast<int>(line) * layout.dilation_y;
    x = static_cast<int>(tap - line * layout.kernel_width.divisor()) * layout.dilation_x;
  }

  template <typename T>
  __device__ __forceinline__ float value(T const* maps, SampleLayout const& layout,
                                         Sample const& sample) const {
    int const line = sample.y + y;
    int const column = sample.x + x;
    bool const inside = static_cast<unsigned>(line) < static_cast<unsigned>(layout.height) &&
                        static_cast<unsigned>(column) < static_cast<unsigned>(layout.width);
    return inside ? to_float(maps[sample.image + channel_offset + line * layout.width + column])
                  : 0.0f;
  }
};

// The taps of consecutive rows, looked up again only where samples pass on to another vector.
template <int kRows>
class RowTaps {
 public:
  __device__ RowTaps(SampleLayout const& layout, int first) : layout_(layout), first_(first) {}

  // Rows behind the last one repeat it.
  __device__ __forceinline__ void select(int shared) {
    if (shared == shared_) {
      return;
    }
    shared_ = shared;
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      taps_[row] = Tap(layout_, min(first_ + row, layout_.rows() - 1), shared);
    }
  }

  __device__ __forceinline__ Tap const& operator[](int row) const { return taps_[row]; }

 private:
  SampleLayout const& layout_;
  int first_;
  int shared_ = -1;
  Tap taps_[kRows];
};

}  // namespace nd
