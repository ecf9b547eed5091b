// The engine: requests become sequences, sequences become batches, logits become tokens and text.
#include "metallic/engine.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "engine/evaluator.h"
#include "engine/key_biases.h"
#include "engine/kv_pages.h"
#include "engine/kv_swap.h"
#include "engine/live_model.h"
#include "engine/load_model.h"
#include "engine/make_engine.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "memory/explain.h"
#include "model/model.h"

namespace metallic {
namespace {

constexpr int kDefaultContext = 4096;

Status check_engine_options(const EngineOptions& options) {
  if (options.context < 0 || options.batch_rows < 0 || options.max_sequences < 1)
    return fail(ErrorCode::kInvalidArgument, "a context of {}, a batch of {} and {} sequences: all must be positive",
                options.context, options.batch_rows, options.max_sequences);
  return {};
}

class EngineImpl final : public Engine {
 public:
  EngineImpl(std::unique_ptr<LiveModel> live, KvCache cache, EngineInfo info, const EngineOptions& options)
      : live_(std::move(live)),
        cache_(std::move(cache)),
        pages_(cache_.pages(), cache_.page_tokens()),
        swap_(live_->model()->kv_backend(), cache_, options.memory.kv_swap_bytes),
        grows_(cache_.pages() < pages_for(info.context) * options.max_sequences),
        info_(std::move(info)),
        options_(options) {}

  const EngineInfo& info() const override { return info_; }
  void add_load_seconds(double seconds) { info_.load_seconds += seconds; }
  std::string explain(bool json) const override {
    if (!live_->planned()) return "";
    const PlannedModel& planned = *live_->planned();
    if (json) return explain_json(planned.sizes, planned.machine, planned.plan);
    const std::string experts = live_->experts_text();
    return explain_text(planned.sizes, planned.machine, planned.plan) +
           (experts.empty() ? "" : "experts    " + experts + "\n");
  }
  Status set_memory(const MemoryOptions& memory) override;
  Result<const Tokenizer*> tokenizer() const override {
    METALLIC_TRY(live_->usable());
    return model().tokenizer();
  }
  Result<const ChatTemplate*> chat_template() const override {
    METALLIC_TRY(live_->usable());
    return model().chat_template();
  }
  Result<std::vector<TokenId>> chat_prompt(std::span<const ChatMessage> messages) const override;
  Result<RequestId> submit(Request request) override;
  Status step() override;
  EngineStatistics statistics() const override;
  bool idle() const override { return waiting_.empty() && running_.empty() && suspended_.empty(); }
  Result<Completion> take(RequestId id) override;
  Result<Completion> generate(Request request) override;
  Status evaluate(std::span<const TokenId> tokens, int first,
                  const std::function<bool(int, std::span<const float>)>& sink) override;

 private:
  const Model& model() const { return *live_->model(); }
  Decoder& decoder() const { return live_->decoder(); }
  bool nobody_waits();
  Status move_weights(const std::function<Status()>& move);
  Status make_step();
  void admit();
  int positions_wanted(const Sequence& sequence) const;
  void make_room();
  void suspend_last();
  bool resume_first();
  void finish_stopped();
  // A step, and whose it is, by the order of step.sequences and step.finished.
  struct Planned {
    Step step;
    std::vector<RequestId> sequences, finished;
  };
  Planned plan_step();
  bool can_run_ahead(const Planned& planned) const;
  Planned plan_behind(const Planned& planned);
  Status evaluate_step();
  Status run_ahead();
  Status discard_under_way();
  Status advance(const Planned& planned);
  std::unique_ptr<Sequence>* find_running(RequestId id);
  void finish(std::unique_ptr<Sequence>& sequence);
  void abandon_all();

  std::unique_ptr<LiveModel> live_;
  KvCache cache_;
  KvPages pages_;
  KvSwap swap_;
  const bool grows_;  // sequences get pages as they come to need them: there are not enough for all that may be
  EngineInfo info_;
  EngineOptions options_;
  RequestId next_id_ = 1;
  std::vector<std::unique_ptr<Sequence>> waiting_, running_;
  // Those that began and wait for pages, the oldest first, with what they have computed.
  struct Suspended {
    std::unique_ptr<Sequence> sequence;
    SwappedPages pages;  // none: it is computed again
  };
  std::vector<Suspended> suspended_;
  EngineStatistics statistics_;
  std::map<RequestId, Completion> finished_;
  std::vector<SampleRow> choosing_;
  Choices choices_;
  int steps_on_host_ = 0;             // that do not try to run ahead
  std::optional<Planned> under_way_;  // what the backend computes already; its tokens may be those of the step before
};

Result<std::vector<TokenId>> EngineImpl::chat_prompt(std::span<const ChatMessage> messages) const {
  METALLIC_ASSIGN(const Tokenizer* tokenizer, this->tokenizer());
  METALLIC_ASSIGN(const ChatTemplate* chat, chat_template());
  const auto text_of = [&](TokenId id) { return id == kNoToken ? std::string() : tokenizer->piece(id, true); };
  ChatOptions options;
  options.bos_token = text_of(tokenizer->vocab().bos);
  options.eos_token = text_of(tokenizer->vocab().eos);
  const auto rendered = chat->render(messages, options);
  if (!rendered) return fail_while(model().file().path(), rendered.error());
  const std::string& text = *rendered;
  // A template that writes BOS itself must not get a second one.
  const bool has_bos = !options.bos_token.empty() && text.starts_with(options.bos_token);
  EncodeOptions encode;
  encode.add_special = !has_bos;
  METALLIC_ASSIGN(std::vector<TokenId> ids, tokenizer->encode(text, encode));
  // An end-of-sequence token that the vocabulary appends would end the conversation before the answer.
  if (encode.add_special && tokenizer->vocab().add_eos && !ids.empty() && ids.back() == tokenizer->vocab().eos)
    ids.pop_back();
  return ids;
}

Result<RequestId> EngineImpl::submit(Request request) {
  if (request.prompt.empty())
    return fail(ErrorCode::kInvalidArgument, "the prompt is empty: at least one token is needed");
  METALLIC_TRY(check_token_ids(request.prompt, info_.vocab));
  if (request.max_tokens < -1)
    return fail(ErrorCode::kInvalidArgument, "max_tokens is {}; it must be at least 0, or -1 for no limit",
                request.max_tokens);
  if (request.prompt.size() >= size_t(info_.context))
    return fail(ErrorCode::kOutOfRange,
                "the prompt has {} tokens, which leaves no room for an answer in a context of {}; shorten it or ask "
                "for a larger context (-c)",
                request.prompt.size(), info_.context);
  METALLIC_TRY(live_->usable());
  const auto tokenizer = model().tokenizer();
  METALLIC_ASSIGN(
      std::unique_ptr<Sequence> sequence,
      Sequence::create(next_id_, std::move(request), tokenizer ? *tokenizer : nullptr, info_.context, info_.vocab));
  waiting_.push_back(std::move(sequence));
  return next_id_++;
}

// Positions that must have a page before the next step: of all tokens, and of one more where the step after that begins
// before this one's choice is known.
int EngineImpl::positions_wanted(const Sequence& sequence) const {
  if (!grows_) return sequence.capacity();
  return std::min(int(sequence.tokens().size()) + 1, sequence.capacity());
}

// Starts waiting requests, in their order, as long as there are pages: for all they may need, or, where there are not
// so many, for what they need now and a page for each that runs already. Who was suspended goes first.
void EngineImpl::admit() {
  while (int(running_.size()) < options_.max_sequences && resume_first()) {
  }
  if (!suspended_.empty()) return;
  while (!waiting_.empty() && int(running_.size()) < options_.max_sequences) {
    Sequence& next = *waiting_.front();
    auto lease = pages_.take(next.tokens(), positions_wanted(next), grows_ ? int(running_.size()) : 0);
    if (!lease) return;
    next.start(std::move(*lease));
    running_.push_back(std::move(waiting_.front()));
    waiting_.erase(waiting_.begin());
  }
}

// Pages for the next step of all that run. Where they are not enough, the youngest waits; the oldest always finds some,
// since there are pages for one whole context.
void EngineImpl::make_room() {
  if (!grows_) return;
  for (size_t i = 0; i < running_.size(); ++i)
    while (i < running_.size() && !pages_.grow(running_[i]->lease(), positions_wanted(*running_[i]))) suspend_last();
}

// Its keys and values go to the host's memory; where there is no room, or the copy fails, they are computed again.
void EngineImpl::suspend_last() {
  (void)discard_under_way();
  Suspended last{std::move(running_.back()), {}};
  running_.pop_back();
  Sequence& sequence = *last.sequence;
  PageLease lease = sequence.suspend();
  const int filled = pages_for(sequence.computed());
  auto swapped = filled > 0 ? swap_.out(std::span(lease.pages).first(size_t(filled)))
                            : Result<SwappedPages>(tl::unexpected<Error>(Error{}));
  if (swapped) last.pages = std::move(*swapped);
  ++(swapped ? statistics_.kv_swapped_out : statistics_.kv_dropped);
  log(LogLevel::kInfo, "request {} waits for KV pages; {} of its tokens {}", sequence.id(), sequence.computed(),
      swapped ? "are kept in the host's memory" : "will be computed again");
  pages_.give_back(lease);
  suspended_.insert(suspended_.begin(), std::move(last));
}

// False if nobody waits or there are too few pages.
bool EngineImpl::resume_first() {
  if (suspended_.empty()) return false;
  Suspended& first = suspended_.front();
  Sequence& sequence = *first.sequence;
  auto lease = pages_.take(sequence.tokens(), positions_wanted(sequence), int(running_.size()));
  if (!lease) return false;
  int computed = lease->cached_tokens;
  if (first.pages.count() > 0 && computed < sequence.computed()) {
    const int known = computed / pages_.page_tokens(), kept = first.pages.count() - known;
    const Status back = swap_.in(first.pages, known, std::span(lease->pages).subspan(size_t(known), size_t(kept)));
    if (back) computed = sequence.computed();
    ++(back ? statistics_.kv_swapped_in : statistics_.kv_dropped);
  }
  sequence.resume(std::move(*lease), computed);
  pages_.mark_computed(sequence.lease(), sequence.tokens(), computed);
  running_.push_back(std::move(first.sequence));
  suspended_.erase(suspended_.begin());
  return true;
}

EngineStatistics EngineImpl::statistics() const {
  EngineStatistics now = statistics_;
  now.weight_moves = uint64_t(live_->moves());
  now.kv_swap_bytes = swap_.bytes_used();
  return now;
}

void EngineImpl::finish_stopped() {
  for (auto* list : {&waiting_, &running_})
    for (std::unique_ptr<Sequence>& sequence : *list)
      if (sequence->wants_to_stop()) finish(sequence);
  for (auto* list : {&waiting_, &running_}) std::erase(*list, nullptr);
  for (Suspended& suspended : suspended_)
    if (suspended.sequence->wants_to_stop()) finish(suspended.sequence);
  std::erase_if(suspended_, [](const Suspended& suspended) { return suspended.sequence == nullptr; });
}

Status EngineImpl::step() {
  finish_stopped();
  make_room();
  admit();
  ++statistics_.steps;
  Status status = make_step();
  if (!status) abandon_all();
  std::erase(running_, nullptr);
  return status;
}

// A step for which memory was short is made again with fewer weights in it: nothing of it counted yet.
Status EngineImpl::make_step() {
  METALLIC_TRY(live_->usable());
  // What could not be moved has been left where it was, or there is no model any more.
  if (live_->should_look()) (void)move_weights([this] { return live_->look(); });
  if (live_->should_follow_experts()) (void)move_weights([this] { return live_->follow_experts(); });
  METALLIC_TRY(live_->usable());
  for (;;) {
    if (Residency* residency = model().residency()) residency->set_stop([this] { return nobody_waits(); });
    const Status status = running_.empty()             ? discard_under_way()
                          : decoder().most_ahead() > 0 ? run_ahead()
                                                       : evaluate_step();
    if (!status && status.error().code == ErrorCode::kCancelled) return {};  // by all whose step it was
    if (status || status.error().code != ErrorCode::kOutOfMemory) return status;
    if (!move_weights([this] { return live_->shrink(); })) return status;
  }
}

bool EngineImpl::nobody_waits() {
  return std::all_of(running_.begin(), running_.end(),
                     [](const std::unique_ptr<Sequence>& sequence) { return sequence->wants_to_stop(); });
}

// What is under way is computed again: its tokens are not known to anybody.
Status EngineImpl::move_weights(const std::function<Status()>& move) {
  (void)discard_under_way();
  const Status status = move();
  if (live_->usable() && live_->planned())
    info_.weight_places = places_in_brief(live_->planned()->plan, live_->planned()->sizes);
  return status;
}

Status EngineImpl::set_memory(const MemoryOptions& memory) {
  return move_weights([&] { return live_->set_budgets(memory); });
}

EngineImpl::Planned EngineImpl::plan_step() {
  std::vector<Progress> progress;
  for (const std::unique_ptr<Sequence>& sequence : running_)
    progress.push_back({sequence->tokens(), sequence->computed(), sequence->lease().pages.data()});
  Planned planned{next_step(progress, decoder().max_rows()), {}, {}};
  for (const int i : planned.step.sequences) planned.sequences.push_back(running_[size_t(i)]->id());
  choosing_.clear();
  for (const int i : planned.step.finished) {
    planned.finished.push_back(running_[size_t(i)]->id());
    choosing_.push_back(running_[size_t(i)]->describe_choice());
  }
  return planned;
}

Status EngineImpl::evaluate_step() {
  const Planned planned = plan_step();
  METALLIC_TRY(decoder().choose(planned.step.batch, cache_, choosing_, choices_));
  return advance(planned);
}

// While the backend computes a step, the next one is put behind it. Should a sequence end by what is chosen meanwhile,
// its row of that step was computed for nothing: what it writes lies behind all that counts of the sequence.
Status EngineImpl::run_ahead() {
  if (!under_way_) {
    Planned planned = plan_step();
    const auto on_device = [&](const SampleRow& row) { return model().backend().can_sample(row); };
    if (int(choosing_.size()) > decoder().most_ahead() || steps_on_host_ > 0 ||
        !std::all_of(choosing_.begin(), choosing_.end(), on_device)) {
      steps_on_host_ = std::max(steps_on_host_ - 1, 0);
      return evaluate_step();
    }
    decoder().start(planned.step.batch, cache_, choosing_);
    under_way_ = std::move(planned);
  }
  const Planned planned = std::move(*under_way_);
  under_way_.reset();
  if (can_run_ahead(planned)) {
    under_way_ = plan_behind(planned);
    decoder().start(under_way_->step.batch, cache_, choosing_);
  }
  METALLIC_TRY(decoder().finish(choices_));
  if (std::find(choices_.ids.begin(), choices_.ids.end(), kChooseOnHost) == choices_.ids.end()) return advance(planned);
  constexpr int kSteps = 16;
  steps_on_host_ = kSteps;            // such rows seldom come alone
  METALLIC_TRY(discard_under_way());  // its logits are over those that are needed
  return evaluate_step();
}

bool EngineImpl::can_run_ahead(const Planned& planned) const {
  return planned.finished.size() == running_.size() && planned.sequences.size() == running_.size() &&
         int(running_.size()) <= std::min(decoder().most_ahead(), decoder().max_rows()) &&
         std::all_of(running_.begin(), running_.end(), [&](const std::unique_ptr<Sequence>& sequence) {
           return sequence->can_run_ahead() &&
                  std::find(planned.finished.begin(), planned.finished.end(), sequence->id()) != planned.finished.end();
         });
}

// One more token of each sequence, in the order of the choices that they will be.
EngineImpl::Planned EngineImpl::plan_behind(const Planned& planned) {
  Planned behind;
  choosing_.clear();
  Batch& batch = behind.step.batch;
  for (const RequestId id : planned.finished) {
    Sequence& sequence = **find_running(id);
    const int row = batch.rows(), position = int(sequence.tokens().size());
    batch.sequences.push_back({row, 1, position, sequence.lease().pages.data()});
    batch.tokens.push_back(chosen_before(row));
    batch.positions.push_back(position);
    batch.logit_rows.push_back(row);
    choosing_.push_back(sequence.describe_choice_behind());
  }
  behind.sequences = behind.finished = planned.finished;
  return behind;
}

Status EngineImpl::discard_under_way() {
  under_way_.reset();
  if (!live_->usable()) return {};
  Status status;
  while (decoder().under_way() > 0)
    if (const Status one = decoder().finish(choices_); !one) status = one;
  return status;
}

std::unique_ptr<Sequence>* EngineImpl::find_running(RequestId id) {
  const auto found = std::find_if(running_.begin(), running_.end(),
                                  [&](const std::unique_ptr<Sequence>& s) { return s != nullptr && s->id() == id; });
  return found == running_.end() ? nullptr : &*found;
}

// Takes in what became of a step; of sequences that were stopped meanwhile, nothing.
Status EngineImpl::advance(const Planned& planned) {
  METALLIC_TRY(model().file().check_intact());  // weights of a file that was cut short read as zero
  const Step& step = planned.step;
  for (size_t i = 0; i < planned.sequences.size(); ++i) {
    const std::unique_ptr<Sequence>* sequence = find_running(planned.sequences[i]);
    if (sequence == nullptr) continue;
    (*sequence)->add_computed(step.batch.sequences[i].rows);
    pages_.mark_computed((*sequence)->lease(), (*sequence)->tokens(), (*sequence)->computed());
  }
  std::span<const float> logits = choices_.logits;
  for (size_t i = 0; i < planned.finished.size(); ++i) {
    std::unique_ptr<Sequence>* sequence = find_running(planned.finished[i]);
    if (choices_.ids[i] == kChooseOnHost) {
      const std::span<const float> row = logits.first(size_t(info_.vocab));
      logits = logits.subspan(size_t(info_.vocab));
      if (sequence == nullptr) continue;
      if (const Status status = (*sequence)->append_from(row); !status)
        return fail_while(model().file().path(), status.error());
    } else if (sequence != nullptr) {
      (*sequence)->append_chosen(choices_.ids[i]);
    }
    if (sequence != nullptr && (*sequence)->finished()) finish(*sequence);
  }
  return {};
}

// Hands the pages back, keeps the result, and leaves null behind.
void EngineImpl::finish(std::unique_ptr<Sequence>& sequence) {
  pages_.give_back(sequence->lease());
  const RequestId id = sequence->id();
  finished_.emplace(id, sequence->complete());
  sequence.reset();
}

void EngineImpl::abandon_all() {
  (void)discard_under_way();
  for (auto* list : {&waiting_, &running_})
    for (std::unique_ptr<Sequence>& sequence : *list) {
      if (sequence) pages_.give_back(sequence->lease());
      sequence.reset();
    }
  waiting_.clear();
  suspended_.clear();
}

Result<Completion> EngineImpl::take(RequestId id) {
  const auto found = finished_.find(id);
  if (found == finished_.end())
    return fail(ErrorCode::kNotFound, "request {} is unknown, not finished, or was taken already", id);
  Completion completion = std::move(found->second);
  finished_.erase(found);
  return completion;
}

Result<Completion> EngineImpl::generate(Request request) {
  METALLIC_ASSIGN(const RequestId id, submit(std::move(request)));
  while (!finished_.contains(id)) METALLIC_TRY(step());
  return take(id);
}

Status EngineImpl::evaluate(std::span<const TokenId> tokens, int first,
                            const std::function<bool(int, std::span<const float>)>& sink) {
  if (tokens.empty()) return fail(ErrorCode::kInvalidArgument, "there are no tokens to evaluate");
  METALLIC_ASSIGN(const auto evaluator,
                  Evaluator::create(live_->model(), int(tokens.size()), decoder().max_rows(), options_.kv_formats));
  constexpr int kChunk = 64;  // logits of a whole vocabulary are large
  std::vector<float> logits;
  for (int at = 0; at < int(tokens.size());) {
    const int left = int(tokens.size()) - at;
    int rows = std::min(left, evaluator->batch_rows());
    if (at + rows > first) rows = std::min(rows, at < first ? first - at : kChunk);
    std::vector<int32_t> wanted;
    for (int i = std::max(0, first - at); i < rows; ++i) wanted.push_back(i);
    METALLIC_TRY(evaluator->feed(tokens.subspan(size_t(at), size_t(rows)), wanted, logits));
    for (size_t i = 0; i < wanted.size(); ++i)
      if (!sink(at + wanted[i], std::span(logits).subspan(i * size_t(info_.vocab), size_t(info_.vocab)))) return {};
    at += rows;
  }
  return {};
}

}  // namespace

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfGeneration:
      return "end of generation";
    case FinishReason::kStopString:
      return "stop string";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context full";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

Result<std::unique_ptr<Engine>> make_engine(PlacedModel placed, const EngineOptions& options,
                                            Surroundings surroundings) {
  const auto start = std::chrono::steady_clock::now();
  const std::shared_ptr<const Model> model = placed.model;
  Backend& backend = model->backend();
  const Config& config = model->config();
  if (config.spec->encoder)
    return fail(ErrorCode::kUnsupported,
                "{}: '{}' is an encoder, which generates no text; metallic embed gives its embeddings",
                model->file().path(), config.spec->name);

  EngineInfo info;
  info.backend = backend.name();
  info.threads = backend.threads();
  info.vocab = config.vocab;
  info.context = options.context == 0 ? std::min(config.context_length, kDefaultContext) : options.context;
  if (placed.planned) info.context = placed.planned->plan.context;
  if (placed.planned && placed.planned->plan.context_shrunk)
    log(LogLevel::kWarning, "the context is {} tokens: no more fits into the memory there is", info.context);
  if (info.context > config.context_length)
    log(LogLevel::kWarning,
        "a context of {} is more than the {} positions this model was trained on: answers may degrade", info.context,
        config.context_length);
  if (const auto warning = warning_of_key_biases(model->file(), config.layers, options.kv_formats.keys))
    log(LogLevel::kWarning, "{}", *warning);
  for (const TensorInfo& tensor : model->file().tensors()) info.weight_bytes += tensor.bytes;
  if (placed.planned) info.weight_places = places_in_brief(placed.planned->plan, placed.planned->sizes);

  const int most_rows = step_rows(options, placed.planned ? &placed.planned->plan : nullptr);
  const int rows = std::max(options.max_sequences, std::min(most_rows, info.context));
  METALLIC_ASSIGN(auto live, LiveModel::create(std::move(placed), rows, info.context, std::move(surroundings)));
  int64_t pages = int64_t(pages_for(info.context)) * options.max_sequences;
  if (options.memory.kv_bytes > 0) {
    METALLIC_TRY(check_kv_formats(config, options.kv_formats, &backend.kv_backend()));
    const uint64_t page = uint64_t(kPageTokens) * uint64_t(config.layers) * kv_token_bytes(config, options.kv_formats);
    pages = std::clamp<int64_t>(int64_t(options.memory.kv_bytes / page), pages_for(info.context), pages);
  }
  if (pages > INT32_MAX / kPageTokens)
    return fail(ErrorCode::kOutOfMemory, "{} sequences with a context of {} need too many KV pages; ask for less",
                options.max_sequences, info.context);
  METALLIC_ASSIGN(KvCache cache, KvCache::create(config, backend, int(pages), kPageTokens, options.kv_formats));
  info.kv_bytes = cache.bytes();
  info.activation_bytes = live->decoder().activation_bytes();
  info.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return std::unique_ptr<Engine>(new EngineImpl(std::move(live), std::move(cache), std::move(info), options));
}

Result<std::unique_ptr<Engine>> Engine::load(const std::string& path, const EngineOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  METALLIC_TRY(check_engine_options(options));
  METALLIC_ASSIGN(PlacedModel placed, load_model(path, options));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Surroundings surroundings = real_surroundings();
  surroundings.host_threads = options.threads;
  METALLIC_ASSIGN(auto engine, make_engine(std::move(placed), options, std::move(surroundings)));
  static_cast<EngineImpl&>(*engine).add_load_seconds(seconds);
  return engine;
}

}  // namespace metallic
