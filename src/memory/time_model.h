// How long a step takes (docs/memory.md): what one block costs wherever it is, and how a step is shared between CPU,
// GPU, link and disk, which work at the same time.
#pragma once

#include "memory/plan.h"

namespace metallic {

// Seconds that a step spends on one block, by what would do it.
struct BlockTime {
  double gpu = 0;       // it stays there
  double streamed = 0;  // the GPU's part, if it came through the ring
  double cpu = 0;       // in RAM
  double cpu_file = 0;  // in the ring for the disk, without a GPU
  double handover = 0;  // if CPU and GPU share it
  double link = 0;      // its copy to the GPU
  double disk = 0;      // its reading
  // Of the RAM's traffic: reads of the CPU, reads for the link, writes of what is read from disk.
  double ram_cpu = 0, ram_link = 0, ram_disk = 0;
  // Whether all steps need it, so that it can be on its way before it is wanted.
  bool ahead = true;
};
// `tokens` in the step, of one sequence or of several.
BlockTime block_time(const Block& block, const Machine& machine, double tokens);

// Whether experts that are in RAM come to the GPU when they are chosen: in steps of many tokens, through the ring; with
// few tokens the CPU multiplies by them (device_experts.cc).
inline bool copies_on_demand(double tokens, bool ring) { return ring && tokens > kFewTokens; }

// What a step has to do. Of the blocks that are ahead, in RAM and not on the GPU, the CPU multiplies by a share of the
// rows while the others go through the ring; the share is free to choose.
struct StepLoad {
  double gpu = 0;              // blocks that stay on it or come there from disk, and attention there
  double cpu = 0;              // attention, and blocks that only the CPU multiplies by
  double link = 0;             // copies in any case
  double handover = 0;         // if the CPU has any share
  double demand_handover = 0;  // of what cannot be ahead
  double demand = 0;           // copies and reads that cannot be ahead: all wait for them
  double shared_cpu = 0, shared_gpu = 0, shared_link = 0;  // the blocks to share, if the CPU or the GPU did them all
  double disk = 0;
  double ram = 0, ram_cpu = 0,
         ram_link = 0;  // traffic: in any case; of the shared blocks, if the CPU or the link read all
  double fixed = 0;
  double brought = 0;  // of gpu, what comes through the ring in any case
  double lead = 0;     // copies for which the ring has room while the GPU and the CPU are at blocks that do not need it
};
// Seconds of copies for which a ring of so many pieces has room while blocks that stay compute: one half is in use, and
// the first product behind them needs one more. Measured: docs/streaming.md.
double ring_lead(const Machine& machine, int pieces, uint64_t piece_bytes, bool few);
// In a step of few tokens copies are started when the host comes by: the fewer pieces, the less the link gets done, and
// the less CPU and link together get out of the RAM.
void slow_link(StepLoad& load, int pieces);
// The rate of the RAM is the least certain, and where it decides, ways hardly differ: among those that it makes about
// equal to the `least` of them, the one is best that is so without it. Whether that is `one`.
template <class Time>
bool is_preferred(const Time& one, const Time& other, double least) {
  constexpr double kAboutEqual = 1.05;
  return one.total <= kAboutEqual * least && (other.total > kAboutEqual * least || one.busy < other.busy);
}
// The time of a step with the best share for the CPU, which it returns in cpu_share.
enum class Sharing {
  kCpu,   // nothing can be streamed
  kLink,  // all is
  kBoth
};
StepTime step_time(const StepLoad& load, Sharing sharing, double& cpu_share);

// Attention of all layers: for one token that sees `depth` positions; for a prompt. That of the CPU of a machine with a
// GPU is beside one that does all else.
double cpu_attention_decode(const ModelSizes& sizes, const Machine& machine, double depth);
double gpu_attention_decode(const ModelSizes& sizes, const Machine& machine, double depth);
double cpu_attention_prompt(const ModelSizes& sizes, const Machine& machine, double tokens);
double gpu_attention_prompt(const ModelSizes& sizes, const Machine& machine, double tokens);

}  // namespace metallic
