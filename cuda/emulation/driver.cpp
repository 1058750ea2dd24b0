// The functions of libcuda.so.1 and cuBLAS that the program asks for, over the emulation. Work is done when it is given,
// or kept while a stream is captured. Device memory is plain memory.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "machine.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using Work = std::vector<std::function<void()>>;

constexpr int INVALID_VALUE = 1, NOT_FOUND = 500, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900;
constexpr int CUBLAS_FAILED = 13, BF16 = 14;

struct Stream {
  bool capturing = false;
  Work captured;
};

struct Blas {
  Stream* stream = nullptr;
};

std::recursive_mutex lock;  // one launch at a time, whoever gives it
std::string last_failure;
int capturing = 0;          // streams

// What a test can read: kernels and matrix products that have run, allocations, waits of the host, captures, replays.
std::atomic<uint64> launched{0}, allocated{0}, waited{0}, captured_steps{0}, replayed{0};

// What a test can change.
int driver_version = 13000, blas_version = 130100, devices = 1;

int give(Stream* stream, std::function<void()> work) {
  if (stream && stream->capturing) return stream->captured.push_back(std::move(work)), 0;
  // Work on the legacy stream while another is captured would break the capture.
  if (!stream && capturing) return CAPTURE_UNSUPPORTED;
  std::lock_guard<std::recursive_mutex> held(lock);
  try {
    work();
    return 0;
  } catch (const emulated::Failure& failure) {
    last_failure = failure.what();
    return LAUNCH_FAILED;
  }
}

float upper_half(uint16_t bits) { return emulated::as<float>(uint32(bits) << 16); }

uint16_t to_bf16(float x) {
  const uint32 bits = emulated::as<uint32>(x);
  if (std::isnan(x)) return 0x7fff;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float number(const void* from, int type, int64 index) {
  return type == BF16 ? upper_half(static_cast<const uint16_t*>(from)[index]) : static_cast<const float*>(from)[index];
}

}  // namespace

// ---- for tests

EXPORT void emulated_order(unsigned order) {
  std::lock_guard<std::recursive_mutex> held(lock);
  emulated::order = order;
}
EXPORT void emulated_versions(int driver, int blas, int count) { driver_version = driver, blas_version = blas, devices = count; }

EXPORT void emulated_counts(uint64* into) {
  for (auto* count : {&launched, &allocated, &waited, &captured_steps, &replayed}) *into++ = *count;
}

// ---- driver

EXPORT int cuInit(unsigned) { return devices ? 0 : 100; }
EXPORT int cuDriverGetVersion(int* version) { return *version = driver_version, 0; }
EXPORT int cuDeviceGetCount(int* count) { return *count = devices, 0; }
EXPORT int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal < devices ? 0 : 101; }
EXPORT int cuDeviceGetAttribute(int* value, int attribute, int) {
  // Compute capability 9.0, 132 processors.
  *value = attribute == 75 ? 9 : attribute == 16 ? 132 : 0;
  return 0;
}
EXPORT int cuDevicePrimaryCtxRetain(void** context, int) { return *context = &lock, 0; }
EXPORT int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
EXPORT int cuCtxPushCurrent_v2(void*) { return 0; }
EXPORT int cuCtxPopCurrent_v2(void** context) { return *context = &lock, 0; }
EXPORT int cuGetErrorString(int error, const char** text) {
  *text = error == 100             ? "no CUDA-capable device is detected"
          : error == INVALID_VALUE ? "invalid argument"
          : error == LAUNCH_FAILED ? last_failure.c_str()
          : error == CAPTURE_UNSUPPORTED ? "operation not permitted when stream is capturing"
                                         : "unknown error";
  return 0;
}
EXPORT int cuModuleLoadData(void** module, const void*) { return *module = &lock, 0; }
EXPORT int cuModuleUnload(void*) { return 0; }
EXPORT int cuModuleGetFunction(void** function, void*, const char* name) {
  for (size_t i = 0; i < emulated::KERNEL_COUNT; i++)
    if (!strcmp(emulated::KERNELS[i].name, name)) return *function = (void*)&emulated::KERNELS[i], 0;
  return NOT_FOUND;
}
EXPORT int cuLaunchKernel(
    void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned, unsigned, void* stream,
    void** arguments, void**) {
  const auto& kernel = *static_cast<const emulated::Kernel*>(function);
  if (threads != kernel.threads || x == 0 || y == 0 || z == 0) return INVALID_VALUE;
  auto bound = kernel.bind(arguments);
  return give(static_cast<Stream*>(stream), [=] { launched++, emulated::launch(bound, {x, y, z}, threads); });
}

EXPORT int cuMemAlloc_v2(uint64* place, size_t bytes) {
  if (capturing) return CAPTURE_UNSUPPORTED;
  allocated++;
  *place = (uint64)aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *place ? 0 : 2;
}
EXPORT int cuMemFree_v2(uint64 place) { return free((void*)place), 0; }
EXPORT int cuMemsetD8Async(uint64 place, unsigned char value, size_t bytes, void* stream) {
  return give(static_cast<Stream*>(stream), [=] { memset((void*)place, value, bytes); });
}
// From and to pageable memory: not to be captured.
EXPORT int cuMemcpyHtoDAsync_v2(uint64 to, const void* from, size_t bytes, void* stream) {
  if (stream && static_cast<Stream*>(stream)->capturing) return CAPTURE_UNSUPPORTED;
  return give(static_cast<Stream*>(stream), [=] { memcpy((void*)to, from, bytes); });
}
EXPORT int cuMemcpyDtoHAsync_v2(void* to, uint64 from, size_t bytes, void* stream) {
  if (stream && static_cast<Stream*>(stream)->capturing) return CAPTURE_UNSUPPORTED;
  return give(static_cast<Stream*>(stream), [=] { memcpy(to, (const void*)from, bytes); });
}

EXPORT int cuStreamCreate(void** stream, unsigned) { return *stream = new Stream, 0; }
EXPORT int cuStreamDestroy_v2(void* stream) { return delete static_cast<Stream*>(stream), 0; }
EXPORT int cuStreamSynchronize(void* stream) {
  waited++;
  return stream && static_cast<Stream*>(stream)->capturing ? CAPTURE_UNSUPPORTED : 0;
}
EXPORT int cuStreamWaitEvent(void*, void*, unsigned) { return 0; }
EXPORT int cuEventCreate(void** event, unsigned) { return *event = malloc(1), 0; }
EXPORT int cuEventRecord(void*, void* stream) { return !stream && capturing ? CAPTURE_UNSUPPORTED : 0; }
EXPORT int cuEventDestroy_v2(void* event) { return free(event), 0; }

EXPORT int cuStreamBeginCapture_v2(void* stream, int) {
  if (!stream || static_cast<Stream*>(stream)->capturing) return CAPTURE_UNSUPPORTED;
  return captured_steps++, capturing++, static_cast<Stream*>(stream)->capturing = true, 0;
}
EXPORT int cuStreamEndCapture(void* stream, void** graph) {
  auto* own = static_cast<Stream*>(stream);
  if (!own->capturing) return INVALID_VALUE;
  capturing--, own->capturing = false;
  *graph = new Work(std::move(own->captured));
  own->captured.clear();
  return 0;
}
EXPORT int cuGraphGetNodes(void* graph, void**, size_t* count) { return *count = static_cast<Work*>(graph)->size(), 0; }
EXPORT int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  return *executable = new Work(*static_cast<Work*>(graph)), 0;
}
EXPORT int cuGraphDestroy(void* graph) { return delete static_cast<Work*>(graph), 0; }
EXPORT int cuGraphExecDestroy(void* executable) { return delete static_cast<Work*>(executable), 0; }
EXPORT int cuGraphLaunch(void* executable, void* stream) {
  replayed++;
  for (auto& work : *static_cast<Work*>(executable))
    if (int status = give(static_cast<Stream*>(stream), work)) return status;
  return 0;
}

// ---- cuBLAS

EXPORT int cublasCreate_v2(void** handle) { return *handle = new Blas, 0; }
EXPORT int cublasDestroy_v2(void* handle) { return delete static_cast<Blas*>(handle), 0; }
EXPORT int cublasGetVersion_v2(void*, int* version) { return *version = blas_version, 0; }
EXPORT int cublasSetStream_v2(void* handle, void* stream) {
  return static_cast<Blas*>(handle)->stream = static_cast<Stream*>(stream), 0;
}
EXPORT int cublasSetWorkspace_v2(void*, void*, size_t) { return 0; }
EXPORT const char* cublasGetStatusString(int) { return "an internal operation failed"; }

// Column-major: c[m, n] = alpha · op(a)[m, k] · op(b)[k, n] + beta · c. Sums in f64, rounded once.
EXPORT int cublasGemmEx(
    void* handle, int transpose_a, int transpose_b, int m, int n, int k, const void* alpha, const void* a, int type_a,
    int lda, const void* b, int type_b, int ldb, const void* beta, void* c, int type_c, int ldc, int, int) {
  const float factor = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  if (type_a != type_b || m < 1 || n < 1 || k < 1) return CUBLAS_FAILED;
  return give(static_cast<Blas*>(handle)->stream, [=] {
    launched++;
    std::vector<float> columns((size_t)n * k), row(k);
    for (int64 column = 0; column < n; column++)
      for (int64 i = 0; i < k; i++)
        columns[column * k + i] = number(b, type_b, transpose_b ? i * ldb + column : column * ldb + i);
    for (int64 at = 0; at < m; at++) {
      for (int64 i = 0; i < k; i++) row[i] = number(a, type_a, transpose_a ? at * lda + i : i * lda + at);
      for (int64 column = 0; column < n; column++) {
        double sum = 0;
        for (int64 i = 0; i < k; i++) sum += double(row[i]) * columns[column * k + i];
        const int64 place = column * ldc + at;
        const float result = float(factor * sum + (keep == 0 ? 0.0 : double(keep) * number(c, type_c, place)));
        if (type_c == BF16)
          static_cast<uint16_t*>(c)[place] = to_bf16(result);
        else
          static_cast<float*>(c)[place] = result;
      }
    }
  });
}
