// The two functions that TensorRT's plugin registry looks for in a library.
#include "creators.h"
#include "plugin_log.h"

extern "C" {

__attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    int32_t& count) {
  return nd::plugin::all_creators(count);
}

__attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  nd::plugin::use_logger_finder(finder);
}

}  // extern "C"
