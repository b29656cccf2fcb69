#include "fast_deconv_dynamic_plugin.h"

#include "launchers.h"
#include "shapes.h"

namespace nd::plugin {
namespace {

int64_t times(int64_t size, int64_t factor) {
  return size == unknown_size ? unknown_size : size * factor;
}

}  // namespace

FastDeconvDynamicPlugin::FastDeconvDynamicPlugin(char const* op, Fields const& fields)
    : Plugin{op, bias + 1, folded_bias + 1},
      kernel_{fields.integers<2>("kernel_shape", 1)},
      pads_{fields.integers<4>("pads", 0)},
      dilations_{fields.integers<2>("dilations", 1)},
      group_{fields.integer("group", 1)},
      block_{fields.integer("block", 1)},
      n_iter_{fields.integer("n_iter", 0)},
      sampling_strides_{fields.integers<2>("sampling_strides", 1)},
      eps_{fields.non_negative("eps")} {}

std::unique_ptr<Plugin> FastDeconvDynamicPlugin::copy() const {
  return std::make_unique<FastDeconvDynamicPlugin>(*this);
}

int32_t FastDeconvDynamicPlugin::shape_source(int32_t output) const {
  return output == folded_weight ? weight : bias;
}

void FastDeconvDynamicPlugin::check_shapes(std::vector<nvinfer1::Dims> const& inputs) const {
  require_shape("weight", inputs[weight], {unknown_size, unknown_size, kernel_[0], kernel_[1]});
  int64_t const out_channels = inputs[weight].d[0];
  int64_t const in_channels = times(inputs[weight].d[1], group_);
  require_shape("bias", inputs[bias], {out_channels});
  require_shape("x", inputs[x], {unknown_size, in_channels, unknown_size, unknown_size});
  if (!may_divide(group_, out_channels)) {
    refuse_shape("weight", inputs[weight], std::to_string(group_) + " groups of channels");
  }
  if (group_ == 1 && !may_divide(block_, in_channels)) {
    refuse_shape("x", inputs[x], "channels in blocks of " + std::to_string(block_));
  }
}

std::size_t FastDeconvDynamicPlugin::workspace_bytes(std::vector<nvinfer1::Dims> const& inputs,
                                                     nvinfer1::DataType type) const {
  NdFastDeconvShape const shape = launcher_shape(inputs[x], inputs[weight]);
  std::size_t const bytes = nd_fast_deconv_dynamic_workspace(&shape, launcher_type(type));
  if (bytes == 0) {
    refuse_size(inputs[x]);
  }
  return bytes;
}

int FastDeconvDynamicPlugin::launch(Call const& call) const {
  NdFastDeconvShape const shape =
      launcher_shape(call.input_descs[x].dims, call.input_descs[weight].dims);
  int const type = launcher_type(call.input_descs[x].type);
  return nd_fast_deconv_dynamic(call.inputs[x], static_cast<float const*>(call.inputs[weight]),
                                static_cast<float const*>(call.inputs[bias]),
                                call.outputs[folded_weight], call.outputs[folded_bias], type,
                                &shape, call.workspace,
                                nd_fast_deconv_dynamic_workspace(&shape, type), call.stream);
}

std::vector<nvinfer1::PluginField> FastDeconvDynamicPlugin::fields() const {
  return {field_of("kernel_shape", kernel_),
          field_of("pads", pads_),
          field_of("dilations", dilations_),
          field_of("group", &group_),
          field_of("block", &block_),
          field_of("n_iter", &n_iter_),
          field_of("sampling_strides", sampling_strides_),
          field_of("eps", &eps_)};
}

NdFastDeconvShape FastDeconvDynamicPlugin::launcher_shape(nvinfer1::Dims const& maps,
                                                          nvinfer1::Dims const& weights) const {
  NdFastDeconvShape shape{};
  shape.batch = maps.d[0];
  shape.in_channels = maps.d[1];
  shape.out_channels = weights.d[0];
  shape.groups = group_;
  shape.block = block_;
  shape.height = maps.d[2];
  shape.width = maps.d[3];
  for (int axis = 0; axis < 2; ++axis) {
    shape.kernel[axis] = kernel_[axis];
    shape.padding_begin[axis] = pads_[axis];
    shape.padding_end[axis] = pads_[axis + 2];
    shape.dilation[axis] = dilations_[axis];
    shape.sampling[axis] = sampling_strides_[axis];
  }
  shape.n_iter = n_iter_;
  shape.eps = eps_;
  return shape;
}

}  // namespace nd::plugin
