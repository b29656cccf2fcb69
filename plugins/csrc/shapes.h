// Checks and translations of TensorRT's descriptions of tensors.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <initializer_list>
#include <string>

namespace nd::plugin {

// A size that is only known at run time.
inline constexpr int64_t unknown_size = -1;

// Whether two sizes may be the same.
inline bool may_equal(int64_t one, int64_t other) {
  return one == other || one == unknown_size || other == unknown_size;
}

// Whether one size may be a multiple of the other.
inline bool may_divide(int64_t part, int64_t whole) {
  return part == unknown_size || whole == unknown_size || (part > 0 && whole % part == 0);
}

// "(32, -1, 7, 7)".
std::string text_of(nvinfer1::Dims const& shape);

// Throws std::invalid_argument unless `shape` has this rank and these sizes, where known.
void require_shape(char const* name, nvinfer1::Dims const& shape,
                   std::initializer_list<int64_t> expected);

// Throws std::invalid_argument with the shape and what was expected.
[[noreturn]] void refuse_shape(char const* name, nvinfer1::Dims const& shape,
                               std::string const& expected);

// Throws std::invalid_argument: the kernels refuse to compute on x of this shape.
[[noreturn]] void refuse_size(nvinfer1::Dims const& x);

// The product of the sizes from axis `first` on, all of which are known.
int64_t volume_from(nvinfer1::Dims const& shape, int32_t first);

// Whether the kernels compute on tensors of this type.
bool is_computable(nvinfer1::DataType type);

// The launchers' number of a type; throws std::invalid_argument if it has none.
int launcher_type(nvinfer1::DataType type);

}  // namespace nd::plugin
