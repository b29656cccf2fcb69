// Runs a kernel: blocks one after another, a block's threads as fibers that yield at barriers.
//
// A thread runs until it reaches a barrier, so whatever it does up to there is seen by every thread
// that runs later in the same interval and by none that ran before. The order of warps and lanes
// can be reversed or drawn at random: a kernel that lacks a barrier then computes something else.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "fiber.h"
#include "vector_types.h"

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace nd_emulator {

enum class Order { kForward, kReverse, kRandom };

struct Settings {
  Order order = Order::kForward;
  unsigned seed = 0;
  int compute_capability = 90;
};
inline Settings settings;

struct PendingCopy {
  void* to;
  void const* from;
  std::size_t bytes, zeros;
};

struct Thread {
  enum class State { kRunnable, kAtWarpBarrier, kAtBlockBarrier, kDone };

  Fiber fiber;
  State state = State::kDone;
  unsigned mask = 0;
  unsigned exchanges = 0;
  unsigned linear = 0;
  uint3 index{};
  // Asynchronous copies by commit group, the last one still open.
  std::vector<std::vector<PendingCopy>> copies;
};

// What the lanes of a warp show each other. Two, as a lane can be one exchange ahead of another.
struct Exchange {
  static constexpr std::size_t kBytes = 64;
  alignas(16) unsigned char slots[2][32][kBytes];
};

class Block {
 public:
  static Block& current() {
    static Block block;
    return block;
  }

  void run(std::function<void()> const& body, dim3 extent, std::size_t shared_bytes);

  Thread& thread() { return *thread_; }
  unsigned char* shared() { return shared_.get(); }
  Exchange& exchange() { return exchanges_[thread_->linear / 32]; }
  bool random_bit() { return random_() & 1u; }

  void wait(Thread::State state, unsigned mask) {
    thread_->state = state;
    thread_->mask = mask;
    thread_->fiber.leave();
  }

 private:
  static void thread_main();
  void prepare(dim3 extent, std::size_t shared_bytes);
  void run_thread(Thread& thread);
  bool run_warp(std::size_t first);
  bool release_warp(std::size_t first);
  bool release_block();
  void arrange(std::vector<std::size_t>& order);

  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Exchange> exchanges_;
  std::unique_ptr<unsigned char[]> shared_;
  std::function<void()> const* body_ = nullptr;
  Thread* thread_ = nullptr;
  std::size_t count_ = 0;
  std::mt19937 random_;
};

inline void Block::thread_main() {
  Block& block = current();
  Thread& thread = *block.thread_;
  thread.fiber.arrive();
  (*block.body_)();
  thread.state = Thread::State::kDone;
  thread.fiber.leave();
  fail("a finished thread ran again");
}

inline void Block::prepare(dim3 extent, std::size_t shared_bytes) {
  count_ = std::size_t{extent.x} * extent.y * extent.z;
  while (threads_.size() < count_) {
    threads_.push_back(std::make_unique<Thread>());
  }
  exchanges_.resize((count_ + 31) / 32);
  for (std::size_t i = 0; i < count_; ++i) {
    Thread& thread = *threads_[i];
    auto const linear = static_cast<unsigned>(i);
    unsigned const row = linear / extent.x;
    thread.linear = linear;
    thread.index = {linear % extent.x, row % extent.y, row / extent.y};
    thread.state = Thread::State::kRunnable;
    thread.exchanges = 0;
    thread.copies.assign(1, {});
    thread.fiber.start(&Block::thread_main);
  }
  // All ones are NaN in every floating-point type, so that what was never written shows.
  shared_.reset(new unsigned char[shared_bytes + 1]);
  std::memset(shared_.get(), 0xff, shared_bytes);
}

inline void Block::run_thread(Thread& thread) {
  thread_ = &thread;
  threadIdx = thread.index;
  thread.fiber.enter();
}

inline void Block::arrange(std::vector<std::size_t>& order) {
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
  }
  if (settings.order == Order::kReverse) {
    std::reverse(order.begin(), order.end());
  } else if (settings.order == Order::kRandom) {
    std::shuffle(order.begin(), order.end(), random_);
  }
}

inline bool Block::release_warp(std::size_t first) {
  std::size_t const lanes = std::min<std::size_t>(32, count_ - first);
  bool released = false;
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    Thread const& waiting = *threads_[first + lane];
    if (waiting.state != Thread::State::kAtWarpBarrier) {
      continue;
    }
    unsigned const mask = waiting.mask;
    bool complete = true;
    for (std::size_t other = 0; other < lanes; ++other) {
      Thread const& peer = *threads_[first + other];
      bool const there = peer.state == Thread::State::kAtWarpBarrier && peer.mask == mask;
      complete &= !(mask >> other & 1u) || there || peer.state == Thread::State::kDone;
    }
    for (std::size_t other = 0; complete && other < lanes; ++other) {
      Thread& peer = *threads_[first + other];
      if (mask >> other & 1u && peer.state == Thread::State::kAtWarpBarrier) {
        peer.state = Thread::State::kRunnable;
      }
    }
    released |= complete;
  }
  return released;
}

inline bool Block::run_warp(std::size_t first) {
  std::vector<std::size_t> order(std::min<std::size_t>(32, count_ - first));
  bool ran = false;
  do {
    arrange(order);
    for (std::size_t lane : order) {
      Thread& thread = *threads_[first + lane];
      if (thread.state == Thread::State::kRunnable) {
        run_thread(thread);
        ran = true;
      }
    }
  } while (release_warp(first));
  return ran;
}

inline bool Block::release_block() {
  bool alive = false;
  for (std::size_t i = 0; i < count_; ++i) {
    Thread& thread = *threads_[i];
    if (thread.state == Thread::State::kAtWarpBarrier) {
      fail("deadlock: some threads of a warp wait at a warp's barrier, others do not come");
    }
    if (thread.state == Thread::State::kAtBlockBarrier) {
      thread.state = Thread::State::kRunnable;
      alive = true;
    }
  }
  return alive;
}

inline void Block::run(std::function<void()> const& body, dim3 extent, std::size_t shared_bytes) {
  body_ = &body;
  prepare(extent, shared_bytes);
  random_.seed(settings.seed + blockIdx.x);
  std::vector<std::size_t> order(exchanges_.size());
  do {
    arrange(order);
    for (std::size_t warp : order) {
      run_warp(warp * 32);
    }
  } while (release_block());
}

inline void run_grid(std::function<void()> const& body, dim3 grid, dim3 block,
                     std::size_t shared_bytes) {
  static std::mutex one_at_a_time;
  std::lock_guard<std::mutex> lock(one_at_a_time);
  gridDim = grid;
  blockDim = block;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        Block::current().run(body, block, shared_bytes);
      }
    }
  }
}

}  // namespace nd_emulator
