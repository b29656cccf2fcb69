#include "channel_deconv_dynamic_plugin.h"

#include "launchers.h"
#include "shapes.h"

namespace nd::plugin {
namespace {

// x as (batch, channels, height, width), which a matrix is with one position.
struct Maps {
  explicit Maps(nvinfer1::Dims const& shape)
      : batch{shape.d[0]},
        channels{shape.d[1]},
        height{shape.nbDims == 4 ? shape.d[2] : 1},
        width{shape.nbDims == 4 ? shape.d[3] : 1} {}

  int64_t batch, channels, height, width;
};

std::size_t bytes_for(Maps const& maps, int64_t block, int type) {
  return nd_channel_deconv_dynamic_workspace(maps.batch, maps.channels, maps.height, maps.width,
                                             block, type);
}

}  // namespace

ChannelDeconvDynamicPlugin::ChannelDeconvDynamicPlugin(char const* op, Fields const& fields)
    : Plugin{op, 1, 1},
      block_{fields.integer("block", 1)},
      n_iter_{fields.integer("n_iter", 0)},
      sampling_stride_{fields.integer("sampling_stride", 1)},
      eps_{fields.non_negative("eps")} {}

std::unique_ptr<Plugin> ChannelDeconvDynamicPlugin::copy() const {
  return std::make_unique<ChannelDeconvDynamicPlugin>(*this);
}

int32_t ChannelDeconvDynamicPlugin::shape_source(int32_t) const { return 0; }

void ChannelDeconvDynamicPlugin::check_shapes(std::vector<nvinfer1::Dims> const& inputs) const {
  if (inputs[0].nbDims != 2 && inputs[0].nbDims != 4) {
    refuse_shape("x", inputs[0], "(batch, channels) or (batch, channels, height, width)");
  }
}

std::size_t ChannelDeconvDynamicPlugin::workspace_bytes(std::vector<nvinfer1::Dims> const& inputs,
                                                        nvinfer1::DataType type) const {
  std::size_t const bytes = bytes_for(Maps{inputs[0]}, block_, launcher_type(type));
  if (bytes == 0 && volume_from(inputs[0], 0) != 0) {
    refuse_size(inputs[0]);
  }
  return bytes;
}

int ChannelDeconvDynamicPlugin::launch(Call const& call) const {
  Maps const maps{call.input_descs[0].dims};
  int const type = launcher_type(call.input_descs[0].type);
  return nd_channel_deconv_dynamic(call.inputs[0], call.outputs[0], type, maps.batch, maps.channels,
                                   maps.height, maps.width, block_, eps_, n_iter_, sampling_stride_,
                                   call.workspace, bytes_for(maps, block_, type), call.stream);
}

std::vector<nvinfer1::PluginField> ChannelDeconvDynamicPlugin::fields() const {
  return {field_of("block", &block_), field_of("n_iter", &n_iter_),
          field_of("sampling_stride", &sampling_stride_), field_of("eps", &eps_)};
}

}  // namespace nd::plugin
