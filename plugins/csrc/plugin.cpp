#include "plugin.h"

#include <algorithm>
#include <stdexcept>

#include "launchers.h"
#include "plugin_log.h"
#include "shapes.h"

namespace nd::plugin {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginTensorDesc;

constexpr int32_t success = 0;
constexpr int32_t failure = -1;

bool is_supported(PluginTensorDesc const& tensor, PluginTensorDesc const& x, bool as_x) {
  bool const fits =
      as_x ? is_computable(x.type) && tensor.type == x.type : tensor.type == DataType::kFLOAT;
  return fits && tensor.format == nvinfer1::TensorFormat::kLINEAR;
}

bool is_same(Dims const& one, Dims const& other) {
  return one.nbDims == other.nbDims && std::equal(one.d, one.d + one.nbDims, other.d);
}

template <typename Desc, typename Shape>
std::vector<Dims> shapes_of(Desc const* tensors, int32_t count, Shape&& shape) {
  std::vector<Dims> shapes(count);
  std::transform(tensors, tensors + count, shapes.begin(), shape);
  return shapes;
}

std::vector<Dims> largest_of(DynamicPluginTensorDesc const* tensors, int32_t count) {
  return shapes_of(tensors, count, [](auto& tensor) { return tensor.max; });
}

}  // namespace

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(
    nvinfer1::PluginCapabilityType type) noexcept {
  switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD:
      return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

// TensorRT owns what it is given here and deletes it.
nvinfer1::IPluginV3* Plugin::clone() noexcept {
  return guarded<nvinfer1::IPluginV3*>(op_, nullptr, [&] { return copy().release(); });
}

// The plugins keep nothing of a context, so that a copy serves it.
nvinfer1::IPluginV3* Plugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
  return clone();
}

int32_t Plugin::getOutputDataTypes(DataType* output_types, int32_t outputs,
                                   DataType const* input_types, int32_t inputs) const noexcept {
  return guarded(op_, failure, [&] {
    require_counts(inputs, outputs);
    std::fill_n(output_types, outputs, input_types[0]);
    return success;
  });
}

int32_t Plugin::getOutputShapes(nvinfer1::DimsExprs const* inputs, int32_t input_count,
                                nvinfer1::DimsExprs const*, int32_t, nvinfer1::DimsExprs* outputs,
                                int32_t output_count, nvinfer1::IExprBuilder&) noexcept {
  return guarded(op_, failure, [&] {
    require_counts(input_count, output_count);
    for (int32_t output = 0; output < output_count; ++output) {
      outputs[output] = inputs[shape_source(output)];
    }
    return success;
  });
}

bool Plugin::supportsFormatCombination(int32_t place, DynamicPluginTensorDesc const* descs,
                                       int32_t inputs, int32_t outputs) noexcept {
  return guarded(op_, false, [&] {
    require_counts(inputs, outputs);
    bool const as_x = place == 0 || place >= inputs;
    return is_supported(descs[place].desc, descs[0].desc, as_x);
  });
}

// Sizes that are known at build time are checked then, which is where a user looks for mistakes.
int32_t Plugin::configurePlugin(DynamicPluginTensorDesc const* inputs, int32_t input_count,
                                DynamicPluginTensorDesc const*, int32_t output_count) noexcept {
  return guarded(op_, failure, [&] {
    require_counts(input_count, output_count);
    check_shapes(shapes_of(inputs, input_count, [](auto& input) { return input.desc.dims; }));
    std::vector<Dims> const largest = largest_of(inputs, input_count);
    check_shapes(largest);
    // getWorkspaceSize has no way to refuse.
    workspace_bytes(largest, inputs[0].desc.type);
    return success;
  });
}

std::size_t Plugin::getWorkspaceSize(DynamicPluginTensorDesc const* inputs, int32_t input_count,
                                     DynamicPluginTensorDesc const*,
                                     int32_t output_count) const noexcept {
  return guarded(op_, std::size_t{0}, [&] {
    require_counts(input_count, output_count);
    return workspace_bytes(largest_of(inputs, input_count), inputs[0].desc.type);
  });
}

int32_t Plugin::onShapeChange(PluginTensorDesc const* inputs, int32_t input_count,
                              PluginTensorDesc const* outputs, int32_t output_count) noexcept {
  return guarded(op_, failure, [&] {
    require_counts(input_count, output_count);
    require_supported(inputs, outputs);
    check_shapes(shapes_of(inputs, input_count, [](auto& input) { return input.dims; }));
    for (int32_t output = 0; output < output_count; ++output) {
      Dims const& wanted = inputs[shape_source(output)].dims;
      if (!is_same(outputs[output].dims, wanted)) {
        refuse_shape("an output", outputs[output].dims, text_of(wanted));
      }
    }
    return success;
  });
}

int32_t Plugin::enqueue(PluginTensorDesc const* input_descs, PluginTensorDesc const*,
                        void const* const* inputs, void* const* outputs, void* workspace,
                        cudaStream_t stream) noexcept {
  return guarded(op_, failure, [&] {
    int const code = launch({input_descs, inputs, outputs, workspace, stream});
    if (code != 0) {
      throw std::runtime_error(nd_error_text(code));
    }
    return success;
  });
}

nvinfer1::PluginFieldCollection const* Plugin::getFieldsToSerialize() noexcept {
  return guarded<nvinfer1::PluginFieldCollection const*>(op_, nullptr, [&] {
    serialized_ = fields();
    collection_ = {static_cast<int32_t>(serialized_.size()), serialized_.data()};
    return &collection_;
  });
}

std::size_t Plugin::workspace_bytes(std::vector<Dims> const&, DataType) const { return 0; }

void Plugin::require_counts(int32_t inputs, int32_t outputs) const {
  if (inputs != inputs_ || outputs != outputs_) {
    throw std::invalid_argument("has " + std::to_string(inputs) + " inputs and " +
                                std::to_string(outputs) + " outputs, expected " +
                                std::to_string(inputs_) + " and " + std::to_string(outputs_));
  }
}

void Plugin::require_supported(PluginTensorDesc const* inputs,
                               PluginTensorDesc const* outputs) const {
  bool supported = true;
  for (int32_t input = 0; input < inputs_; ++input) {
    supported = is_supported(inputs[input], inputs[0], input == 0) && supported;
  }
  for (int32_t output = 0; output < outputs_; ++output) {
    supported = is_supported(outputs[output], inputs[0], true) && supported;
  }
  if (!supported) {
    throw std::invalid_argument(
        "a tensor is of another type or format than those that the plugin said it supports");
  }
}

}  // namespace nd::plugin
