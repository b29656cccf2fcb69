// Calls a plugin library as TensorRT would, as plain C functions and without TensorRT.
//
// Structures cross this border as NvInferRuntime.h lays them out; `host_sizes` lets the caller make
// sure that it has them right.
#include <NvInferRuntime.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

using namespace nvinfer1;

namespace {

// A size known only by its identity, as all are at build time. The plugins are not to ask for more.
class Size final : public IDimensionExpr {
 public:
  Size() { mImpl = nullptr; }
};

class Builder final : public IExprBuilder {
 public:
  Builder() { mImpl = nullptr; }
};

std::string logged;

class Logger final : public ILogger {
  void log(Severity severity, AsciiChar const* message) noexcept override {
    logged += (severity == Severity::kERROR ? "error: " : "other: ");
    logged += message;
    logged += '\n';
  }
};

class Finder final : public ILoggerFinder {
  ILogger* findLogger() override {
    static Logger logger;
    return &logger;
  }
};

void* fail() {
  logged += "a function of a foreign finder was called\n";
  return nullptr;
}

// What a finder of another major version is to these headers: a class of another name, with other
// functions where findLogger is expected.
class ForeignFinder {
 public:
  virtual void* first() { return fail(); }
  virtual void* second() { return fail(); }
  virtual void* third() { return fail(); }
  virtual void* fourth() { return fail(); }
  virtual void* fifth() { return fail(); }
};

// The finder of a host that was compiled without type information.
struct UntypedFinder {
  void* const* functions;
};

template <typename Interface>
Interface* capability(IPluginV3* plugin, PluginCapabilityType type) {
  return static_cast<Interface*>(plugin->getCapabilityInterface(type));
}
IPluginV3OneCore* core(IPluginV3* plugin) {
  return capability<IPluginV3OneCore>(plugin, PluginCapabilityType::kCORE);
}
IPluginV3OneBuild* build(IPluginV3* plugin) {
  return capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
}
IPluginV3OneRuntime* runtime(IPluginV3* plugin) {
  return capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
}

}  // namespace

EXPORT void host_sizes(std::int64_t* bytes) {
  bytes[0] = sizeof(PluginField);
  bytes[1] = sizeof(PluginFieldCollection);
  bytes[2] = sizeof(PluginTensorDesc);
  bytes[3] = sizeof(DynamicPluginTensorDesc);
}

// --- the logger ---

EXPORT void host_set_finder(void (*set_logger_finder)(ILoggerFinder*), int kind) {
  static Finder finder;
  static ForeignFinder foreign;
  static void* const table[] = {nullptr, nullptr, reinterpret_cast<void*>(fail)};
  static UntypedFinder untyped{table + 2};
  ILoggerFinder* const finders[] = {nullptr, &finder, reinterpret_cast<ILoggerFinder*>(&foreign),
                                    reinterpret_cast<ILoggerFinder*>(&untyped)};
  set_logger_finder(finders[kind]);
}
EXPORT char const* host_log_text() { return logged.c_str(); }
EXPORT void host_clear_log() { logged.clear(); }

// --- creators ---

EXPORT IPluginCreatorV3One* host_creator(IPluginCreatorInterface* const* (*get_creators)(int32_t&),
                                         int place) {
  int32_t count = 0;
  IPluginCreatorInterface* const* const creators = get_creators(count);
  if (place >= count) {
    return nullptr;
  }
  std::string const kind = creators[place]->getInterfaceInfo().kind;
  return kind == "PLUGIN CREATOR_V3ONE" ? static_cast<IPluginCreatorV3One*>(creators[place])
                                        : nullptr;
}
EXPORT void host_creator_identity(IPluginCreatorV3One* creator, char const** texts) {
  texts[0] = creator->getPluginName();
  texts[1] = creator->getPluginVersion();
  texts[2] = creator->getPluginNamespace();
}
EXPORT PluginFieldCollection const* host_creator_fields(IPluginCreatorV3One* creator) {
  return creator->getFieldNames();
}
EXPORT IPluginV3* host_create(IPluginCreatorV3One* creator, char const* node,
                              PluginFieldCollection const* fields, int phase) {
  return creator->createPlugin(node, fields, static_cast<TensorRTPhase>(phase));
}

// --- a plugin ---

EXPORT void host_destroy(IPluginV3* plugin) { delete plugin; }
EXPORT IPluginV3* host_clone(IPluginV3* plugin) { return plugin->clone(); }
EXPORT IPluginV3* host_attach(IPluginV3* plugin) {
  return runtime(plugin)->attachToContext(nullptr);
}
EXPORT void host_plugin_identity(IPluginV3* plugin, char const** texts) {
  texts[0] = core(plugin)->getPluginName();
  texts[1] = core(plugin)->getPluginVersion();
  texts[2] = core(plugin)->getPluginNamespace();
}
EXPORT int host_has_capability(IPluginV3* plugin, int type) {
  return plugin->getCapabilityInterface(static_cast<PluginCapabilityType>(type)) != nullptr;
}
EXPORT PluginFieldCollection const* host_fields_to_serialize(IPluginV3* plugin) {
  return runtime(plugin)->getFieldsToSerialize();
}

// --- at build time ---

EXPORT int host_output_count(IPluginV3* plugin) { return build(plugin)->getNbOutputs(); }
EXPORT int host_output_types(IPluginV3* plugin, int32_t const* input_types, int inputs,
                             int32_t* output_types, int outputs) {
  std::vector<DataType> in(inputs), out(outputs);
  for (int input = 0; input < inputs; ++input) {
    in[input] = static_cast<DataType>(input_types[input]);
  }
  int const code = build(plugin)->getOutputDataTypes(out.data(), outputs, in.data(), inputs);
  for (int output = 0; output < outputs; ++output) {
    output_types[output] = static_cast<int32_t>(out[output]);
  }
  return code;
}
// Writes eight numbers an output: of each axis, which input's size it is times eight plus the axis
// of that input; -1 where it is none.
EXPORT int host_output_shapes(IPluginV3* plugin, int32_t const* ranks, int inputs, int outputs,
                              int32_t* output_ranks, int32_t* sources) {
  std::vector<std::array<Size, 8>> sizes(inputs);
  std::vector<DimsExprs> in(inputs), out(outputs);
  for (int input = 0; input < inputs; ++input) {
    in[input].nbDims = ranks[input];
    for (int axis = 0; axis < ranks[input]; ++axis) {
      in[input].d[axis] = &sizes[input][axis];
    }
  }
  Builder builder;
  int const code =
      build(plugin)->getOutputShapes(in.data(), inputs, nullptr, 0, out.data(), outputs, builder);
  for (int output = 0; output < outputs; ++output) {
    output_ranks[output] = out[output].nbDims;
    for (int axis = 0; axis < 8; ++axis) {
      int32_t source = -1;
      for (int place = 0; place < inputs * 8; ++place) {
        if (axis < out[output].nbDims && out[output].d[axis] == &sizes[place / 8][place % 8]) {
          source = place;
        }
      }
      sources[output * 8 + axis] = source;
    }
  }
  return code;
}
EXPORT int host_supports(IPluginV3* plugin, int place, DynamicPluginTensorDesc const* tensors,
                         int inputs, int outputs) {
  return build(plugin)->supportsFormatCombination(place, tensors, inputs, outputs);
}
EXPORT int host_configure(IPluginV3* plugin, DynamicPluginTensorDesc const* inputs, int input_count,
                          DynamicPluginTensorDesc const* outputs, int output_count) {
  return build(plugin)->configurePlugin(inputs, input_count, outputs, output_count);
}
EXPORT std::size_t host_workspace(IPluginV3* plugin, DynamicPluginTensorDesc const* inputs,
                                  int input_count, DynamicPluginTensorDesc const* outputs,
                                  int output_count) {
  return build(plugin)->getWorkspaceSize(inputs, input_count, outputs, output_count);
}

// --- at run time ---

EXPORT int host_on_shape_change(IPluginV3* plugin, PluginTensorDesc const* inputs, int input_count,
                                PluginTensorDesc const* outputs, int output_count) {
  return runtime(plugin)->onShapeChange(inputs, input_count, outputs, output_count);
}
EXPORT int host_enqueue(IPluginV3* plugin, PluginTensorDesc const* input_descs,
                        PluginTensorDesc const* output_descs, void const* const* inputs,
                        void* const* outputs, void* workspace, void* stream) {
  return runtime(plugin)->enqueue(input_descs, output_descs, inputs, outputs, workspace,
                                  static_cast<cudaStream_t>(stream));
}
