#include "shapes.h"

#include <stdexcept>

#include "launchers.h"

namespace nd::plugin {

std::string text_of(nvinfer1::Dims const& shape) {
  std::string text{"("};
  for (int32_t axis = 0; axis < shape.nbDims; ++axis) {
    text += (axis == 0 ? "" : ", ") + std::to_string(shape.d[axis]);
  }
  return text + ")";
}

void refuse_shape(char const* name, nvinfer1::Dims const& shape, std::string const& expected) {
  throw std::invalid_argument(std::string{name} + " has shape " + text_of(shape) + ", expected " +
                              expected);
}

void refuse_size(nvinfer1::Dims const& x) {
  refuse_shape("x", x, "one that holds a sample and is within the limits of the kernels");
}

void require_shape(char const* name, nvinfer1::Dims const& shape,
                   std::initializer_list<int64_t> expected) {
  nvinfer1::Dims wanted{};
  for (int64_t const size : expected) {
    wanted.d[wanted.nbDims++] = size;
  }
  bool fits = shape.nbDims == wanted.nbDims;
  for (int32_t axis = 0; fits && axis < wanted.nbDims; ++axis) {
    fits = may_equal(shape.d[axis], wanted.d[axis]);
  }
  if (!fits) {
    refuse_shape(name, shape, text_of(wanted));
  }
}

int64_t volume_from(nvinfer1::Dims const& shape, int32_t first) {
  int64_t volume = 1;
  for (int32_t axis = first; axis < shape.nbDims; ++axis) {
    volume *= shape.d[axis];
  }
  return volume;
}

bool is_computable(nvinfer1::DataType type) {
  return type == nvinfer1::DataType::kFLOAT || type == nvinfer1::DataType::kHALF ||
         type == nvinfer1::DataType::kBF16;
}

int launcher_type(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return ND_FLOAT32;
    case nvinfer1::DataType::kHALF:
      return ND_FLOAT16;
    case nvinfer1::DataType::kBF16:
      return ND_BFLOAT16;
    default:
      throw std::invalid_argument("x is of TensorRT's type " +
                                  std::to_string(static_cast<int32_t>(type)) +
                                  ", expected float32, float16 or bfloat16");
  }
}

}  // namespace nd::plugin
