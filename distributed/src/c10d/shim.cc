// The few calls of libtorch's c10d that the sandbox needs, as C functions: a key-value store (TCPStore) and the collectives of
// ProcessGroupGloo; and the CUDA stream on which libtorch computes. A function that fails returns -1 and leaves its reason to `sandbox_c10d_error`, which belongs to the
// calling thread. No exception leaves this file.
//
// gloo's own headers are not part of libtorch's packages. ProcessGroupGloo.hpp needs a few of their types by name; `gloo/`
// beside this file declares them.

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Logging.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <vector>

using std::chrono::milliseconds;

struct SandboxStore {
    c10::intrusive_ptr<c10d::TCPStore> tcp;
    c10::intrusive_ptr<c10d::Store> keys;
};

struct SandboxGloo {
    c10::intrusive_ptr<c10d::ProcessGroupGloo> group;
    milliseconds timeout;
};

namespace {

thread_local std::string reason;

// Runs `work`, which returns 0 or a positive number; -1 if it throws.
template <typename Work>
int attempt(Work&& work) {
    try {
        return work();
    } catch (const std::exception& error) {
        reason = error.what();
    } catch (...) {
        reason = "an exception of an unknown type";
    }
    return -1;
}

std::vector<at::Tensor> one(void* tensor) { return {*static_cast<at::Tensor*>(tensor)}; }

}  // namespace

extern "C" {

const char* sandbox_c10d_error() { return reason.c_str(); }

// Connects to the store at `host:port`, or serves it there if `serves` is not 0: on all interfaces, or on the socket `listener`
// unless that is -1, which the store then owns. All keys begin with `prefix`.
SandboxStore* sandbox_store_open(const char* host, uint16_t port, int serves, int listener, int64_t timeout_ms, const char* prefix) {
    SandboxStore* opened = nullptr;
    attempt([&] {
        // A rank that is gone is reported by whoever waits for it, in one line. libtorch would print several for each try.
        if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = 2;
        c10d::TCPStoreOptions options;
        options.port = port;
        options.isServer = serves != 0;
        if (listener >= 0) options.masterListenFd = listener;
        options.waitWorkers = false;
        options.timeout = milliseconds(timeout_ms);
        auto tcp = c10::make_intrusive<c10d::TCPStore>(std::string(host), options);
        opened = new SandboxStore{tcp, c10::make_intrusive<c10d::PrefixStore>(std::string(prefix), tcp)};
        return 0;
    });
    return opened;
}

void sandbox_store_close(SandboxStore* store) {
    attempt([&] { delete store; return 0; });
}

int sandbox_store_set(SandboxStore* store, const char* key, const uint8_t* bytes, size_t length) {
    return attempt([&] {
        store->keys->set(key, std::vector<uint8_t>(bytes, bytes + length));
        return 0;
    });
}

// 0 if the key is there, 1 if not.
int sandbox_store_has(SandboxStore* store, const char* key) {
    return attempt([&] { return store->keys->check({key}) ? 0 : 1; });
}

// Sets `*bytes` to the value of a key that is there, in memory that the caller returns by `sandbox_bytes_free`.
int sandbox_store_get(SandboxStore* store, const char* key, uint8_t** bytes, size_t* length) {
    return attempt([&] {
        const auto value = store->keys->get(key);
        auto* copy = static_cast<uint8_t*>(std::malloc(value.size() + 1));
        if (copy == nullptr) throw std::bad_alloc();
        if (!value.empty()) std::memcpy(copy, value.data(), value.size());
        *bytes = copy;
        *length = value.size();
        return 0;
    });
}

void sandbox_bytes_free(uint8_t* bytes) { std::free(bytes); }

int sandbox_store_delete(SandboxStore* store, const char* key) {
    return attempt([&] {
        store->keys->deleteKey(key);
        return 0;
    });
}

// Connects all ranks with each other. `address` is where this rank listens; if it is empty, `GLOO_SOCKET_IFNAME` names the
// interface, or else it is where the machine's name leads to.
SandboxGloo* sandbox_gloo_open(SandboxStore* store, int rank, int size, int64_t timeout_ms, const char* address) {
    SandboxGloo* opened = nullptr;
    attempt([&] {
        using Gloo = c10d::ProcessGroupGloo;
        const milliseconds timeout(timeout_ms);
        auto options = Gloo::Options::create(timeout);
        const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
        if (*address != 0) {
            options->devices.push_back(Gloo::createDeviceForHostname(address));
        } else if (interface != nullptr && *interface != 0) {
            options->devices.push_back(Gloo::createDeviceForInterface(interface));
        } else {
            options->devices.push_back(Gloo::createDefaultDevice());
        }
        opened = new SandboxGloo{c10::make_intrusive<Gloo>(store->keys, rank, size, options), timeout};
        return 0;
    });
    return opened;
}

void sandbox_gloo_close(SandboxGloo* gloo) {
    attempt([&] { delete gloo; return 0; });
}

// Replaces the tensor, on every rank, by the sum over all ranks.
int sandbox_gloo_sum(SandboxGloo* gloo, void* tensor) {
    return attempt([&] {
        auto tensors = one(tensor);
        c10d::AllreduceOptions options;
        options.reduceOp = c10d::ReduceOp::SUM;
        options.timeout = gloo->timeout;
        gloo->group->allreduce(tensors, options)->wait(gloo->timeout);
        return 0;
    });
}

// Replaces the tensor, on every rank, by that of rank `root`.
int sandbox_gloo_broadcast(SandboxGloo* gloo, void* tensor, int root) {
    return attempt([&] {
        auto tensors = one(tensor);
        c10d::BroadcastOptions options;
        options.rootRank = root;
        options.timeout = gloo->timeout;
        gloo->group->broadcast(tensors, options)->wait(gloo->timeout);
        return 0;
    });
}

int sandbox_gloo_send(SandboxGloo* gloo, void* tensor, int to) {
    return attempt([&] {
        auto tensors = one(tensor);
        gloo->group->send(tensors, to, 0)->wait(gloo->timeout);
        return 0;
    });
}

int sandbox_gloo_receive(SandboxGloo* gloo, void* tensor, int from) {
    return attempt([&] {
        auto tensors = one(tensor);
        gloo->group->recv(tensors, from, 0)->wait(gloo->timeout);
        return 0;
    });
}

// Returns when every rank has called it.
int sandbox_gloo_barrier(SandboxGloo* gloo) {
    return attempt([&] {
        c10d::BarrierOptions options;
        options.timeout = gloo->timeout;
        gloo->group->barrier(options)->wait(gloo->timeout);
        return 0;
    });
}

// Sets `*stream` to the handle of the CUDA stream on which the calling thread computes on this GPU.
int sandbox_current_stream(int device, void** stream) {
    return attempt([&] {
        const c10::impl::VirtualGuardImpl cuda(c10::DeviceType::CUDA);
        const c10::Device gpu(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device));
        *stream = cuda.getStream(gpu).native_handle();
        return 0;
    });
}

}  // extern "C"
