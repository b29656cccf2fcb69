// Fibers: threads of control that run until they hand on by themselves.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace nd_emulator {

[[noreturn]] inline void fail(char const* what) {
  std::fprintf(stderr, "CUDA emulator: %s\n", what);
  std::abort();
}

// A stack of its own with an unmapped page below it, so that an overflow is a fault at once.
class Stack {
 public:
  static constexpr std::size_t kPage = 4096;
#if defined(__SANITIZE_ADDRESS__)
  static constexpr std::size_t kBytes = 512 * 1024;
#else
  static constexpr std::size_t kBytes = 128 * 1024;
#endif

  Stack() {
    void* mapped = mmap(nullptr, kPage + kBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED || mprotect(mapped, kPage, PROT_NONE) != 0) {
      fail("out of memory for a fiber's stack");
    }
    base_ = static_cast<unsigned char*>(mapped) + kPage;
  }
  Stack(Stack const&) = delete;
  Stack& operator=(Stack const&) = delete;
  ~Stack() { munmap(base_ - kPage, kPage + kBytes); }

  unsigned char* base() const { return base_; }
  unsigned char* top() const { return base_ + kBytes; }

 private:
  unsigned char* base_;
};

// AddressSanitizer has to be told which stack is in use.
struct SanitizerSwitch {
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  void const* from_base = nullptr;
  std::size_t from_bytes = 0;
  void start(void const* base, std::size_t bytes) {
    __sanitizer_start_switch_fiber(&fake_stack, base, bytes);
  }
  void finish() { __sanitizer_finish_switch_fiber(fake_stack, &from_base, &from_bytes); }
#else
  void start(void const*, std::size_t) {}
  void finish() {}
#endif
};

#if defined(__x86_64__)
// Saves the registers that a call preserves, and continues on another stack.
__attribute__((naked, noinline)) inline void switch_stack(void** /*save*/, void* /*next*/) {
  __asm__ volatile(
      "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
      "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
      "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");
}
#endif

class Fiber {
 public:
  // `entry` must not return: it ends with a last `leave`.
  void start(void (*entry)()) {
#if defined(__x86_64__)
    auto* top = reinterpret_cast<void**>(stack_.top());
    *--top = nullptr;  // keeps the stack aligned as a call does
    *--top = reinterpret_cast<void*>(entry);
    for (int saved = 0; saved < 6; ++saved) {
      *--top = nullptr;
    }
    inside_ = top;
#else
    getcontext(&inside_);
    inside_.uc_stack.ss_sp = stack_.base();
    inside_.uc_stack.ss_size = Stack::kBytes;
    inside_.uc_link = nullptr;
    makecontext(&inside_, entry, 0);
#endif
    fresh_ = true;
  }

  // From the scheduler into the fiber, until it leaves.
  void enter() {
    outer_.start(stack_.base(), Stack::kBytes);
    swap(outside_, inside_);
    outer_.finish();
  }

  // From the fiber back to the scheduler, until it is entered again.
  void leave() {
#if defined(__SANITIZE_ADDRESS__)
    inner_.start(inner_.from_base, inner_.from_bytes);
#endif
    swap(inside_, outside_);
    inner_.finish();
  }

  // The first thing that a fiber does.
  void arrive() {
    if (fresh_) {
      inner_.fake_stack_reset();
      inner_.finish();
      fresh_ = false;
    }
  }

 private:
#if defined(__x86_64__)
  using Context = void*;
  static void swap(Context& save, Context& next) { switch_stack(&save, next); }
#else
  using Context = ucontext_t;
  static void swap(Context& save, Context& next) { swapcontext(&save, &next); }
#endif
  struct InnerSwitch : SanitizerSwitch {
    void fake_stack_reset() {
#if defined(__SANITIZE_ADDRESS__)
      fake_stack = nullptr;
#endif
    }
  };

  Stack stack_;
  Context inside_{};
  Context outside_{};
  SanitizerSwitch outer_;
  InnerSwitch inner_;
  bool fresh_ = true;
};

}  // namespace nd_emulator
