// Stands in for NCCL and for CUDA's streams and events on a machine without a GPU. It has the functions that
// `distributed/src/nccl/api.rs` looks up, with the same signatures, and works on the CPU's memory: processes add up over
// shared memory, on a thread for each stream, so that a call returns before its work is done as it does on a GPU.
//
//     g++ -std=c++17 -O2 -shared -fPIC -o libnccl.so.2 stand_in.cc
//
// A file beside the library, named as it is with `.fails` at the end, has it fail: lines of `KIND RANK NUMBER`.
//
//     version R N      rank R says that it is version N
//     same-gpu R 0     rank R says that it is on the GPU of every other rank with this line
//     init-hangs R 0   rank R never joins
//     init-fails R 0   rank R ends its joining with an error
//     refuses R N      rank R refuses its collective number N, counted from 0
//     breaks R N       rank R finds an error after it has begun collective number N
//     never-ends R N   rank R never ends collective number N
//     abort-hangs R 0  an abort of rank R never returns

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>

namespace {

// Results of NCCL, and one of CUDA.
enum { OK = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, REMOTE_ERROR = 6, IN_PROGRESS = 7, CUDA_NOT_READY = 600 };
enum { INT8 = 0, FLOAT32 = 7 };

constexpr int MOST_RANKS = 16;
constexpr size_t PIECE = 1 << 18;

struct UniqueId {
    char bytes[128];
};

struct Config {
    size_t size;
    unsigned magic, version;
    int blocking;
};

// What all ranks of a communicator map.
struct Shared {
    std::atomic<int> joined;
    std::atomic<uint32_t> passed[MOST_RANKS];
    char pieces[MOST_RANKS][PIECE];
};

bool fails(const char* kind, int rank, long* number = nullptr) {
    Dl_info own;
    if (dladdr(reinterpret_cast<void*>(&fails), &own) == 0) return false;
    std::ifstream file(std::string(own.dli_fname) + ".fails");
    std::string found;
    int of;
    long value;
    while (file >> found >> of >> value) {
        if (found == kind && of == rank && (number == nullptr || *number < 0 || value == *number)) {
            if (number != nullptr) *number = value;
            return true;
        }
    }
    return false;
}

// Where no communicator says it.
int rank_of_process() {
    const char* rank = std::getenv("RANK");
    return rank == nullptr ? 0 : std::atoi(rank);
}

void nap() { std::this_thread::sleep_for(std::chrono::microseconds(200)); }

struct Stream {
    std::mutex mutex;
    std::condition_variable more;
    std::deque<std::function<void()>> work;
    uint64_t taken = 0;
    std::atomic<uint64_t> done{0};

    Stream() {
        std::thread([this] {
            for (;;) {
                std::unique_lock<std::mutex> lock(mutex);
                more.wait(lock, [this] { return !work.empty(); });
                auto next = std::move(work.front());
                work.pop_front();
                lock.unlock();
                next();
                done++;
            }
        }).detach();
    }

    void add(std::function<void()> next) {
        std::lock_guard<std::mutex> lock(mutex);
        work.push_back(std::move(next));
        taken++;
        more.notify_one();
    }
};

struct Event {
    Stream* stream = nullptr;
    uint64_t at = 0;
};

}  // namespace

struct Comm {
    int rank, size;
    std::string name;
    Shared* shared = nullptr;
    std::atomic<int> state{IN_PROGRESS};
    std::atomic<bool> aborted{false};
    uint32_t barriers = 0;
    long calls = 0;

    void join() {
        const int file = shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
        if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) return void(state = SYSTEM_ERROR);
        void* mapped = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (mapped == MAP_FAILED) return void(state = SYSTEM_ERROR);
        shared = static_cast<Shared*>(mapped);
        shared->joined++;
        while (shared->joined < size && !aborted) nap();
        shm_unlink(name.c_str());
        if (!aborted) state = OK;
    }

    void until_aborted() {
        while (!aborted) nap();
    }

    // Whether all ranks have come.
    bool barrier() {
        shared->passed[rank] = ++barriers;
        for (int other = 0; other < size; other++) {
            while (static_cast<int32_t>(shared->passed[other] - barriers) < 0) {
                if (aborted) return false;
                nap();
            }
        }
        return true;
    }

    void sum(const float* from, float* to, size_t count) {
        const size_t most = PIECE / sizeof(float);
        for (size_t start = 0; start < count; start += most) {
            const size_t length = std::min(most, count - start);
            std::memcpy(shared->pieces[rank], from + start, length * sizeof(float));
            if (!barrier()) return;
            for (size_t i = 0; i < length; i++) {
                float total = 0;
                for (int other = 0; other < size; other++) total += reinterpret_cast<float*>(shared->pieces[other])[i];
                to[start + i] = total;
            }
            if (!barrier()) return;
        }
    }

    void broadcast(const char* from, char* to, size_t count, int root) {
        for (size_t start = 0; start < count; start += PIECE) {
            const size_t length = std::min(PIECE, count - start);
            if (rank == root) std::memcpy(shared->pieces[root], from + start, length);
            if (!barrier()) return;
            std::memcpy(to + start, shared->pieces[root], length);
            if (!barrier()) return;
        }
    }

    // Begins a collective as NCCL does without blocking: it is in progress until it has been launched.
    int begin(Stream* stream, std::function<void()> work) {
        if (state != OK || stream == nullptr) return INVALID_USAGE;
        const long number = calls++;
        long at = number;
        if (fails("refuses", rank, &at)) return INVALID_ARGUMENT;
        state = IN_PROGRESS;
        stream->add([this, number, work = std::move(work)] {
            long at = number;
            if (fails("breaks", rank, &at)) {
                state = REMOTE_ERROR;
                return until_aborted();
            }
            state = OK;
            if (fails("never-ends", rank, &at)) return until_aborted();
            work();
        });
        return IN_PROGRESS;
    }
};

extern "C" {

int ncclGetVersion(int* version) {
    long number = -1;
    *version = fails("version", rank_of_process(), &number) ? static_cast<int>(number) : 22809;
    return OK;
}

int ncclGetUniqueId(UniqueId* id) {
    std::memset(id, 0, sizeof *id);
    static std::atomic<int> made{0};
    std::snprintf(id->bytes, sizeof id->bytes, "/stand-in-nccl-%d-%p-%d", getpid(), static_cast<void*>(&made), made++);
    return OK;
}

int ncclCommInitRankConfig(Comm** comm, int size, UniqueId id, int rank, const Config* config) {
    if (config->size < sizeof(Config) || config->magic != 0xcafebeef || config->version < 21400) return INVALID_ARGUMENT;
    if (config->blocking != 0 || size > MOST_RANKS || rank < 0 || rank >= size) return INVALID_ARGUMENT;
    auto* opened = new Comm{rank, size, std::string(id.bytes)};
    *comm = opened;
    std::thread([opened, rank] {
        if (fails("init-hangs", rank)) return;
        if (fails("init-fails", rank)) return void(opened->state = SYSTEM_ERROR);
        opened->join();
    }).detach();
    return IN_PROGRESS;
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int operation, Comm* comm, Stream* stream) {
    if (type != FLOAT32 || operation != 0) return INVALID_ARGUMENT;
    return comm->begin(stream, [=] { comm->sum(static_cast<const float*>(from), static_cast<float*>(to), count); });
}

int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Comm* comm, Stream* stream) {
    if (type != INT8) return INVALID_ARGUMENT;
    return comm->begin(stream, [=] { comm->broadcast(static_cast<const char*>(from), static_cast<char*>(to), count, root); });
}

int ncclCommGetAsyncError(Comm* comm, int* error) {
    *error = comm->state;
    return OK;
}

// What belongs to a communicator stays: threads may still look at it.
int ncclCommAbort(Comm* comm) {
    comm->aborted = true;
    shm_unlink(comm->name.c_str());
    while (fails("abort-hangs", comm->rank)) nap();
    return OK;
}

int ncclCommDestroy(Comm* comm) { return ncclCommAbort(comm); }

const char* ncclGetErrorString(int code) {
    switch (code) {
        case OK: return "no error";
        case SYSTEM_ERROR: return "unhandled system error";
        case INVALID_ARGUMENT: return "invalid argument";
        case INVALID_USAGE: return "invalid usage";
        case REMOTE_ERROR: return "remote process exited or there was a network error";
        case IN_PROGRESS: return "NCCL operation in progress";
        default: return "unknown result code";
    }
}

int cudaSetDevice(int) { return OK; }

int cudaDeviceGetPCIBusId(char* id, int length, int) {
    const bool same = fails("same-gpu", rank_of_process());
    std::snprintf(id, static_cast<size_t>(length), "%ld", same ? 0L : syscall(SYS_gettid));
    return OK;
}

int cudaStreamCreateWithFlags(Stream** stream, unsigned) {
    *stream = new Stream;
    return OK;
}

// Its thread stays.
int cudaStreamDestroy(Stream*) { return OK; }

int cudaStreamWaitEvent(Stream*, Event*, unsigned) { return OK; }

int cudaEventCreateWithFlags(Event** event, unsigned) {
    *event = new Event;
    return OK;
}

int cudaEventDestroy(Event* event) {
    delete event;
    return OK;
}

// The null stream has no work: on the CPU ATen computes at once.
int cudaEventRecord(Event* event, Stream* stream) {
    *event = Event{stream, 0};
    if (stream != nullptr) {
        std::lock_guard<std::mutex> lock(stream->mutex);
        event->at = stream->taken;
    }
    return OK;
}

int cudaGetLastError() { return OK; }

int cudaEventQuery(Event* event) {
    return event->stream == nullptr || event->stream->done >= event->at ? OK : CUDA_NOT_READY;
}

const char* cudaGetErrorString(int code) { return code == OK ? "no error" : "device not ready"; }

}  // extern "C"
