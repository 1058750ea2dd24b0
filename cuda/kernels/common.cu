// What all kernels share. One text for two compilers: NVRTC makes device code of it, and g++ host code for tests, with
// emulation/emulated.h included before it. It includes nothing itself, so a machine needs no CUDA headers to compile it.
//
// Options (-D): ELEMENT, the type of weights and activations, `bf16` or `float`; WIDTH, that of a head.
//
// Rounding: sums are f32 (those of probabilities f64). `rounded` stands where the plain path stores a tensor of the
// model's dtype, so both round the same values.

#ifndef EMULATED
// A kernel for blocks of so many threads, of which a processor must be able to hold some at once.
#define KERNEL(name, threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks) name
#define DEVICE __device__ __forceinline__
#define SHARED(type, name) __shared__ type name
#define INFINITY __int_as_float(0x7f800000)
typedef long long int64;
typedef unsigned long long uint64;
typedef unsigned int uint32;
typedef unsigned char uint8;

// What other blocks of the same launch write and read goes past the first-level cache, which belongs to one processor.
template <class T>
DEVICE void publish(T* place, T x) { *(volatile T*)place = x; }
template <class T>
DEVICE T observe(const T* place) { return *(const volatile T*)place; }
#endif

constexpr uint32 ALL_LANES = 0xffffffffu;

struct bf16 {
  unsigned short bits;
};

typedef ELEMENT element;

DEVICE float wide(float x) { return x; }
DEVICE float wide(bf16 x) { return __uint_as_float((uint32)x.bits << 16); }

DEVICE void store(float& place, float x) { place = x; }
// To the nearest, ties to even.
DEVICE void store(bf16& place, float x) {
#ifdef __CUDA_ARCH__
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(place.bits) : "f"(x));
#else
  const uint32 bits = __float_as_uint(x), above = bits >> 16, rest = bits & 0xffffu;
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    place.bits = 0x7fff;
  else
    place.bits = (unsigned short)(above + (rest > 0x8000u || (rest == 0x8000u && (above & 1))));
#endif
}

DEVICE float rounded(float x) {
  element narrow;
  store(narrow, x);
  return wide(narrow);
}

// As many elements as one instruction loads.
constexpr int PACK = 16 / sizeof(element);
struct alignas(16) Pack {
  element at[PACK];
};

DEVICE Pack load_pack(const element* from) { return *(const Pack*)from; }
DEVICE void store_pack(element* to, const Pack& pack) { *(Pack*)to = pack; }

DEVICE int lane_of_warp() { return threadIdx.x % 32; }
DEVICE int warp_of_block() { return threadIdx.x / 32; }

// Every lane gets the same bits: addition commutes.
template <class T>
DEVICE T warp_sum(T x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(ALL_LANES, x, offset);
  return x;
}

// The sum over all threads of a block of whole warps, one number per warp. A barrier must lie between two uses of `slots`.
template <class T>
DEVICE T block_sum(T x, T* slots) {
  x = warp_sum(x);
  if (lane_of_warp() == 0) slots[warp_of_block()] = x;
  __syncthreads();
  T sum = 0;
  for (int warp = 0; warp < (int)blockDim.x / 32; warp++) sum += slots[warp];
  return sum;
}

// ---- adapters

// The upper halves of the adapters of up to three projections: blocks of `b`, `[outputs, ranks]`, from column `first` on
// and `rank` wide. `b` is null where there is none.
struct Lora {
  const element* b;
  const float* inner;  // [rows, ranks]
  int ranks;
  float scale;
  int first[3], rank[3];
};

constexpr int MAX_RANK = 128;

// An element of `first` or `rank`. Indexing them by a variable would copy the argument into local memory.
DEVICE int of_part(const int (&numbers)[3], int part) {
  return part == 0 ? numbers[0] : part == 1 ? numbers[1] : numbers[2];
}

// What the plain path multiplies with B: A·x and its scaling are tensors there.
DEVICE float inner_at(const Lora& lora, int row, int column) {
  return rounded(rounded(lora.inner[(int64)row * lora.ranks + column]) * lora.scale);
}

// Adds rows of B, `stride` apart, times `inner`, in shared memory.
template <int COUNT>
DEVICE void add_lora(const element* b, int64 stride, int rank, const float* inner, float (&sums)[COUNT]) {
  int at = 0;
  if ((uint64)b % sizeof(Pack) == 0 && stride % PACK == 0)
    for (; at + PACK <= rank; at += PACK)
#pragma unroll
      for (int row = 0; row < COUNT; row++) {
        const Pack pack = load_pack(b + row * stride + at);
#pragma unroll
        for (int i = 0; i < PACK; i++) sums[row] += wide(pack.at[i]) * inner[at + i];
      }
  for (; at < rank; at++)
#pragma unroll
    for (int row = 0; row < COUNT; row++) sums[row] += wide(b[row * stride + at]) * inner[at];
}
