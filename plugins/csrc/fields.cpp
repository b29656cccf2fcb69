#include "fields.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace nd::plugin {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

[[noreturn]] void refuse(char const* name, std::string const& problem) {
  throw std::invalid_argument(std::string{"field '"} + name + "' " + problem);
}

// memcpy, since nothing promises that the numbers in an engine file are aligned.
template <typename Number>
Number at(PluginField const& field, std::size_t place) {
  Number value;
  std::memcpy(&value, static_cast<char const*>(field.data) + place * sizeof value, sizeof value);
  return value;
}

int64_t integer_at(char const* name, PluginField const& field, std::size_t place) {
  switch (field.type) {
    case PluginFieldType::kINT32:
      return at<int32_t>(field, place);
    case PluginFieldType::kINT64:
      return at<int64_t>(field, place);
    default:
      refuse(name, "is not an integer");
  }
}

double number_at(char const* name, PluginField const& field) {
  switch (field.type) {
    case PluginFieldType::kFLOAT32:
      return at<float>(field, 0);
    case PluginFieldType::kFLOAT64:
      return at<double>(field, 0);
    default:
      refuse(name, "is not a floating point number");
  }
}

}  // namespace

Fields::Fields(nvinfer1::PluginFieldCollection const* collection)
    : first_{collection == nullptr ? nullptr : collection->fields},
      count_{first_ == nullptr ? 0 : collection->nbFields} {}

int32_t Fields::integer(char const* name, int32_t least) const {
  int32_t value = 0;
  read(name, least, &value, 1);
  return value;
}

float Fields::non_negative(char const* name) const {
  auto const value = static_cast<float>(number_at(name, find(name, 1)));
  if (!std::isfinite(value) || value < 0.0F) {
    refuse(name, "is " + std::to_string(value) + ", expected a finite number of at least 0");
  }
  return value;
}

void Fields::read(char const* name, int32_t least, int32_t* values, std::size_t count) const {
  PluginField const& field = find(name, count);
  for (std::size_t place = 0; place < count; ++place) {
    int64_t const value = integer_at(name, field, place);
    if (value < least || value > std::numeric_limits<int32_t>::max()) {
      refuse(name, "holds " + std::to_string(value) + ", expected at least " +
                       std::to_string(least) + " and at most 2147483647");
    }
    values[place] = static_cast<int32_t>(value);
  }
}

PluginField const& Fields::find(char const* name, std::size_t count) const {
  for (int32_t place = 0; place < count_; ++place) {
    PluginField const& field = first_[place];
    if (field.name == nullptr || std::strcmp(field.name, name) != 0) {
      continue;
    }
    if (field.data == nullptr || field.length != static_cast<int32_t>(count)) {
      refuse(name, "holds " + std::to_string(field.data == nullptr ? 0 : field.length) +
                       " numbers, expected " + std::to_string(count));
    }
    return field;
  }
  refuse(name, "is missing");
}

PluginField field_of(char const* name, int32_t const* values, std::size_t count) {
  return {name, values, PluginFieldType::kINT32, static_cast<int32_t>(count)};
}

PluginField field_of(char const* name, float const* value) {
  return {name, value, PluginFieldType::kFLOAT32, 1};
}

}  // namespace nd::plugin
