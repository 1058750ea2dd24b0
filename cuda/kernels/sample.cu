// Draws the next tokens by inverting their cumulative distribution, and advances the rows.
//
// Weights are exp(logit - highest) in f32, as in a softmax; their sums are in f64, so it does not matter in which order
// they are formed. Blocks that share a row publish the sums of their ids; the last one finds the range with the drawn
// id, and sums that one again: first by threads, then by ids.

constexpr int SAMPLE_THREADS = 256;
constexpr int SAMPLE_WARPS = SAMPLE_THREADS / 32;

struct Settings {
  float factor, divisor;
  int greedy, limit;
};

struct SampleShared {
  float highest[SAMPLE_WARPS], best[SAMPLE_WARPS];
  int best_at[SAMPLE_WARPS];
  double slots[2][SAMPLE_WARPS];
  double all[SAMPLE_THREADS], weight[SAMPLE_THREADS], share[SAMPLE_THREADS], of_thread[SAMPLE_THREADS];
  double of_warp[SAMPLE_WARPS];
  double rest;
  int range, id, last;
};

// What a block has found among its ids.
struct Found {
  double all, weight;  // sums of the weights: of all ids, of those that may be drawn
  float highest;       // logit of all ids
  int best;            // id with the highest logit among those that may be drawn; the first of several
};

// One row's logits.
struct Row {
  const element* logits;
  const uint8* allowed;
  float divisor;

  DEVICE float at(int id) const { return wide(logits[id]) / divisor; }
  // The weight in the draw.
  DEVICE float weight(int id, float highest) const { return allowed[id] ? expf(at(id) - highest) : 0.f; }
};

// The first index at which the sum of the weights exceeds `rest`, which becomes what is left of it there. Where rounding
// has left too much, the last index that has a weight; -1 if none has.
DEVICE int pick(const double* weights, int count, double& rest) {
  int last = -1;
  for (int i = 0; i < count; i++) {
    if (weights[i] > rest) return i;
    rest -= weights[i];
    if (weights[i] > 0) last = i;
  }
  rest = INFINITY;
  return last;
}

DEVICE float block_highest(float x, float* slots) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, offset));
  if (lane_of_warp() == 0) slots[warp_of_block()] = x;
  __syncthreads();
  for (int warp = 0; warp < SAMPLE_WARPS; warp++) x = fmaxf(x, slots[warp]);
  return x;
}

DEVICE bool better(float logit, int id, float than, int than_id) {
  return logit > than || (logit == than && id < than_id);
}

// The best of all threads' best ids, in thread 0.
DEVICE int block_best(float logit, int id, SampleShared& shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(ALL_LANES, logit, offset);
    const int other_id = __shfl_xor_sync(ALL_LANES, id, offset);
    if (better(other, other_id, logit, id)) logit = other, id = other_id;
  }
  if (lane_of_warp() == 0) shared.best[warp_of_block()] = logit, shared.best_at[warp_of_block()] = id;
  __syncthreads();
  for (int warp = 0; warp < SAMPLE_WARPS && threadIdx.x == 0; warp++)
    if (better(shared.best[warp], shared.best_at[warp], logit, id)) logit = shared.best[warp], id = shared.best_at[warp];
  return id;
}

DEVICE Found find(const Row& row, int from, int to, SampleShared& shared) {
  Found found = {0, 0, -INFINITY, 0x7fffffff};
  for (int id = from + threadIdx.x; id < to; id += SAMPLE_THREADS) found.highest = fmaxf(found.highest, row.at(id));
  found.highest = block_highest(found.highest, shared.highest);
  float best = -INFINITY;
  for (int id = from + threadIdx.x; id < to && found.highest > -INFINITY; id += SAMPLE_THREADS) {
    const float logit = row.at(id), weight = expf(logit - found.highest);
    found.all += weight;
    if (!row.allowed[id]) continue;
    found.weight += weight;
    if (better(logit, id, best, found.best)) best = logit, found.best = id;
  }
  found.all = block_sum(found.all, shared.slots[0]);
  found.weight = block_sum(found.weight, shared.slots[1]);
  found.best = block_best(best, found.best, shared);
  return found;
}

// The id in a range at which the weights exceed `rest`.
DEVICE int draw(const Row& row, int from, int to, float highest, double rest, SampleShared& shared) {
  const int thread = threadIdx.x, length = (to - from + SAMPLE_THREADS - 1) / SAMPLE_THREADS;
  const int begin = min(from + thread * length, to), end = min(begin + length, to);
  double sum = 0;
  for (int id = begin; id < end; id++) sum += row.weight(id, highest);
  shared.of_thread[thread] = sum;
  sum = warp_sum(sum);
  if (lane_of_warp() == 0) shared.of_warp[warp_of_block()] = sum;
  __syncthreads();
  if (thread != 0) return 0;
  const int warp = pick(shared.of_warp, SAMPLE_WARPS, rest);
  if (warp < 0) return to - 1;
  const int which = warp * 32 + pick(shared.of_thread + warp * 32, 32, rest);
  int last = to - 1;
  for (int id = from + which * length; id < min(from + (which + 1) * length, to); id++) {
    const double weight = row.weight(id, highest);
    if (weight > rest) return id;
    rest -= weight;
    if (weight > 0) last = id;
  }
  return last;
}

// Blocks: splits × rows.
KERNEL(sample, SAMPLE_THREADS, 1)
(const element* logits, const uint8* allowed, const float* uniforms, const int* column, const int64* forced,
 const int64* eos, const Settings* settings, int64* ids, int* lengths, int* positions, int* finished, int64* drawn,
 float* logprobs, double* parts, uint32* arrived, int vocabulary, int eos_count, int columns, int record) {
  SHARED(SampleShared, shared);
  const int row = blockIdx.y, split = blockIdx.x, splits = gridDim.x, thread = threadIdx.x;
  if (finished[row]) return;
  const Row own = {logits + (int64)row * vocabulary, allowed, settings->divisor};
  const int length = (vocabulary + splits - 1) / splits, from = min(split * length, vocabulary);
  const Found found = find(own, from, min(from + length, vocabulary), shared);
  double* row_parts = parts + (int64)row * splits * 4;
  if (thread == 0) {
    double* part = row_parts + split * 4;
    publish(part, found.all), publish(part + 1, found.weight);
    publish(part + 2, (double)found.highest), publish(part + 3, (double)found.best);
    __threadfence();
    shared.last = atomicAdd(arrived + row, 1u) == (uint32)splits - 1;
  }
  __syncthreads();
  if (!shared.last) return;
  __threadfence();

  // A thread per range.
  const bool real = thread < splits;
  const double* part = row_parts + thread * 4;
  const float of_range = real ? (float)observe(part + 2) : -INFINITY;
  const float highest = block_highest(of_range, shared.highest);
  const double share = of_range > -INFINITY ? exp((double)of_range - (double)highest) : 0;
  shared.share[thread] = share;
  shared.all[thread] = real ? observe(part) * share : 0;
  shared.weight[thread] = real ? observe(part + 1) * share : 0;
  __syncthreads();
  const int token = lengths[row] + 1, place = token * columns + column[row];
  const bool recorded = token >= 0 && token < record;
  if (thread == 0) {
    const int64 given = forced[row];
    shared.range = -1, shared.id = vocabulary - 1;
    if (given >= 0 && given < vocabulary) {
      shared.id = (int)given;
    } else if (settings->greedy) {
      float best = -INFINITY;
      for (int i = 0; i < splits; i++) {
        const int id = (int)observe(row_parts + i * 4 + 3);
        if (id >= 0 && id < vocabulary && own.at(id) > best) best = own.at(id), shared.id = id;
      }
    } else {
      double total = 0;
      for (int i = 0; i < splits; i++) total += shared.weight[i];
      double rest = total * (recorded ? uniforms[place] : 0.5f);
      shared.range = pick(shared.weight, splits, rest);
      // From the row's weights to those of the range.
      if (shared.range >= 0) shared.rest = rest / shared.share[shared.range];
    }
  }
  __syncthreads();
  int id = shared.id;
  if (shared.range >= 0) {
    const int begin = shared.range * length;
    const float of_chosen = (float)observe(row_parts + shared.range * 4 + 2);
    id = draw(own, begin, min(begin + length, vocabulary), of_chosen, shared.rest, shared);
  }
  if (thread != 0) return;
  double all = 0;
  for (int i = 0; i < splits; i++) all += shared.all[i];
  if (recorded) {
    drawn[place] = id;
    logprobs[place] = (float)((double)own.at(id) - (double)highest - log(all));
  }
  bool ended = false;
  for (int i = 0; i < eos_count; i++) ended |= eos[i] == id;
  ids[row] = id, lengths[row] = token, positions[row] += 1;
  finished[row] = ended ? 1 : token + 1 >= min(settings->limit, record) ? 2 : 0;
  arrived[row] = 0;
}
