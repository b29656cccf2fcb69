#include "plugin_log.h"

#include <cxxabi.h>

#include <atomic>
#include <cstdio>
#include <typeinfo>

namespace nd::plugin {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> known_finder{nullptr};

// TensorRT 11 put other functions before ILoggerFinder::findLogger, so that a library built with
// the headers of 10 would call one of those in its place. Both versions name the class differently,
// and the object tells which of them it implements.
bool is_laid_out_as_here(nvinfer1::ILoggerFinder const& finder) {
  // typeid(finder) would throw for a host built without type information; its slot is null.
  void const* const* const functions = *reinterpret_cast<void const* const* const*>(&finder);
  auto const* type = static_cast<std::type_info const*>(functions[-1]);
  while (type != nullptr) {
    if (*type == typeid(nvinfer1::ILoggerFinder)) {
      return true;
    }
    auto const* const derived = dynamic_cast<abi::__si_class_type_info const*>(type);
    type = derived == nullptr ? nullptr : derived->__base_type;
  }
  return false;
}

}  // namespace

void use_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept {
  known_finder = finder != nullptr && is_laid_out_as_here(*finder) ? finder : nullptr;
}

void log_error(char const* source, char const* message) noexcept {
  try {
    std::string const line = std::string{"nd_deploy: "} + source + ": " + message;
    nvinfer1::ILoggerFinder* const finder = known_finder;
    nvinfer1::ILogger* const logger = finder == nullptr ? nullptr : finder->findLogger();
    if (logger != nullptr) {
      logger->log(nvinfer1::ILogger::Severity::kERROR, line.c_str());
      return;
    }
  } catch (...) {
    // No memory for the line, or a finder that throws: stderr needs neither.
  }
  std::fprintf(stderr, "nd_deploy: %s: %s\n", source, message);
}

}  // namespace nd::plugin
