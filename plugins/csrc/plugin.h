// What the ND plugins have in common: TensorRT's four interfaces on top of a few virtual functions.
#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fields.h"

namespace nd::plugin {

inline constexpr char const* plugin_version = "1";
inline constexpr char const* plugin_namespace = "nd_deploy";

// The arguments of one call, of which TensorRT owns everything.
struct Call {
  nvinfer1::PluginTensorDesc const* input_descs;
  void const* const* inputs;
  void* const* outputs;
  void* workspace;
  cudaStream_t stream;
};

// A plugin whose input 0 is float32, float16 or bfloat16, whose outputs have the type of input 0,
// and whose other inputs are float32; every tensor is linear.
//
// The functions that a subclass provides throw std::exception to refuse, which is logged.
class Plugin : public nvinfer1::IPluginV3,
               public nvinfer1::IPluginV3OneCore,
               public nvinfer1::IPluginV3OneBuild,
               public nvinfer1::IPluginV3OneRuntime {
 public:
  // `op` is the plugin's name and outlives it.
  Plugin(char const* op, int32_t inputs, int32_t outputs)
      : op_{op}, inputs_{inputs}, outputs_{outputs} {}

  nvinfer1::IPluginCapability* getCapabilityInterface(
      nvinfer1::PluginCapabilityType type) noexcept final;
  nvinfer1::IPluginV3* clone() noexcept final;

  char const* getPluginName() const noexcept final { return op_; }
  char const* getPluginVersion() const noexcept final { return plugin_version; }
  char const* getPluginNamespace() const noexcept final { return plugin_namespace; }

  int32_t getNbOutputs() const noexcept final { return outputs_; }
  int32_t getOutputDataTypes(nvinfer1::DataType* output_types, int32_t outputs,
                             nvinfer1::DataType const* input_types,
                             int32_t inputs) const noexcept final;
  int32_t getOutputShapes(nvinfer1::DimsExprs const* inputs, int32_t input_count,
                          nvinfer1::DimsExprs const* shape_inputs, int32_t shape_input_count,
                          nvinfer1::DimsExprs* outputs, int32_t output_count,
                          nvinfer1::IExprBuilder& builder) noexcept final;
  bool supportsFormatCombination(int32_t place, nvinfer1::DynamicPluginTensorDesc const* descs,
                                 int32_t inputs, int32_t outputs) noexcept final;
  int32_t configurePlugin(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t input_count,
                          nvinfer1::DynamicPluginTensorDesc const* outputs,
                          int32_t output_count) noexcept final;
  std::size_t getWorkspaceSize(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t input_count,
                               nvinfer1::DynamicPluginTensorDesc const* outputs,
                               int32_t output_count) const noexcept final;

  int32_t onShapeChange(nvinfer1::PluginTensorDesc const* inputs, int32_t input_count,
                        nvinfer1::PluginTensorDesc const* outputs,
                        int32_t output_count) noexcept final;
  int32_t enqueue(nvinfer1::PluginTensorDesc const* input_descs,
                  nvinfer1::PluginTensorDesc const* output_descs, void const* const* inputs,
                  void* const* outputs, void* workspace, cudaStream_t stream) noexcept final;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept final;
  nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept final;

 protected:
  virtual std::unique_ptr<Plugin> copy() const = 0;

  // Which input each output has the shape of.
  virtual int32_t shape_source(int32_t output) const = 0;

  // Throws if the shapes of the inputs do not fit each other or the fields. Sizes of -1 are not
  // known yet and fit everything.
  virtual void check_shapes(std::vector<nvinfer1::Dims> const& inputs) const = 0;

  // The bytes of workspace for inputs of these shapes, all of them known, and x of this type.
  // Throws if the kernels cannot compute on them. Must not shrink as a shape grows: an engine
  // allots what the largest of its profile asks for.
  virtual std::size_t workspace_bytes(std::vector<nvinfer1::Dims> const& inputs,
                                      nvinfer1::DataType type) const;

  // Starts the kernels; returns the code of the launcher.
  virtual int launch(Call const& call) const = 0;

  // What a creator needs to make this plugin again. Points into this object.
  virtual std::vector<nvinfer1::PluginField> fields() const { return {}; }

 private:
  void require_counts(int32_t inputs, int32_t outputs) const;
  void require_supported(nvinfer1::PluginTensorDesc const* inputs,
                         nvinfer1::PluginTensorDesc const* outputs) const;

  char const* op_;
  int32_t inputs_;
  int32_t outputs_;
  // Filled anew at each request: those of a copy point into the original.
  std::vector<nvinfer1::PluginField> serialized_;
  nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace nd::plugin
