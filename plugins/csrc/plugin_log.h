// Messages of the plugins, on TensorRT's own logger where there is one.
#pragma once

#include <NvInferRuntime.h>

#include <exception>
#include <string>
#include <type_traits>
#include <utility>

namespace nd::plugin {

// What TensorRT gave to setLoggerFinder; null takes it back.
void use_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// Logs "nd_deploy: <source>: <message>" as an error; goes to stderr where TensorRT gave no logger.
void log_error(char const* source, char const* message) noexcept;

// Runs `body` and gives its result, or logs what it threw and gives `failure`: TensorRT's
// interfaces are noexcept, so that an exception that left one would end the process.
template <typename Result, typename Body>
Result guarded(char const* source, Result failure, Body&& body) noexcept {
  try {
    return std::forward<Body>(body)();
  } catch (std::exception const& error) {
    log_error(source, error.what());
  } catch (...) {
    log_error(source, "an unknown exception");
  }
  return failure;
}

}  // namespace nd::plugin
