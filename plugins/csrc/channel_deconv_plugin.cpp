#include "channel_deconv_plugin.h"

#include "launchers.h"
#include "shapes.h"

namespace nd::plugin {

ChannelDeconvPlugin::ChannelDeconvPlugin(char const* op, bool with_leftover, bool with_relu)
    : Plugin{op, with_leftover ? leftover_scale + 1 : deconv + 1, 1},
      with_leftover_{with_leftover},
      with_relu_{with_relu} {}

std::unique_ptr<Plugin> ChannelDeconvPlugin::copy() const {
  return std::make_unique<ChannelDeconvPlugin>(*this);
}

int32_t ChannelDeconvPlugin::shape_source(int32_t) const { return x; }

void ChannelDeconvPlugin::check_shapes(std::vector<nvinfer1::Dims> const& inputs) const {
  require_shape("mean", inputs[mean], {unknown_size});
  int64_t const block = inputs[mean].d[0];
  require_shape("deconv", inputs[deconv], {block, block});
  if (block == 0) {
    refuse_shape("mean", inputs[mean], "at least one feature");
  }
  if (inputs[x].nbDims < 2) {
    refuse_shape("x", inputs[x], "(batch, channels, ...)");
  }
  if (with_leftover_) {
    require_shape("leftover_mean", inputs[leftover_mean], {1});
    require_shape("leftover_scale", inputs[leftover_scale], {1});
  } else if (!may_divide(block, inputs[x].d[1])) {
    refuse_shape("x", inputs[x], "channels in blocks of " + std::to_string(block));
  }
}

int ChannelDeconvPlugin::launch(Call const& call) const {
  nvinfer1::Dims const& shape = call.input_descs[x].dims;
  auto const floats = [&](int32_t input) { return static_cast<float const*>(call.inputs[input]); };
  return nd_channel_deconv(call.inputs[x], floats(mean), floats(deconv),
                           with_leftover_ ? floats(leftover_mean) : nullptr,
                           with_leftover_ ? floats(leftover_scale) : nullptr, call.outputs[0],
                           launcher_type(call.input_descs[x].type), shape.d[0], shape.d[1],
                           volume_from(shape, 2), call.input_descs[mean].dims.d[0],
                           with_relu_ ? 1 : 0, call.stream);
}

}  // namespace nd::plugin
