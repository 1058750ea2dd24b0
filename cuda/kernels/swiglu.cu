// The gate of the feed-forward layer.

constexpr int SWIGLU_THREADS = 128;
constexpr int SWIGLU_ROWS = 8;  // that share what a thread reads of B

DEVICE float gated(float gate, float up) { return rounded(gate / (1.f + expf(-gate))) * up; }

// `gate_up`: [rows, 2 · width]. Blocks: packs of columns × rows.
KERNEL(swiglu, SWIGLU_THREADS, 1)
(const element* gate_up, element* hidden, int width) {
  const int at = (blockIdx.x * blockDim.x + threadIdx.x) * PACK;
  if (at >= width) return;
  const int64 row = blockIdx.y;
  const Pack gate = load_pack(gate_up + row * 2 * width + at), up = load_pack(gate_up + (row * 2 + 1) * width + at);
  Pack out;
#pragma unroll
  for (int i = 0; i < PACK; i++) store(out.at[i], gated(wide(gate.at[i]), wide(up.at[i])));
  store_pack(hidden + row * width + at, out);
}

// Calls `use` with the index and the value of each number of a row of B, in packs where the row starts at one.
template <class Use>
DEVICE void for_each_rank(const element* b, int rank, Use use) {
  int at = 0;
  if ((uint64)b % sizeof(Pack) == 0)
    for (; at + PACK <= rank; at += PACK) {
      const Pack pack = load_pack(b + at);
#pragma unroll
      for (int i = 0; i < PACK; i++) use(at + i, wide(pack.at[i]));
    }
  for (; at < rank; at++) use(at, wide(b[at]));
}

struct SwigluShared {
  float inner[2][MAX_RANK][SWIGLU_ROWS];
};

// The same with the adapters of gate and up. Blocks: columns × SWIGLU_ROWS rows; a thread per column.
KERNEL(swiglu_lora, SWIGLU_THREADS, 1)
(const element* gate_up, const Lora lora, element* hidden, int rows, int width) {
  SHARED(SwigluShared, shared);
  const int first = blockIdx.y * SWIGLU_ROWS, count = min(SWIGLU_ROWS, rows - first);
#pragma unroll
  for (int part = 0; part < 2; part++)
    for (int at = threadIdx.x; at < lora.rank[part] * SWIGLU_ROWS; at += blockDim.x) {
      const int rank = at / SWIGLU_ROWS, row = at % SWIGLU_ROWS;
      shared.inner[part][rank][row] = row < count ? inner_at(lora, first + row, lora.first[part] + rank) : 0.f;
    }
  __syncthreads();
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  float sums[2][SWIGLU_ROWS] = {};
#pragma unroll
  for (int part = 0; part < 2; part++) {
    const element* b = lora.b + (int64)(part * width + column) * lora.ranks + lora.first[part];
    for_each_rank(b, lora.rank[part], [&](int at, float x) {
#pragma unroll
      for (int row = 0; row < SWIGLU_ROWS; row++) sums[part][row] += x * shared.inner[part][at][row];
    });
  }
#pragma unroll
  for (int row = 0; row < SWIGLU_ROWS; row++) {
    if (row >= count) break;
    const element* gate = gate_up + (int64)(first + row) * 2 * width + column;
    const bool adapted[] = {lora.rank[0] > 0, lora.rank[1] > 0};
    const float x = adapted[0] ? rounded(wide(gate[0]) + sums[0][row]) : wide(gate[0]);
    const float up = adapted[1] ? rounded(wide(gate[width]) + sums[1][row]) : wide(gate[width]);
    store(hidden[(int64)(first + row) * width + column], gated(x, up));
  }
}
