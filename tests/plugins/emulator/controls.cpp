// What a test may set: the order of threads, and which GPU the emulator says it is.
#include "scheduler.h"

extern "C" __attribute__((visibility("default"))) void nd_emulator_set_order(int order,
                                                                              unsigned seed) {
  nd_emulator::settings.order = static_cast<nd_emulator::Order>(order);
  nd_emulator::settings.seed = seed;
}

extern "C" __attribute__((visibility("default"))) void nd_emulator_set_compute_capability(
    int capability) {
  nd_emulator::settings.compute_capability = capability;
}
