// A model that is in use, and whose weights may move meanwhile: between two steps to where a plan within other budgets
// wants them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/load_model.h"
#include "model/forward.h"

namespace metallic {

// What a LiveModel asks its machine; tests answer otherwise.
struct Surroundings {
  ReaderFactory make_reader = make_file_reader;
  std::function<uint64_t()> free_gpu_bytes, free_ram_bytes;  // 0: not known
  std::function<uint64_t()> own_ram_bytes;                   // that this process has taken; 0: all that is planned
  std::function<double()> ram_stalls;  // share of the last seconds in which somebody stood still for want of RAM
  std::chrono::milliseconds look_every{1000};
  int host_threads = 0;
  uint64_t least_step = uint64_t{16} << 20;  // bytes of weights that a shortage takes away at a time
};
// Of this machine.
Surroundings real_surroundings();

// One thread at a time. References to model() and decoder() are good until something moves; what the model's
// tokenizer() and chat_template() gave stays.
class LiveModel {
 public:
  // For batches of up to `rows` tokens and sequences of up to `context`. Errors of Decoder::create().
  static Result<std::unique_ptr<LiveModel>> create(PlacedModel placed, int rows, int context,
                                                   Surroundings surroundings);

  // kOutOfMemory after nothing could be placed any more.
  Status usable() const;
  const std::shared_ptr<const Model>& model() const { return model_; }
  Decoder& decoder() { return *decoder_; }
  const std::optional<PlannedModel>& planned() const { return planned_; }
  int moves() const { return moves_; }

  // The calls below move weights if that is called for; no step may be under way. Where a plan turns out not to fit,
  // one with less is made, down to no weights in memory at all.

  // Other budgets from now on. An error before anything moved: kUnsupported for a model that is not planned,
  // kInvalidArgument and kOutOfMemory as make_plan().
  Status set_budgets(const MemoryOptions& memory);
  // An allocation failed: less than now. kOutOfMemory if there is nothing left to give.
  Status shrink();
  // Whether it is time to ask if another process has taken memory of the GPU or RAM, so that less should be used, or
  // has given so much back that more could be; and doing that.
  bool should_look();
  Status look();
  // The same for experts of a mixture: whether enough choices have been counted to ask if others should stay.
  bool should_follow_experts() const;
  Status follow_experts();
  // "experts    81 % of 5,120 choices …": what was counted since they moved; empty where nothing is.
  std::string experts_text() const;

 private:
  LiveModel(PlacedModel placed, int rows, int context, Surroundings surroundings);
  Result<Plan> plan_within(const Constraints& asked) const;
  Status move_to(Plan plan, Constraints asked, const std::string& why);
  Status place(const Plan& plan);
  Status make_decoder();
  bool less(Constraints& asked) const;
  // A memory that others take from, too.
  struct Watched {
    const char* name;
    Spending Plan::*spending;
    uint64_t Constraints::*budget;
    std::function<uint64_t()> Surroundings::*free;
    uint64_t asked = 0;  // by whoever uses the model; 0: what is free
    int looks_at_plenty = 0;
  };
  bool is_watched(const Watched& memory) const;
  bool is_short(const Watched& memory) const;
  Status look_at(Watched& memory);
  uint64_t least_use(const Watched& memory) const;
  uint64_t for_this_and_free(const Watched& memory, uint64_t free) const;
  bool on_gpu() const { return planned_ && planned_->plan.uses_gpu(); }

  std::shared_ptr<const Model> model_;
  std::optional<PlannedModel> planned_;
  std::unique_ptr<Decoder> decoder_;
  ModelParts parts_;
  int rows_, context_;
  Surroundings surroundings_;
  Watched gpu_{"memory of the GPU", &Plan::gpu, &Constraints::gpu_bytes, &Surroundings::free_gpu_bytes};
  Watched ram_{"RAM", &Plan::ram, &Constraints::ram_bytes, &Surroundings::free_ram_bytes};
  std::chrono::steady_clock::time_point looked_;
  int moves_ = 0;
  uint64_t next_choices_ = 0;  // counted, when experts are looked at again
  std::optional<Error> broken_;
};

}  // namespace metallic
