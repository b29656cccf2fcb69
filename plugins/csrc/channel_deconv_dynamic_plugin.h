// Channel whitening by the statistics of the batch itself: x -> y.
#pragma once

#include "plugin.h"

namespace nd::plugin {

class ChannelDeconvDynamicPlugin final : public Plugin {
 public:
  // Throws std::invalid_argument, naming the field that is missing or senseless.
  ChannelDeconvDynamicPlugin(char const* op, Fields const& fields);

 protected:
  std::unique_ptr<Plugin> copy() const override;
  int32_t shape_source(int32_t output) const override;
  void check_shapes(std::vector<nvinfer1::Dims> const& inputs) const override;
  std::size_t workspace_bytes(std::vector<nvinfer1::Dims> const& inputs,
                              nvinfer1::DataType type) const override;
  int launch(Call const& call) const override;
  std::vector<nvinfer1::PluginField> fields() const override;

 private:
  int32_t block_;
  int32_t n_iter_;
  int32_t sampling_stride_;
  float eps_;
};

}  // namespace nd::plugin
