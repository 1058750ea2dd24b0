// Compiles if the functions that the sandbox looks up in NCCL have the signatures, values and layouts in NCCL's own header
// that `distributed/src/nccl/api.rs` expects of them. `headers/` stands in for CUDA's.
//
//     g++ -std=c++17 -fsyntax-only -I headers -I .../nvidia/nccl/include signatures.cc

#include <nccl.h>

#include <cstddef>
#include <type_traits>

template <typename Found, typename Expected>
constexpr bool same = std::is_same_v<Found, Expected>;

static_assert(same<decltype(&ncclGetVersion), ncclResult_t (*)(int*)>);
static_assert(same<decltype(&ncclGetUniqueId), ncclResult_t (*)(ncclUniqueId*)>);
static_assert(same<decltype(&ncclCommInitRankConfig), ncclResult_t (*)(ncclComm_t*, int, ncclUniqueId, int, ncclConfig_t*)>);
static_assert(same<decltype(&ncclAllReduce),
                   ncclResult_t (*)(const void*, void*, size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t, cudaStream_t)>);
static_assert(same<decltype(&ncclBroadcast),
                   ncclResult_t (*)(const void*, void*, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t)>);
static_assert(same<decltype(&ncclCommGetAsyncError), ncclResult_t (*)(ncclComm_t, ncclResult_t*)>);
static_assert(same<decltype(&ncclCommAbort), ncclResult_t (*)(ncclComm_t)>);
static_assert(same<decltype(&ncclCommDestroy), ncclResult_t (*)(ncclComm_t)>);
static_assert(same<decltype(&ncclGetErrorString), const char* (*)(ncclResult_t)>);

static_assert(sizeof(ncclResult_t) == 4 && sizeof(ncclDataType_t) == 4 && sizeof(ncclRedOp_t) == 4);
static_assert(ncclSuccess == 0 && ncclInProgress == 7 && ncclSum == 0 && ncclInt8 == 0 && ncclFloat32 == 7);
static_assert(sizeof(ncclUniqueId) == 128 && alignof(ncclUniqueId) == 1);

// The first fields of the configuration, which is all of it in NCCL 2.14; later versions take a shorter one.
static_assert(offsetof(ncclConfig_t, size) == 0 && offsetof(ncclConfig_t, magic) == 8);
static_assert(offsetof(ncclConfig_t, version) == 12 && offsetof(ncclConfig_t, blocking) == 16);
constexpr ncclConfig_t INITIAL = NCCL_CONFIG_INITIALIZER;
static_assert(INITIAL.magic == 0xcafebeef && INITIAL.version == NCCL_VERSION_CODE);
static_assert(NCCL_VERSION(2, 14, 0) == 21400 && NCCL_VERSION(2, 8, 4) == 2804);
