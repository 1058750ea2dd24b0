// From the projection of queries, keys and values to rotated queries and the cache's new entries.

constexpr int ROTATE_THREADS = WIDTH < 32 ? 32 : WIDTH;

struct RotateShared {
  float slots[ROTATE_THREADS / 32];
  float inner[MAX_RANK];
  float head[WIDTH];
};

// A block per head, for the rows blockIdx.y, blockIdx.y + gridDim.y, …: what it reads of B is then in its cache. A thread
// per number of the head. Heads are those of the queries, then of the keys, then of the values.
KERNEL(rotate, ROTATE_THREADS, 1)
(const float* qkv, const element* bias, const Lora lora, const element* query_norm, const element* key_norm, float eps,
 const element* cos, const element* sin, const int* positions, const int* lengths, const int* finished,
 element* queries, element* keys, element* values, int query_heads, int key_heads, int rows, int group, int capacity) {
  SHARED(RotateShared, shared);
  const int head = blockIdx.x, at = threadIdx.x, heads = query_heads + 2 * key_heads;
  const int kind = head < query_heads ? 0 : head < query_heads + key_heads ? 1 : 2;
  const int output = head * WIDTH + at;
  const bool real = at < WIDTH;
  const int rank = lora.b ? of_part(lora.rank, kind) : 0, first = of_part(lora.first, kind);
  const element* norm = kind == 0 ? query_norm : kind == 1 ? key_norm : nullptr;

  for (int row = blockIdx.y; row < rows; row += gridDim.y) {
    const int slot = lengths[row];
    if (finished[row] || slot < 0 || slot >= capacity) continue;
    if (rank > 0) {
      for (int i = at; i < rank; i += blockDim.x) shared.inner[i] = inner_at(lora, row, first + i);
      __syncthreads();
    }
    float x = 0;
    if (real) {
      x = rounded(qkv[(int64)row * heads * WIDTH + output] + (bias ? wide(bias[output]) : 0.f));
      if (rank > 0) {
        float added[1] = {};
        add_lora<1>(lora.b + (int64)output * lora.ranks + first, 0, rank, shared.inner, added);
        x = rounded(x + added[0]);
      }
    }
    if (norm) {
      const float scale = rsqrtf(block_sum(x * x, shared.slots) / WIDTH + eps);
      if (real) x = rounded(x * scale * wide(norm[at]));
    }
    if (kind < 2) {
      if (real) shared.head[at] = x;
      __syncthreads();
      if (real) {
        const int64 angle = (int64)positions[row] * WIDTH + at;
        const float other = shared.head[(at + WIDTH / 2) % WIDTH];
        x = rounded(x * wide(cos[angle])) + other * wide(sin[angle]);
      }
    }
    if (real) {
      const int64 key_head = (head - query_heads) % key_heads, prompt = row / group;
      const int64 entry = ((prompt * key_heads + key_head) * group + row % group) * capacity + slot;
      element* to = kind == 0 ? queries + ((int64)row * query_heads + head) * WIDTH
                              : (kind == 1 ? keys : values) + entry * WIDTH;
      store(to[at], x);
    }
    // Before the next row overwrites what is shared.
    __syncthreads();
  }
}
