#include "creators.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "channel_deconv_dynamic_plugin.h"
#include "channel_deconv_plugin.h"
#include "fast_deconv_dynamic_plugin.h"
#include "fields.h"
#include "plugin_log.h"

namespace nd::plugin {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  // Makes the plugin of this name from its fields; throws std::exception to refuse.
  using Make = std::unique_ptr<Plugin> (*)(char const* op, Fields const& fields);

  // `fields` says which attributes TensorRT's ONNX parser is to pass on.
  Creator(char const* op, std::vector<PluginField> fields, Make make)
      : op_{op},
        fields_{std::move(fields)},
        collection_{static_cast<int32_t>(fields_.size()), fields_.data()},
        make_{make} {}

  nvinfer1::IPluginV3* createPlugin(char const* node, nvinfer1::PluginFieldCollection const* fields,
                                    nvinfer1::TensorRTPhase) noexcept override {
    return guarded<nvinfer1::IPluginV3*>(op_, nullptr, [&] {
      // The node's name is known here alone, and what is thrown below lacks it.
      std::string const source = std::string{op_} + " '" + (node ? node : "") + "'";
      return guarded<nvinfer1::IPluginV3*>(source.c_str(), nullptr,
                                           [&] { return make_(op_, Fields{fields}).release(); });
    });
  }

  nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override { return &collection_; }
  char const* getPluginName() const noexcept override { return op_; }
  char const* getPluginVersion() const noexcept override { return plugin_version; }
  char const* getPluginNamespace() const noexcept override { return plugin_namespace; }

 private:
  char const* op_;
  std::vector<PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_;
  Make make_;
};

template <bool WithLeftover, bool WithRelu>
std::unique_ptr<Plugin> make_frozen(char const* op, Fields const&) {
  return std::make_unique<ChannelDeconvPlugin>(op, WithLeftover, WithRelu);
}

template <typename Dynamic>
std::unique_ptr<Plugin> make_dynamic(char const* op, Fields const& fields) {
  return std::make_unique<Dynamic>(op, fields);
}

PluginField integers(char const* name, int32_t count = 1) {
  return {name, nullptr, PluginFieldType::kINT32, count};
}

PluginField number(char const* name) { return {name, nullptr, PluginFieldType::kFLOAT32, 1}; }

using CreatorList = std::array<nvinfer1::IPluginCreatorInterface*, 6>;

CreatorList const& known_creators() {
  static Creator frozen{"NDChannelDeconv", {}, make_frozen<false, false>};
  static Creator frozen_relu{"NDChannelDeconvRelu", {}, make_frozen<false, true>};
  static Creator leftover{"NDChannelDeconvLeftover", {}, make_frozen<true, false>};
  static Creator leftover_relu{"NDChannelDeconvLeftoverRelu", {}, make_frozen<true, true>};
  static Creator fast_dynamic{
      "NDFastDeconvDynamic",
      {integers("kernel_shape", 2), integers("pads", 4),
       integers("dilations", 2), integers("group"), integers("block"), integers("n_iter"),
       integers("sampling_strides", 2), number("eps")},
      make_dynamic<FastDeconvDynamicPlugin>};
  static Creator channel_dynamic{
      "NDChannelDeconvDynamic",
      {integers("block"), integers("n_iter"), integers("sampling_stride"), number("eps")},
      make_dynamic<ChannelDeconvDynamicPlugin>};
  static CreatorList const creators{&frozen,        &frozen_relu,  &leftover,
                                    &leftover_relu, &fast_dynamic, &channel_dynamic};
  return creators;
}

}  // namespace

nvinfer1::IPluginCreatorInterface* const* all_creators(int32_t& count) noexcept {
  count = 0;
  return guarded<nvinfer1::IPluginCreatorInterface* const*>("getCreators", nullptr, [&] {
    CreatorList const& creators = known_creators();
    count = static_cast<int32_t>(creators.size());
    return creators.data();
  });
}

}  // namespace nd::plugin
