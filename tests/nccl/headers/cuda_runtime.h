// What nccl.h needs of the runtime of CUDA.
#pragma once
#include <stddef.h>
#define CUDART_VERSION 13000
typedef struct CUstream_st* cudaStream_t;
