// What g++ needs to take the kernels' text as host code. A block's threads are fibers, run by machine.cpp, which also
// decides what a thread sees of other blocks' writes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

typedef int64_t int64;
typedef uint64_t uint64;
typedef uint32_t uint32;
typedef uint8_t uint8;

struct dim3 {
  unsigned x, y, z;
};

namespace emulated {

// Of the thread that runs now.
extern dim3 thread_index, block_index, block_size, grid_size;

void* arena(size_t bytes);
void barrier(int line);
void fence();
uint64 shuffle(uint64 bits, unsigned source);
unsigned lane();
uint32 add(uint32* place, uint32 x);
void write(void* place, size_t bytes, uint64 bits);
uint64 read(const void* place, size_t bytes);

template <class To, class From>
To as(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

template <class T>
uint64 bits_of(T x) {
  uint64 bits = 0;
  memcpy(&bits, &x, sizeof x);
  return bits;
}

template <class T>
T from_bits(uint64 bits) {
  T x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace emulated

#define threadIdx emulated::thread_index
#define blockIdx emulated::block_index
#define blockDim emulated::block_size
#define gridDim emulated::grid_size

#define KERNEL(name, threads, blocks)            \
  constexpr unsigned name##_threads = (threads); \
  static void name
#define DEVICE inline
#define SHARED(type, name) type& name = *static_cast<type*>(emulated::arena(sizeof(type)))
#define __syncthreads() emulated::barrier(__LINE__)
#define __threadfence() emulated::fence()

template <class T>
T __shfl_xor_sync(uint32, T x, int mask) {
  return emulated::from_bits<T>(emulated::shuffle(emulated::bits_of(x), emulated::lane() ^ mask));
}
template <class T>
T __shfl_sync(uint32, T x, int source, int width) {
  return emulated::from_bits<T>(emulated::shuffle(emulated::bits_of(x), emulated::lane() / width * width + source % width));
}
inline uint32 atomicAdd(uint32* place, uint32 x) { return emulated::add(place, x); }

template <class T>
void publish(T* place, T x) {
  emulated::write(place, sizeof x, emulated::bits_of(x));
}
template <class T>
T observe(const T* place) {
  return emulated::from_bits<T>(emulated::read(place, sizeof(T)));
}

inline float __uint_as_float(uint32 bits) { return emulated::as<float>(bits); }
inline uint32 __float_as_uint(float x) { return emulated::as<uint32>(x); }
inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
using std::max;
using std::min;
