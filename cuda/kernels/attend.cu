// Attention of one token of every row over its prompt's keys and its own.
//
// A block has up to QUERIES queries over one range of keys. For a prompt these are heads and rows of a group, so its
// cache is read once for several rows; for own keys, the heads of a row that share a key head. In a block, each team of
// threads reads every TEAMS-th key: a lane has a pack of its numbers and the same pack of every query. Teams keep their
// own maximum and sums, so the loop has no barrier. Each block publishes its part; the last of a query's blocks merges
// them, in the order of the ranges, whichever block that is.
//
// Scores and weights stay in f32; the plain path rounds both to the model's dtype.

constexpr int ATTEND_THREADS = 128;
constexpr int QUERIES = 8;
constexpr int LANES = WIDTH / PACK;
constexpr int TEAMS = ATTEND_THREADS / LANES;
// Blocks that a processor holds at once, as registers allow it without spilling: narrow heads need more of them, as fewer
// lanes share what `reduce` leaves, and so does code for sm_100.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int ATTEND_BLOCKS = 2;
#else
constexpr int ATTEND_BLOCKS = LANES < QUERIES ? 2 : 3;
#endif
constexpr int SHORTEST = 32;  // keys of a range, if there are that many
static_assert(LANES >= 1 && LANES <= 32 && 32 % LANES == 0, "WIDTH");

struct AttendShared {
  float highest[TEAMS][QUERIES], total[TEAMS][QUERIES];
  float top[QUERIES];
  float sums[QUERIES][TEAMS][WIDTH];
  int last[QUERIES];
};

// One block's work.
struct Range {
  const element *keys, *values;  // of the key head, from slot 0
  int from, to;                  // slots
  int row, first, live;          // query i < live is head (first + i) % repeat of row + (first + i) / repeat
  int split;                     // which of a query's parts
};

// What all blocks know.
struct Heads {
  int query_heads, key_heads, repeat, splits;
};

DEVICE int row_of(const Range& range, const Heads& heads, int query) {
  return range.row + (range.first + query) / heads.repeat;
}

// The query's place among `[rows, query heads]`.
DEVICE int64 place_of(const Range& range, const Heads& heads, int query) {
  const int head = blockIdx.y * heads.repeat + (range.first + query) % heads.repeat;
  return (int64)row_of(range, heads, query) * heads.query_heads + head;
}

// After `reduce`, a lane has HELD of COUNT sums: those of the queries whose upper bits are its own.
template <int COUNT>
constexpr int HELD = COUNT > LANES ? COUNT / LANES : 1;

// Sums over the lanes of a team, halving at each step what a lane is still concerned with.
template <int COUNT>
DEVICE void reduce(float (&sums)[COUNT]) {
  int count = COUNT;
#pragma unroll
  for (int offset = LANES / 2; offset > 0; offset /= 2) {
    if (count == 1) {
      sums[0] += __shfl_xor_sync(ALL_LANES, sums[0], offset);
      continue;
    }
    count /= 2;
    const bool upper = threadIdx.x & offset;
#pragma unroll
    for (int i = 0; i < COUNT / 2; i++) {
      if (i >= count) break;
      const float given = upper ? sums[i] : sums[i + count], kept = upper ? sums[i + count] : sums[i];
      sums[i] = kept + __shfl_xor_sync(ALL_LANES, given, offset);
    }
  }
}

// The first lane of a team that has a query after `reduce`.
template <int COUNT>
DEVICE int holder(int query) {
  int lane = 0;
#pragma unroll
  for (int offset = LANES / 2, bit = COUNT / 2; offset > 0 && bit > 0; offset /= 2, bit /= 2)
    if (query & bit) lane |= offset;
  return lane;
}

template <int COUNT>
DEVICE float from_holder(const float (&held)[HELD<COUNT>], int query) {
  return __shfl_sync(ALL_LANES, held[query % HELD<COUNT>], holder<COUNT>(query), LANES);
}

// What a thread has summed over its team's keys.
template <int COUNT>
struct Attended {
  float sum[COUNT][PACK];
  float highest[HELD<COUNT>], total[HELD<COUNT>];
};

template <int COUNT>
DEVICE void attend_keys(Attended<COUNT>& own, const float (&query)[COUNT][PACK], const Range& range, float scale) {
  constexpr int AHEAD = COUNT < QUERIES ? 4 : 2;  // keys that a team loads at once
  const int team = threadIdx.x / LANES, lane = threadIdx.x % LANES;
  for (int start = range.from; start < range.to; start += TEAMS * AHEAD) {
    Pack key[AHEAD], value[AHEAD];
#pragma unroll
    for (int ahead = 0; ahead < AHEAD; ahead++) {
      const int slot = start + ahead * TEAMS + team;
      if (slot < range.to) {
        key[ahead] = load_pack(range.keys + (int64)slot * WIDTH + lane * PACK);
        value[ahead] = load_pack(range.values + (int64)slot * WIDTH + lane * PACK);
      } else {
        // A slot that is not in use may hold anything, and 0 · NaN is NaN.
        key[ahead] = value[ahead] = Pack{};
      }
    }
    float weight[AHEAD][HELD<COUNT>], shrink[HELD<COUNT>];
#pragma unroll
    for (int ahead = 0; ahead < AHEAD; ahead++) {
      float score[COUNT] = {};
#pragma unroll
      for (int i = 0; i < PACK; i++) {
        const float x = wide(key[ahead].at[i]);
#pragma unroll
        for (int q = 0; q < COUNT; q++) score[q] += x * query[q][i];
      }
      reduce<COUNT>(score);
      const bool real = start + ahead * TEAMS + team < range.to;
#pragma unroll
      for (int held = 0; held < HELD<COUNT>; held++) weight[ahead][held] = real ? score[held] * scale : -INFINITY;
    }
#pragma unroll
    for (int held = 0; held < HELD<COUNT>; held++) {
      float top = own.highest[held];
#pragma unroll
      for (int ahead = 0; ahead < AHEAD; ahead++) top = fmaxf(top, weight[ahead][held]);
      // Without any key so far, all differences below would be NaN.
      const bool none = top == -INFINITY;
      shrink[held] = none ? 1.f : expf(own.highest[held] - top);
      float added = 0;
#pragma unroll
      for (int ahead = 0; ahead < AHEAD; ahead++) {
        weight[ahead][held] = none ? 0.f : expf(weight[ahead][held] - top);
        added += weight[ahead][held];
      }
      own.highest[held] = top, own.total[held] = own.total[held] * shrink[held] + added;
    }
#pragma unroll
    for (int q = 0; q < COUNT; q++) {
      const float factor = from_holder<COUNT>(shrink, q);
#pragma unroll
      for (int i = 0; i < PACK; i++) own.sum[q][i] *= factor;
    }
#pragma unroll
    for (int ahead = 0; ahead < AHEAD; ahead++)
#pragma unroll
      for (int q = 0; q < COUNT; q++) {
        const float share = from_holder<COUNT>(weight[ahead], q);
#pragma unroll
        for (int i = 0; i < PACK; i++) own.sum[q][i] += share * wide(value[ahead].at[i]);
      }
  }
}

// Puts the teams' sums together and publishes the block's part of each active query: the values' sum, the highest score,
// the sum of the weights.
template <int COUNT>
DEVICE void publish_part(
    const Attended<COUNT>& own, AttendShared& shared, const Range& range, const Heads& heads, uint32 active, float* parts) {
  const int thread = threadIdx.x, team = thread / LANES, lane = thread % LANES;
#pragma unroll
  for (int q = 0; q < COUNT; q++)
    if (lane == holder<COUNT>(q)) {
      shared.highest[team][q] = own.highest[q % HELD<COUNT>];
      shared.total[team][q] = own.total[q % HELD<COUNT>];
    }
  __syncthreads();
  if (thread < COUNT) {
    float top = -INFINITY, total = 0;
    for (int i = 0; i < TEAMS; i++) top = fmaxf(top, shared.highest[i][thread]);
    for (int i = 0; i < TEAMS; i++)
      if (shared.total[i][thread] > 0) total += shared.total[i][thread] * expf(shared.highest[i][thread] - top);
    shared.top[thread] = top;
    if (active >> thread & 1) {
      float* part = parts + (place_of(range, heads, thread) * heads.splits + range.split) * (WIDTH + 2);
      publish(part + WIDTH, top), publish(part + WIDTH + 1, total);
    }
  }
  __syncthreads();
#pragma unroll
  for (int q = 0; q < COUNT; q++) {
    const float factor = shared.total[team][q] > 0 ? expf(shared.highest[team][q] - shared.top[q]) : 0.f;
#pragma unroll
    for (int i = 0; i < PACK; i++) shared.sums[q][team][lane * PACK + i] = own.sum[q][i] * factor;
  }
  __syncthreads();
  for (int at = thread; at < COUNT * WIDTH; at += ATTEND_THREADS) {
    const int q = at / WIDTH, column = at % WIDTH;
    if (!(active >> q & 1)) continue;
    float sum = 0;
    for (int i = 0; i < TEAMS; i++) sum += shared.sums[q][i][column];
    publish(parts + (place_of(range, heads, q) * heads.splits + range.split) * (WIDTH + 2) + column, sum);
  }
}

template <int COUNT>
DEVICE void attend_range(
    AttendShared& shared, const Range& range, const Heads& heads, uint32 active, const element* queries, float* parts,
    float scale) {
  Attended<COUNT> own = {};
  float query[COUNT][PACK];
#pragma unroll
  for (int q = 0; q < COUNT; q++) {
    Pack pack = {};
    if (active >> q & 1) pack = load_pack(queries + place_of(range, heads, q) * WIDTH + threadIdx.x % LANES * PACK);
#pragma unroll
    for (int i = 0; i < PACK; i++) query[q][i] = wide(pack.at[i]);
  }
#pragma unroll
  for (int held = 0; held < HELD<COUNT>; held++) own.highest[held] = -INFINITY;
  attend_keys<COUNT>(own, query, range, scale);
  publish_part<COUNT>(own, shared, range, heads, active, parts);
}

// The result of a query from its parts.
DEVICE float merged(const float* parts, int splits, int column) {
  float top = -INFINITY, total = 0, sum = 0;
  for (int i = 0; i < splits; i++) top = fmaxf(top, observe(parts + i * (WIDTH + 2) + WIDTH));
  for (int i = 0; i < splits; i++) {
    const float* part = parts + i * (WIDTH + 2);
    const float weight = observe(part + WIDTH + 1);
    // An empty part has published no sums.
    if (!(weight > 0)) continue;
    const float factor = expf(observe(part + WIDTH) - top);
    total += weight * factor, sum += observe(part + column) * factor;
  }
  return sum / total;
}

// The `nth` of `of` ranges of the slots from `begin` to `end`.
DEVICE void divide(Range& range, int begin, int end, int nth, int of) {
  const int length = max((end - begin + of - 1) / of, SHORTEST);
  range.from = min(begin + nth * length, end), range.to = min(range.from + length, end);
}

// Blocks: (prompts × tiles of its queries × prompt splits + rows × tiles of its queries × own splits) × key heads.
KERNEL(attend, ATTEND_THREADS, ATTEND_BLOCKS)
(const element* queries, const element* prompt_keys, const element* prompt_values, const int* prompt_starts,
 const int* prompt_ends, const element* keys, const element* values, const int* lengths, const int* finished,
 float* parts, uint32* arrived, element* out, int query_heads, int rows, int group, int prompt_capacity, int capacity,
 int prompt_splits, int own_splits, float scale) {
  SHARED(AttendShared, shared);
  const int key_heads = gridDim.y, key_head = blockIdx.y, repeat = query_heads / key_heads, thread = threadIdx.x;
  const Heads heads = {query_heads, key_heads, repeat, prompt_splits + own_splits};
  const int prompt_tiles = (group * repeat + QUERIES - 1) / QUERIES, own_tiles = (repeat + QUERIES - 1) / QUERIES;
  const int of_prompts = rows / group * prompt_tiles * prompt_splits;

  Range range;
  bool own = (int)blockIdx.x >= of_prompts;
  if (!own) {
    const int nth = blockIdx.x % prompt_splits, tile = blockIdx.x / prompt_splits % prompt_tiles;
    const int prompt = blockIdx.x / prompt_splits / prompt_tiles;
    const int64 base = ((int64)prompt * key_heads + key_head) * prompt_capacity * WIDTH;
    range.keys = prompt_keys + base, range.values = prompt_values + base;
    range.row = prompt * group, range.first = tile * QUERIES, range.live = min(QUERIES, group * repeat - range.first);
    range.split = nth;
    divide(range, prompt_starts[prompt], prompt_ends[prompt], nth, prompt_splits);
  } else {
    const int index = blockIdx.x - of_prompts;
    const int nth = index % own_splits, tile = index / own_splits % own_tiles, row = index / own_splits / own_tiles;
    const int64 base = (((int64)(row / group) * key_heads + key_head) * group + row % group) * capacity * WIDTH;
    range.keys = keys + base, range.values = values + base;
    range.row = row, range.first = tile * QUERIES, range.live = min(QUERIES, repeat - range.first);
    range.split = prompt_splits + nth;
    divide(range, 0, min(lengths[row] + 1, capacity), nth, own_splits);
  }

  uint32 active = 0;
  for (int q = 0; q < range.live; q++)
    if (!finished[row_of(range, heads, q)]) active |= 1u << q;
  if (active == 0) {
    if (own && range.split == prompt_splits)
      for (int at = thread; at < range.live * WIDTH; at += ATTEND_THREADS)
        store(out[place_of(range, heads, at / WIDTH) * WIDTH + at % WIDTH], 0.f);
    return;
  }

  if (range.from >= range.to) {
    if (thread < range.live && (active >> thread & 1)) {
      float* part = parts + (place_of(range, heads, thread) * heads.splits + range.split) * (WIDTH + 2);
      publish(part + WIDTH, -INFINITY), publish(part + WIDTH + 1, 0.f);
    }
  } else if (range.live == 1) {
    attend_range<1>(shared, range, heads, active, queries, parts, scale);
  } else if (range.live == 2) {
    attend_range<2>(shared, range, heads, active, queries, parts, scale);
  } else if (range.live <= 4) {
    attend_range<4>(shared, range, heads, active, queries, parts, scale);
  } else {
    attend_range<QUERIES>(shared, range, heads, active, queries, parts, scale);
  }

  // Every thread's part is visible to all blocks before the block counts as arrived.
  __threadfence();
  __syncthreads();
  if (thread < range.live) {
    bool last = false;
    if (active >> thread & 1) {
      uint32* counter = arrived + place_of(range, heads, thread);
      last = atomicAdd(counter, 1u) == (uint32)heads.splits - 1;
      if (last) *counter = 0;
    }
    shared.last[thread] = last;
  }
  __syncthreads();
  // And what the other blocks have published before they arrived is visible here.
  __threadfence();
  for (int at = thread; at < range.live * WIDTH; at += ATTEND_THREADS) {
    const int q = at / WIDTH, column = at % WIDTH;
    if (!shared.last[q]) continue;
    const int64 place = place_of(range, heads, q);
    store(out[place * WIDTH + column], merged(parts + place * heads.splits * (WIDTH + 2), heads.splits, column));
  }
}
