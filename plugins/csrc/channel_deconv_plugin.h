// Frozen channel whitening: (x, mean, deconv[, leftover_mean, leftover_scale]) -> y.
#pragma once

#include "plugin.h"

namespace nd::plugin {

class ChannelDeconvPlugin final : public Plugin {
 public:
  // `with_leftover`: channels beyond the last whole block are standardised, by two more inputs.
  // `with_relu`: y is max(., 0).
  ChannelDeconvPlugin(char const* op, bool with_leftover, bool with_relu);

 protected:
  std::unique_ptr<Plugin> copy() const override;
  int32_t shape_source(int32_t output) const override;
  void check_shapes(std::vector<nvinfer1::Dims> const& inputs) const override;
  int launch(Call const& call) const override;

 private:
  enum Input : int32_t { x, mean, deconv, leftover_mean, leftover_scale };

  bool with_leftover_;
  bool with_relu_;
};

}  // namespace nd::plugin
