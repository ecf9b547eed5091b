// Where every block of a model's weights lives, and what that costs: types, and the planner over them. Pure: sizes and
// budgets in, a plan out; nothing is opened, measured or allocated here.
//
// The model of time is written down in docs/memory.md. All rates are bytes or operations a second, all times seconds;
// a rate of 0 is not known.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metallic/engine.h"
#include "metallic/result.h"

namespace metallic {

enum class BlockKind {
  kAttention,    // the projections of a layer's attention, with its norms
  kFeedForward,  // of a layer; in a mixture the router and the shared expert
  kExpert,       // one expert of one layer
  kEmbedding,    // looked up, a row for each token; a tied one is the head, too, and counts as kHead
  kHead,
};
const char* block_kind_name(BlockKind kind);

// Weights that have one place. Sizes are those of the whole block.
struct Block {
  BlockKind kind = BlockKind::kFeedForward;
  int layer = -1;            // -1: of no layer
  int expert = -1;           // its number in the layer; -1: no expert
  int slices = 1;            // parts of equally many rows (outputs) that may have places of their own
  std::vector<int> tensors;  // indices in GgufFile::tensors(); of stacked experts, this expert's part of each
  uint64_t file_bytes = 0;   // as the file has them
  uint64_t cpu_bytes = 0;    // in RAM, as the CPU multiplies by them (packed panels, or the file's rows)
  uint64_t gpu_bytes = 0;    // in the GPU's memory (planes, or the file's rows)
  double read_share = 1;     // of the bytes, that one use reads: 1 for what is multiplied, less for what is looked up
  double operations = 0;     // multiplications and additions for each token that uses it
  double use = 1;            // probability that a token uses it
  double products = 2;       // operations that multiply by it, of which each waits for the one before
};

struct ModelSizes {
  std::string name;
  int layers = 0;
  int context_length = 0;  // positions it was trained on
  std::vector<Block> blocks;
  bool packed = true;                // what blocks take in RAM is their size in panels, not in the file
  uint64_t kv_token_bytes = 0;       // keys and values of one position of one layer, in the formats chosen
  int page_tokens = 1;               // the cache of a sequence is whole pages of so many positions
  double attention_operations = 0;   // of one layer, for one token and one position it sees
  uint64_t attention_row_bytes = 0;  // of queries, keys, values and results of one layer, for each token
  uint64_t activation_row_bytes = 0, activation_fixed_bytes = 0;  // for each token of a step; for the logits
  uint64_t sorted_row_bytes = 0;                                  // beside them, where experts are copied to a GPU
};

// What there is to compute with. Rates named after a device are measured of it alone; those of decoding and of prompts
// are what our kernels reach for the model at hand, in whole layers where they could be measured so.
struct Machine {
  std::string name;

  uint64_t ram_bytes = 0;       // free for metallic
  double ram_rate = 0;          // read by all threads
  double ram_traffic_rate = 0;  // reads of the CPU and copies of GPU and disk together
  double cpu_rate = 0;          // operations: integer dot products of all threads
  double cpu_decode_rate = 0;   // bytes of weights, multiplied by one token
  double cpu_prompt_rate = 0;   // operations, of many tokens
  double cpu_head_rate = 0;     // as cpu_decode_rate
  double cpu_file_rate = 0;     // likewise, of rows as the file has them, which are packed for each use
  double cpu_product_rate = 0;  // likewise, of single products, while the link copies from RAM
  double cpu_attention_rate = 0, cpu_attention_operation_rate = 0;  // bytes of keys and values; operations, of prompts
  double cpu_block_seconds = -1;                                    // of a block beside that; negative: not known

  bool has_gpu = false;
  std::string gpu_name;
  uint64_t gpu_bytes = 0;           // free, before a context was made
  uint64_t gpu_context_bytes = 0;   // that the CUDA context, its libraries and graphs take
  double gpu_rate = 0;              // read from its memory
  double gpu_operation_rate = 0;    // operations of dense 16-bit matrix products
  double gpu_decode_rate = 0;       // bytes of weights, multiplied by one token
  double gpu_prompt_rate = 0;       // operations, of kUsualStep tokens in a step
  double gpu_long_prompt_rate = 0;  // of those beyond that
  double gpu_head_rate = 0;         // as for the CPU, these four
  double gpu_attention_rate = 0, gpu_attention_operation_rate = 0;
  double gpu_block_seconds = -1;
  double link_rate = 0;         // host to device, pinned
  double link_shared_rate = 0;  // likewise, while the CPU multiplies by weights in RAM
  double handover_seconds = 0;  // inputs of a product to the CPU and its outputs back

  double disk_rate = 0;  // reads of the model's file past the page cache
};
// Tokens of the steps of prompts that are measured; of those that follow in a longer step a GPU does more a second.
inline constexpr int kUsualStep = 512;
// With estimates in place of the rates that are not known: docs/memory.md lists them.
Machine with_defaults(Machine machine);

// Tokens of a step up to which the CPU has its share of blocks that are not on the GPU, where there is a ring: beyond,
// a copy for all of them is faster than its arithmetic.
inline constexpr int kFewTokens = 8;

// What the user asked for. 0 or kAuto: the planner chooses.
struct Constraints {
  // --gpu-memory: at most so much of the GPU, the context included; 0: what is free less a margin
  uint64_t gpu_bytes = 0;
  uint64_t ram_bytes = 0;  // --ram: likewise
  bool no_gpu = false, needs_gpu = false;
  bool no_disk = false;        // everything must be in memory
  int gpu_layers = -1;         // -ngl: so many layers wholly on the GPU, the head too if more than all; -1: auto
  int context = 0;             // exactly this, or an error; 0: the model's own, less where it does not fit
  int longest_context = 4096;  // of an automatic one
  int batch_rows = 0;          // tokens of a step at most; 0: 512, or more where weights are streamed
  int sequences = 1;           // that run at the same time, each with the whole context
  int64_t kv_tokens = 0;       // but all together with so many positions at most; 0: no limit
  KvOffload kv_offload = KvOffload::kAuto;
  bool kv_with_gpu = false;  // where a GPU computes, keys and values are in its memory, unless kv_offload is kOff
  uint64_t draft_bytes = 0;  // of a draft model with its cache; it stays on the GPU if that is used
  int prompt_tokens = 512;   // the request whose time is made least: prompt and answer
  int answer_tokens = 256;   // every fourth such request has a prompt four times as long
};

// What the planner lays aside for the program itself, and leaves to others of what is free where no budget was given.
uint64_t program_bytes();
uint64_t default_budget(uint64_t free_bytes);

// Where rows of a block live and who multiplies by them. Rows are counted in shares of 0 to 1, in the order: those that
// stay on the GPU (a whole number of slices), those that go through the ring, those that the CPU multiplies by.
enum class Place {
  kGpu,       // all rows stay on the GPU
  kCpu,       // all rows are in RAM and the CPU multiplies by them
  kSplit,     // the GPU has some rows or gets them through the ring, the CPU multiplies by the others at the same time
  kStreamed,  // in RAM, copied to the GPU through the ring for each step
  kDisk,      // read from the file for each step, into the RAM ring; from there like the others
};
const char* place_name(Place place);

enum class Reason {
  kFastest,     // there is room where it is read fastest
  kNoGpu,       // there is none, or it must not be used
  kGpuFull,     // it would be faster on the GPU, whose budget is used up
  kGpuSlower,   // the CPU is as fast
  kLinkHelps,   // the link brings rows while the CPU multiplies by others
  kNoHandOver,  // a copy costs less than the hand-overs of sharing
  kRamFull,     // neither GPU nor RAM have room
  kLookup,      // only a row for each token is read
  kSeldomUsed,  // an expert that few tokens use: others are worth more room
  kAsked,       // -ngl and the like
};
const char* reason_text(Reason reason);

struct Placement {
  Place place = Place::kCpu;
  Reason reason = Reason::kFastest;
  float gpu = 0;         // share of the rows that stay on the GPU
  bool disk = false;     // the other rows are read from disk, not from RAM
  float decode_cpu = 0;  // share of the rows that the CPU multiplies by when decoding; what is left is streamed
  float prompt_cpu = 0;  // the same when a step has many tokens
};

// What a budget is spent on. Sums to at most the budget.
struct Spending {
  uint64_t budget = 0;
  uint64_t weights = 0, kv = 0, activations = 0, ring = 0, context = 0, draft = 0;
  uint64_t total() const { return weights + kv + activations + ring + context + draft; }
};

// Seconds of one step, by what works; they overlap, `total` is what is waited for.
struct StepTime {
  double total = 0;
  double busy = 0;  // the same if the RAM were fast enough for all of them
  double cpu = 0, gpu = 0, link = 0, disk = 0;
  double handover = 0;  // of products, between CPU and GPU
  double fixed = 0;     // of the step as a whole
};

// A change, and how many times faster the request would be.
struct Advice {
  std::string change;  // "2.1 GB more GPU memory"
  double factor = 1;
};

struct Plan {
  std::vector<Placement> places;  // of ModelSizes::blocks, in their order
  std::vector<bool> kv_on_gpu;    // (layers)
  int context = 0, batch_rows = 0, sequences = 1;
  bool context_shrunk = false;  // shorter than it would be with more memory

  Spending gpu, ram;
  // Blocks go through a ring of `pieces` equal pieces; 0 bytes: nothing is copied.
  uint64_t gpu_ring_bytes = 0, gpu_piece_bytes = 0;    // in the GPU's memory
  uint64_t disk_ring_bytes = 0, disk_piece_bytes = 0;  // in RAM, pinned and aligned

  StepTime decode;            // one token of one sequence, with half of the context filled, at most the prompt
  double prompt_seconds = 0;  // time to first token of a prompt of `prompt_tokens`
  int prompt_tokens = 0;
  double long_prompt_seconds = 0;  // of one four times as long
  double request_seconds = 0;      // prompt and answer of the constraints: what the plan makes least

  std::vector<Advice> advice;  // best first; made by advise()

  bool uses_gpu() const { return gpu.total() > 0; }
  double tokens_per_second() const { return decode.total > 0 ? 1 / decode.total : 0; }
};

// kInvalidArgument for constraints that contradict themselves, kOutOfMemory if the model cannot run within the budgets:
// it says what is missing.
Result<Plan> make_plan(const ModelSizes& sizes, const Machine& machine, const Constraints& constraints);

// Whether all weights stay where they are computed with, so that nothing has to be brought.
bool all_stay(const Plan& plan);
bool reads_disk(const Plan& plan);
// Whether a GPU computes, but keys and values are in RAM, with attention over them done by the CPU.
bool kv_beside_gpu(const Plan& plan);
// What the ring in RAM takes, if anything is read from disk.
uint64_t disk_ring_bytes(const ModelSizes& sizes);

// Changes that would help, best first: made by planning for each of them.
std::vector<Advice> advise(const ModelSizes& sizes, const Machine& machine, const Constraints& constraints,
                           const Plan& plan);

}  // namespace metallic
