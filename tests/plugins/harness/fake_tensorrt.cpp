// Stands in for libnvinfer where a library registers itself: a registry that notes what it is
// given. It says that it is of the version in the environment's FAKE_MAJOR.
#include <NvInferRuntime.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

using namespace nvinfer1;

namespace {

std::string noted;

// Without `override`, since each version lacks some of these functions.
class Registry final : public IPluginRegistry {
 public:
#if NV_TENSORRT_MAJOR < 11
  bool registerCreator(IPluginCreator&, AsciiChar const*) noexcept { return false; }
  IPluginCreator* const* getPluginCreatorList(int32_t*) const noexcept { return nullptr; }
  IPluginCreator* getPluginCreator(AsciiChar const*, AsciiChar const*, AsciiChar const*) noexcept {
    return nullptr;
  }
  bool deregisterCreator(IPluginCreator const&) noexcept { return false; }
#endif
  void setErrorRecorder(IErrorRecorder*) noexcept {}
  IErrorRecorder* getErrorRecorder() const noexcept { return nullptr; }
  bool isParentSearchEnabled() const { return false; }
  void setParentSearchEnabled(bool) {}
  PluginLibraryHandle loadLibrary(AsciiChar const*) noexcept { return nullptr; }
  void deregisterLibrary(PluginLibraryHandle) noexcept {}
  bool registerCreator(IPluginCreatorInterface& creator, AsciiChar const* space) noexcept {
    auto& one = static_cast<IPluginCreatorV3One&>(creator);
    noted += std::string{space} + "::" + one.getPluginName() + " " + one.getPluginVersion() + "\n";
    return true;
  }
  IPluginCreatorInterface* const* getAllCreators(int32_t*) const noexcept { return nullptr; }
  IPluginCreatorInterface* getCreator(AsciiChar const*, AsciiChar const*,
                                      AsciiChar const*) noexcept {
    return nullptr;
  }
  bool deregisterCreator(IPluginCreatorInterface const&) noexcept { return false; }
  IPluginResource* acquirePluginResource(AsciiChar const*, IPluginResource*) noexcept {
    return nullptr;
  }
  int32_t releasePluginResource(AsciiChar const*) noexcept { return 0; }
  IPluginCreatorInterface* const* getAllCreatorsRecursive(int32_t*) noexcept { return nullptr; }
};

}  // namespace

EXPORT int32_t getInferLibMajorVersion() noexcept { return std::atoi(std::getenv("FAKE_MAJOR")); }
EXPORT IPluginRegistry* getPluginRegistry() noexcept {
  static Registry registry;
  return &registry;
}
EXPORT char const* fake_noted() { return noted.c_str(); }
