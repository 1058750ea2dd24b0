// RMS norms of the residual stream: behind the embedding, and behind a projection that a matrix product has added to it.

constexpr int NORM_THREADS = 512;

struct NormShared {
  float slots[NORM_THREADS / 32];
  float inner[MAX_RANK];
};

// `normal = rms_norm(x) · weight · factor` of a row, whose squares this thread has summed for its own packs: the packs
// thread, thread + threads, …
DEVICE void normalize_row(
    const element* x, const element* weight, element* normal, int width, float eps, float squares, const float* factor,
    float* slots) {
  const float scale = rsqrtf(block_sum(squares, slots) / width + eps);
  const float last = factor ? *factor : 1.f;
  for (int at = threadIdx.x * PACK; at < width; at += blockDim.x * PACK) {
    const Pack values = load_pack(x + at), weights = load_pack(weight + at);
    Pack out;
#pragma unroll
    for (int i = 0; i < PACK; i++)
      store(out.at[i], rounded(wide(values.at[i]) * scale * wide(weights.at[i])) * last);
    store_pack(normal + at, out);
  }
}

DEVICE float sum_of_squares(const Pack& pack) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < PACK; i++) sum += wide(pack.at[i]) * wide(pack.at[i]);
  return sum;
}

// A block per row.
KERNEL(embed, NORM_THREADS, 1)
(const int64* ids, const element* table, const element* weight, element* x, element* normal, int vocabulary, int width,
 float eps) {
  SHARED(NormShared, shared);
  const int64 id = ids[blockIdx.x], row = blockIdx.x;
  const element* entry = table + (id < 0 || id >= vocabulary ? 0 : id) * width;
  float squares = 0;
  for (int at = threadIdx.x * PACK; at < width; at += blockDim.x * PACK) {
    const Pack values = load_pack(entry + at);
    store_pack(x + row * width + at, values);
    squares += sum_of_squares(values);
  }
  normalize_row(entry, weight, normal + row * width, width, eps, squares, nullptr, shared.slots);
}

// A block per row.
KERNEL(rms_norm, NORM_THREADS, 1)
(element* x, const Lora lora, const element* weight, element* normal, const float* factor, int width, float eps) {
  SHARED(NormShared, shared);
  const int64 row = blockIdx.x;
  x += row * width, normal += row * width;
  const int rank = lora.b ? lora.rank[0] : 0;
  if (rank > 0) {
    for (int at = threadIdx.x; at < rank; at += blockDim.x) shared.inner[at] = inner_at(lora, row, lora.first[0] + at);
    __syncthreads();
  }
  float squares = 0;
  for (int at = threadIdx.x * PACK; at < width; at += blockDim.x * PACK) {
    Pack values = load_pack(x + at);
    if (rank > 0) {
      float added[PACK] = {};
      add_lora<PACK>(lora.b + (int64)at * lora.ranks + lora.first[0], lora.ranks, rank, shared.inner, added);
#pragma unroll
      for (int i = 0; i < PACK; i++) store(values.at[i], wide(values.at[i]) + added[i]);
      store_pack(x + at, values);
    }
    squares += sum_of_squares(values);
  }
  normalize_row(x, weight, normal, width, eps, squares, factor, shared.slots);
}
