// Runs the blocks of a launch on one thread of the host.
//
// Threads are fibers that are switched at barriers, shuffles, fences and atomic operations. Between blocks, memory is as
// weak as CUDA allows, and always at its worst: what a thread publishes is seen by other blocks only once a fence has
// followed it, by that thread or by one of its block behind a barrier; and what a thread observes is as old as its last
// fence (or that of a thread of its block before a barrier). So a missing fence is noticed in every order, and a missing
// barrier before an atomic operation in those in which the other threads of the block are held back there.

#include "machine.h"

#include <memory>
#include <random>
#include <unordered_map>
#include <vector>

#include <sys/mman.h>

// Saves the registers that a call keeps and the stack pointer, and goes on where another fiber has stopped.
extern "C" void emulated_switch(void** from, void* to);
asm(R"(
.text
.type emulated_switch, @function
.hidden emulated_switch
.globl emulated_switch
emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulated_switch, .-emulated_switch
)");

namespace emulated {

dim3 thread_index, block_index, block_size, grid_size;
unsigned order = 0;

namespace {

constexpr size_t STACK = 64 << 10;
constexpr size_t ARENA = 48 << 10;   // what a block may have without asking for more
constexpr size_t TOGETHER = 6;       // blocks that alternate

struct Write {
  void* place;
  size_t bytes;
  uint64 bits;
};

struct Barrier {
  unsigned arrived = 0, generation = 0;
  int line = 0;
};

struct Block {
  dim3 index;
  unsigned alive = 0;
  unsigned warp_alive[32];
  Barrier whole, warps[32];
  uint64 slots[2][1024];
  alignas(16) char memory[ARENA];
  std::vector<Write> unpublished;                  // seen by the whole block, not yet by others
  std::unordered_map<const void*, uint64> seen;    // all that the block has written and met at a barrier
  int only = -1;                                   // the thread that goes on while the others are held back
};

struct Fiber {
  void* stack = nullptr;
  void* top = nullptr;
  bool done = false;
  Block* block = nullptr;
  unsigned index = 0;
  Barrier* waits_for = nullptr;
  unsigned generation = 0, rests_until = 0;
  bool held = false;  // until nothing else can run
  bool odd = false;  // which of the two slots the next shuffle uses
  std::vector<Write> own;
  uint64 view = 0;   // the time of its last fence
};

std::vector<std::unique_ptr<Fiber>> fibers;
Fiber* running = nullptr;
std::vector<Fiber*> turns;
void* scheduler = nullptr;
const std::function<void()>* body = nullptr;
std::string error;
std::mt19937 chance;
uint64 now = 0;
std::unordered_map<const void*, std::vector<std::pair<uint64, uint64>>> history;  // of a place: time and bits
std::vector<Write> written;                                                        // in the order of their fences

bool shuffled() { return order > 1; }

void pass_on() { emulated_switch(&running->top, scheduler); }

// Does not return.
void fail(const std::string& why) {
  if (error.empty()) error = why;
  running->done = true;
  pass_on();
}

void commit(std::vector<Write>& writes) {
  for (const Write& write : writes) history[write.place].emplace_back(now, write.bits), written.push_back(write);
  writes.clear();
}

void release(Barrier& barrier) { barrier.arrived = 0, barrier.line = 0, barrier.generation++; }

// All threads of the block have met: each sees what the others have written and observed.
void meet(Block& block) {
  uint64 view = 0;
  for (Fiber* fiber : turns)
    if (fiber->block == &block) {
      view = std::max(view, fiber->view);
      for (const Write& write : fiber->own) block.seen[write.place] = write.bits, block.unpublished.push_back(write);
      fiber->own.clear();
    }
  for (Fiber* fiber : turns)
    if (fiber->block == &block) fiber->view = view;
  release(block.whole);
}

void wait(Barrier& barrier) {
  running->waits_for = &barrier, running->generation = barrier.generation;
  pass_on();
}

void run_thread() {
  (*body)();
  // Threads that have left are not waited for.
  Block& block = *running->block;
  const unsigned warp = running->index / 32;
  running->done = true;
  if (--block.alive == block.whole.arrived && block.alive) meet(block);
  if (--block.warp_alive[warp] == block.warps[warp].arrived && block.warp_alive[warp]) release(block.warps[warp]);
  pass_on();
}

void start(Fiber& fiber, Block* block, unsigned index) {
  void* stack = fiber.stack;
  fiber = Fiber();
  if (!stack) {
    stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) throw Failure("no memory for the stacks of emulated threads");
  }
  fiber.stack = stack, fiber.block = block, fiber.index = index, fiber.view = 0;
  // As emulated_switch leaves a stack: six registers, then where to go on; aligned as behind a call.
  void** top = reinterpret_cast<void**>(static_cast<char*>(stack) + STACK) - 2;
  top[0] = reinterpret_cast<void*>(&run_thread);
  fiber.top = top - 6;
}

void resume(Fiber* fiber) {
  running = fiber, fiber->waits_for = nullptr;
  thread_index = {fiber->index, 0, 0}, block_index = fiber->block->index;
  emulated_switch(&scheduler, fiber->top);
}

bool can_run(const Fiber& fiber) {
  return !fiber.done && !(fiber.waits_for && fiber.waits_for->generation == fiber.generation);
}

// Lets threads that were held back go on. Returns whether there were any.
bool free_all(std::vector<std::unique_ptr<Block>>& blocks) {
  bool any = false;
  for (auto& block : blocks) any |= block->only >= 0, block->only = -1;
  for (Fiber* fiber : turns) any |= fiber->held, fiber->held = false;
  return any;
}

void run_together(std::vector<std::unique_ptr<Block>>& blocks, unsigned threads) {
  turns.clear();
  while (fibers.size() < blocks.size() * threads) fibers.push_back(std::make_unique<Fiber>());
  for (auto& block : blocks)
    for (unsigned index = 0; index < threads; index++) {
      Fiber* fiber = fibers[turns.size()].get();
      start(*fiber, block.get(), index);
      turns.push_back(fiber);
    }
  if (order == 1) std::reverse(turns.begin(), turns.end());
  std::vector<Fiber*> queue = turns;
  for (unsigned round = 0;; round++) {
    if (shuffled()) std::shuffle(queue.begin(), queue.end(), chance);
    bool live = false, progress = false;
    for (Fiber* fiber : queue) {
      live |= !fiber->done;
      if (!can_run(*fiber)) continue;
      if (fiber->held || (fiber->block->only >= 0 && fiber->block->only != (int)fiber->index)) continue;
      progress = true;
      if (round < fiber->rests_until) continue;
      if (shuffled() && chance() % 64 == 0)
        fiber->rests_until = round + chance() % 50;
      else
        resume(fiber);
      if (!error.empty()) throw Failure(error);
    }
    if (!live) return;
    if (!progress && !free_all(blocks)) throw Failure("some threads wait at a barrier that others never reach");
  }
}

}  // namespace

void* arena(size_t bytes) {
  if (bytes > ARENA) fail("a block shares more than 48 KiB");
  return running->block->memory;
}

unsigned lane() { return running->index % 32; }

void barrier(int line) {
  Block& block = *running->block;
  if (block.whole.arrived && block.whole.line != line)
    fail("threads of a block wait at different barriers: lines " + std::to_string(block.whole.line) + " and " +
         std::to_string(line));
  block.whole.line = line;
  if (++block.whole.arrived == block.alive) return meet(block);
  wait(block.whole);
}

void fence() {
  pass_on();
  now++;
  Block& block = *running->block;
  for (const Write& write : running->own) block.seen[write.place] = write.bits;
  commit(block.unpublished);
  commit(running->own);
  running->view = now;
}

// Two slots in turn: a lane can be ahead of another by one shuffle, not by two.
uint64 shuffle(uint64 bits, unsigned source) {
  Block& block = *running->block;
  const unsigned warp = running->index / 32, slot = running->odd;
  running->odd = !running->odd;
  if (block.warp_alive[warp] != 32) fail("a shuffle in a warp of which some lanes have left");
  block.slots[slot][running->index] = bits;
  if (++block.warps[warp].arrived == block.warp_alive[warp])
    release(block.warps[warp]);
  else
    wait(block.warps[warp]);
  return block.slots[slot][warp * 32 + source];
}

uint32 add(uint32* place, uint32 x) {
  // Now and then, all others go first: what they publish after this thread's fence, it need not see.
  running->held = shuffled() && chance() % 2;
  pass_on();
  const uint32 before = *place;
  *place = before + x;
  // Now and then, this thread alone goes on, as long as any other block can.
  if (shuffled() && chance() % 2) running->block->only = running->index;
  pass_on();
  return before;
}

void write(void* place, size_t bytes, uint64 bits) { running->own.push_back({place, bytes, bits}); }

uint64 read(const void* place, size_t bytes) {
  for (auto own = running->own.rbegin(); own != running->own.rend(); ++own)
    if (own->place == place) return own->bits;
  auto seen = running->block->seen.find(place);
  if (seen != running->block->seen.end()) return seen->second;
  auto past = history.find(place);
  if (past != history.end())
    for (auto entry = past->second.rbegin(); entry != past->second.rend(); ++entry)
      if (entry->first <= running->view) return entry->second;
  uint64 bits = 0;
  memcpy(&bits, place, bytes);
  return bits;
}

void launch(const std::function<void()>& kernel, dim3 grid, unsigned threads) {
  body = &kernel, grid_size = grid, block_size = {threads, 1, 1};
  error.clear(), history.clear(), written.clear(), now = 0, chance.seed(order);
  std::vector<size_t> places((size_t)grid.x * grid.y * grid.z);
  for (size_t i = 0; i < places.size(); i++) places[i] = i;
  if (order == 1) std::reverse(places.begin(), places.end());
  if (shuffled()) std::shuffle(places.begin(), places.end(), chance);
  const size_t together = shuffled() ? TOGETHER : 1;
  std::vector<std::unique_ptr<Block>> blocks;
  for (size_t next = 0; next < places.size(); next += together) {
    const size_t count = std::min(together, places.size() - next);
    while (blocks.size() < count) blocks.push_back(std::make_unique<Block>());
    blocks.resize(count);
    for (size_t i = 0; i < count; i++) {
      Block& block = *blocks[i];
      const size_t place = places[next + i];
      block.index = {unsigned(place % grid.x), unsigned(place / grid.x % grid.y), unsigned(place / grid.x / grid.y)};
      block.alive = threads, block.whole = Barrier(), block.only = -1;
      block.unpublished.clear(), block.seen.clear();
      std::fill(block.warps, block.warps + 32, Barrier());
      std::fill(block.warp_alive, block.warp_alive + 32, 32);
      // Numbers that are NaN, or 0.
      memset(block.memory, order % 2 ? 0 : 0xff, ARENA);
    }
    run_together(blocks, threads);
    // A block that has ended is not waited for, but nothing says that others see what it left without a fence.
    for (Fiber* fiber : turns) {
      for (const Write& write : fiber->own) fiber->block->unpublished.push_back(write);
      fiber->own.clear();
    }
    for (auto& block : blocks) {
      written.insert(written.end(), block->unpublished.begin(), block->unpublished.end());
      block->unpublished.clear();
    }
  }
  // The end of a launch publishes everything.
  for (const Write& write : written) memcpy(write.place, &write.bits, write.bytes);
}

}  // namespace emulated
