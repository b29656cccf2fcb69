// The weights of a convolution of patches whitened by the statistics of the batch itself:
// (x, weight, bias) -> (folded_weight, folded_bias), for a native convolution that follows.
#pragma once

#include <array>

#include "launchers.h"
#include "plugin.h"

namespace nd::plugin {

class FastDeconvDynamicPlugin final : public Plugin {
 public:
  // Throws std::invalid_argument, naming the field that is missing or senseless.
  FastDeconvDynamicPlugin(char const* op, Fields const& fields);

 protected:
  std::unique_ptr<Plugin> copy() const override;
  int32_t shape_source(int32_t output) const override;
  void check_shapes(std::vector<nvinfer1::Dims> const& inputs) const override;
  std::size_t workspace_bytes(std::vector<nvinfer1::Dims> const& inputs,
                              nvinfer1::DataType type) const override;
  int launch(Call const& call) const override;
  std::vector<nvinfer1::PluginField> fields() const override;

 private:
  enum Input : int32_t { x, weight, bias };
  enum Output : int32_t { folded_weight, folded_bias };

  NdFastDeconvShape launcher_shape(nvinfer1::Dims const& maps, nvinfer1::Dims const& weights) const;

  std::array<int32_t, 2> kernel_;
  std::array<int32_t, 4> pads_;     // as ONNX has them: both beginnings, then both ends
  std::array<int32_t, 2> dilations_;
  int32_t group_;
  int32_t block_;
  int32_t n_iter_;
  std::array<int32_t, 2> sampling_strides_;
  float eps_;
};

}  // namespace nd::plugin
