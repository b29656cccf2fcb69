// Registers the creators when the library is loaded, for hosts that only dlopen a plugin library,
// as ONNX Runtime's TensorRT provider does.
//
// IPluginRegistry lost functions in TensorRT 11, so that calling the registry of another major
// version than the headers' would call the wrong one: the version is asked first. And TensorRT is
// looked up and not linked, so that loading the library never loads a second TensorRT.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <string>

#include "creators.h"
#include "plugin.h"

namespace nd::plugin {
namespace {

using GetMajorVersion = int32_t (*)() noexcept;
using GetRegistry = nvinfer1::IPluginRegistry* (*)() noexcept;

void complain(std::string const& problem) {
  std::fprintf(stderr, "nd_deploy: the ND plugins were not registered: %s\n", problem.c_str());
}

// The host's TensorRT, which most hosts load for themselves alone; its symbols are then found
// through its own handle and not among the global ones.
void* loaded_tensorrt() {
  std::string const name = "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR);
  void* const handle = dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  return handle == nullptr ? RTLD_DEFAULT : handle;
}

nvinfer1::IPluginRegistry* matching_registry() {
  std::string const wanted = "TensorRT " + std::to_string(NV_TENSORRT_MAJOR);
  void* const tensorrt = loaded_tensorrt();
  auto const major = reinterpret_cast<GetMajorVersion>(dlsym(tensorrt, "getInferLibMajorVersion"));
  auto const registry = reinterpret_cast<GetRegistry>(dlsym(tensorrt, "getPluginRegistry"));
  if (major == nullptr || registry == nullptr) {
    complain(wanted + ", which this library is built for, is not loaded in this process");
    return nullptr;
  }
  if (major() != NV_TENSORRT_MAJOR) {
    complain("this process has TensorRT " + std::to_string(major()) +
             " and the library is built for " + wanted);
    return nullptr;
  }
  return registry();
}

bool register_all() {
  nvinfer1::IPluginRegistry* const registry = matching_registry();
  if (registry == nullptr) {
    return false;
  }
  int32_t count = 0;
  nvinfer1::IPluginCreatorInterface* const* const creators = all_creators(count);
  bool registered = true;
  for (int32_t place = 0; place < count; ++place) {
    registered = registry->registerCreator(*creators[place], plugin_namespace) && registered;
  }
  if (!registered) {
    complain("TensorRT's registry refused one; another library may hold plugins of these names");
  }
  return registered;
}

[[maybe_unused]] bool const registered_when_loaded = register_all();

}  // namespace
}  // namespace nd::plugin
