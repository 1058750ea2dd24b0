// Launches of emulated kernels.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

#include "emulated.h"

namespace emulated {

// A kernel: its name, the threads of its blocks, and what binds its arguments, given as cuLaunchKernel takes them.
struct Kernel {
  const char* name;
  unsigned threads;
  std::function<void()> (*bind)(void** arguments);
};

extern const Kernel KERNELS[];
extern const size_t KERNEL_COUNT;

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In which order threads and blocks run: 0 forwards, 1 backwards, one block at a time; else the seed of an order in which
// those of several blocks alternate at random, and some fall far behind.
extern unsigned order;

// Throws Failure.
void launch(const std::function<void()>& body, dim3 grid, unsigned threads);

}  // namespace emulated
