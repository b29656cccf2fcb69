// The creators of the ND plugins.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>

namespace nd::plugin {

// All creators, which live as long as the library.
nvinfer1::IPluginCreatorInterface* const* all_creators(int32_t& count) noexcept;

}  // namespace nd::plugin
