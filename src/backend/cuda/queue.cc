#include "backend/cuda/queue.h"

#include <algorithm>
#include <cstring>

#include "backend/cuda/launch.h"
#include "base/check.h"
#include "base/error.h"

namespace metallic::cuda {
namespace {

constexpr uint64_t kParameterBytes = 1 << 20;
constexpr uint64_t kAlignment = 16;
constexpr uint64_t align(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

Scratch::~Scratch() { (void)cudaFree(memory_); }

void* Scratch::get(uint64_t bytes) {
  if (bytes <= bytes_) return memory_;
  (void)cudaStreamSynchronize(stream_.get());
  (void)cudaFree(memory_);
  memory_ = nullptr;
  bytes_ = 0;
  ++generation_;
  if (!stream_.check(cudaMalloc(&memory_, bytes), "allocating working memory")) return memory_ = nullptr;
  bytes_ = bytes;
  return memory_;
}

Result<std::shared_ptr<Queue>> Queue::open(std::unique_ptr<Stream> stream, std::unique_ptr<Launcher> launcher) {
  std::shared_ptr<Queue> queue(new Queue(std::move(stream), std::move(launcher)));
  METALLIC_TRY(queue->resize_parameters(kParameterBytes));
  return queue;
}

Queue::~Queue() {
  (void)cudaSetDevice(stream_->device());
  (void)cudaStreamSynchronize(stream_->get());
  drop_graphs();
  for (Staging& staging : staging_) {
    (void)cudaFreeHost(staging.host);
    if (staging.copied != nullptr) (void)cudaEventDestroy(staging.copied);
  }
  (void)cudaFree(parameters_);
  launcher_.reset();
}

Status Queue::resize_parameters(uint64_t bytes) {
  METALLIC_CHECK(commands_.empty() && used_ == 0);
  (void)cudaStreamSynchronize(stream_->get());
  drop_graphs();
  (void)cudaFree(parameters_);
  parameters_ = nullptr;
  METALLIC_ASSIGN(void* memory, stream_->allocate(bytes, "parameters"));
  parameters_ = static_cast<char*>(memory);
  capacity_ = bytes;
  for (Staging& staging : staging_) {
    (void)cudaFreeHost(staging.host);
    staging.host = nullptr;
    if (!stream_->check(cudaMallocHost(reinterpret_cast<void**>(&staging.host), bytes), "allocating pinned memory"))
      return stream_->synchronize("allocating pinned memory");
    if (staging.copied == nullptr)
      stream_->check(cudaEventCreateWithFlags(&staging.copied, cudaEventDisableTiming), "creating an event");
  }
  return {};
}

void Queue::reserve(uint64_t bytes) {
  if (commands_.size() >= kMostCommands) flush();
  if (used_ + align(bytes) + kAlignment <= capacity_) return;
  flush();
  if (align(bytes) + kAlignment <= capacity_) return;
  if (const Status status = resize_parameters(std::max(2 * capacity_, 2 * align(bytes))); !status)
    stream_->check(cudaErrorMemoryAllocation, "allocating room for the parameters of an operation");
}

const void* Queue::stage_bytes(const void* values, uint64_t bytes) {
  if (bytes == 0) return parameters_;
  Staging& staging = staging_[current_];
  constexpr size_t kLookBack = 8;
  for (size_t i = staged_.size(); i > 0 && i + kLookBack > staged_.size();
       --i) {  // positions are the same in all layers
    const Staged& before = staged_[i - 1];
    if (before.bytes == bytes && std::memcmp(staging.host + before.offset, values, bytes) == 0)
      return parameters_ + before.offset;
  }
  if (used_ + align(bytes) > capacity_) return parameters_;  // after a failure, which the stream keeps
  std::memcpy(staging.host + used_, values, bytes);
  staged_.push_back({used_, bytes});
  used_ += align(bytes);
  return parameters_ + staged_.back().offset;
}

void Queue::add(const Command& command) { commands_.push_back(command); }

void Queue::flush() {
  if (commands_.empty() && points_.empty()) return;
  if (!stream_->failed()) {
    (void)cudaSetDevice(stream_->device());
    Staging& staging = staging_[current_];
    if (used_ > kMostWritten) {
      const RowCopy parameters{staging.host, parameters_, 0, 0, int64_t(align(used_)), 1};
      launch_rows({&parameters, 1}, stream_->get());
      stream_->check(cudaGetLastError(), "copying parameters");
      stream_->check(cudaEventRecord(staging.copied, stream_->get()), "copying parameters");
      current_ = (current_ + 1) % kStagings;
      stream_->check(cudaEventSynchronize(staging_[current_].copied), "copying parameters");
    } else if (used_ > 0) {  // a launch is sooner there than a copy
      launch_write(staging.host, used_, parameters_, stream_->get());
      stream_->check(cudaGetLastError(), "writing parameters");
    }
    launch_commands();
    points_.pass_all();
  }
  commands_.clear();
  points_.clear();
  staged_.clear();
  used_ = 0;
}

// Points are not captured.
void Queue::launch_commands() {
  if (!points_.empty()) return launcher_->run(commands_, points_, *stream_);
  if (commands_.empty()) return;
  const auto same = [this](const Replay& replay) {
    return replay.commands.size() == commands_.size() &&
           std::memcmp(replay.commands.data(), commands_.data(), commands_.size() * sizeof(Command)) == 0;
  };
  const auto found = std::find_if(replays_.begin(), replays_.end(), same);
  if (found == replays_.end()) {
    launcher_->run(commands_, points_, *stream_);
    replays_.push_front({commands_, launcher_->generation(), nullptr, false});
    if (replays_.size() > kReplays) {
      if (replays_.back().graph != nullptr) (void)cudaGraphExecDestroy(replays_.back().graph);
      replays_.pop_back();
    }
    return;
  }
  replays_.splice(replays_.begin(), replays_, found);
  Replay& replay = replays_.front();
  if (replay.graph != nullptr && replay.generation != launcher_->generation()) {
    (void)cudaGraphExecDestroy(replay.graph);
    replay.graph = nullptr;
  }
  if (replay.graph == nullptr && !replay.hopeless) capture(replay);
  if (replay.graph != nullptr)
    stream_->check(cudaGraphLaunch(replay.graph, stream_->get()), "launching a graph");
  else
    launcher_->run(commands_, points_, *stream_);
}

// Nothing may be allocated while a stream is captured: the commands ran once before, so that all memory is there.
void Queue::capture(Replay& replay) {
  cudaGraph_t graph = nullptr;
  const uint64_t generation = launcher_->generation();
  if (!stream_->check(cudaStreamBeginCapture(stream_->get(), cudaStreamCaptureModeThreadLocal), "capturing a graph"))
    return;
  launcher_->run(replay.commands, points_, *stream_);
  const cudaError_t ended = cudaStreamEndCapture(stream_->get(), &graph);
  replay.generation = launcher_->generation();
  replay.hopeless = ended != cudaSuccess || replay.generation != generation;
  if (!replay.hopeless && cudaGraphInstantiate(&replay.graph, graph, 0) != cudaSuccess) {
    replay.graph = nullptr;
    replay.hopeless = true;
  }
  (void)cudaGetLastError();
  if (graph != nullptr) (void)cudaGraphDestroy(graph);
}

void Queue::drop_graphs() {
  for (Replay& replay : replays_)
    if (replay.graph != nullptr) (void)cudaGraphExecDestroy(replay.graph);
  replays_.clear();
}

void Queue::free(void* memory) {
  flush();
  (void)cudaSetDevice(stream_->device());
  stream_->check(cudaFree(memory), "freeing memory");
}

}  // namespace metallic::cuda
