// The attributes of an ND node as TensorRT hands them to a creator and keeps them in an engine.
#pragma once

#include <NvInferRuntime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace nd::plugin {

// Reads fields by name. Fields that nobody asks for are ignored: a newer converter may write more.
// Every function throws std::invalid_argument, naming the field, where it is missing, has another
// type or length, or holds a value out of range. Whole numbers may come in 32 or in 64 bits.
class Fields {
 public:
  // Borrows `collection`, which may be null.
  explicit Fields(nvinfer1::PluginFieldCollection const* collection);

  int32_t integer(char const* name, int32_t least) const;

  template <std::size_t Count>
  std::array<int32_t, Count> integers(char const* name, int32_t least) const {
    std::array<int32_t, Count> values{};
    read(name, least, values.data(), Count);
    return values;
  }

  // A finite number that is not negative.
  float non_negative(char const* name) const;

 private:
  void read(char const* name, int32_t least, int32_t* values, std::size_t count) const;
  nvinfer1::PluginField const& find(char const* name, std::size_t count) const;

  nvinfer1::PluginField const* first_;
  int32_t count_;
};

// Describes `values` of `count` numbers; the caller keeps them alive as long as the field.
nvinfer1::PluginField field_of(char const* name, int32_t const* values, std::size_t count = 1);
nvinfer1::PluginField field_of(char const* name, float const* value);

template <std::size_t Count>
nvinfer1::PluginField field_of(char const* name, std::array<int32_t, Count> const& values) {
  return field_of(name, values.data(), Count);
}

}  // namespace nd::plugin
