// The calls of libtorch's allocator for GPUs that the sandbox needs, as C functions. The allocator is libtorch_cuda's, but its
// interface is c10's, so that this file needs neither CUDA's headers nor its libraries. A function that fails, as all do while
// libtorch_cuda is not loaded, returns -1. No exception leaves this file.

#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>

namespace {

// Calls `work` with the allocator; 0 if that succeeds.
template <typename Work>
int with_allocator(Work&& work) {
    try {
        work(*c10::getDeviceAllocator(c10::DeviceType::CUDA));
        return 0;
    } catch (...) {
        return -1;
    }
}

c10::DeviceIndex index_of(int32_t device) { return static_cast<c10::DeviceIndex>(device); }

}  // namespace

extern "C" {

// Returns the memory to the driver that the allocator keeps for later.
int sandbox_memory_release() {
    return with_allocator([](c10::DeviceAllocator& allocator) { allocator.emptyCache(); });
}

// The most bytes of tensors at the same time since the last call for this device, which begins to count anew.
int sandbox_memory_take_peak(int32_t device, uint64_t* bytes) {
    return with_allocator([&](c10::DeviceAllocator& allocator) {
        const auto stats = allocator.getDeviceStats(index_of(device));
        *bytes = static_cast<uint64_t>(stats.allocated_bytes[0].peak);
        allocator.resetPeakStats(index_of(device));
    });
}

}  // extern "C"
