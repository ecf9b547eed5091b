// Operations wait here until somebody needs a result; then they are planned and launched together. A list of commands
// that comes again, as the steps of a decoder do, is captured in a CUDA graph and replayed: only its parameters travel.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/commands.h"
#include "backend/cuda/points.h"
#include "backend/cuda/stream.h"

namespace metallic::cuda {

// Device memory that kernels use between them; grows, and then every graph has to be captured anew.
class Scratch {
 public:
  explicit Scratch(Stream& stream) : stream_(stream) {}
  ~Scratch();
  // Null after a failure, which the stream keeps. What was there before is lost.
  void* get(uint64_t bytes);
  uint64_t generation() const { return generation_; }

 private:
  Stream& stream_;
  void* memory_ = nullptr;
  uint64_t bytes_ = 0, generation_ = 0;
};

// What plans and launches a list of commands on a stream.
class Launcher {
 public:
  virtual ~Launcher() = default;
  // Passes the points in front of each command before what it launches for that command; those behind the last are
  // left.
  virtual void run(std::span<const Command> commands, Points& points, Stream& stream) = 0;
  // As Transfers::decodes_first().
  virtual bool decodes_first(int64_t rows) const = 0;
  // Changes when memory that launched kernels refer to has moved.
  virtual uint64_t generation() const = 0;
};

// One thread at a time. Shared by the backend and by all memory it gave out, whose release has to wait for its users.
class Queue {
 public:
  static Result<std::shared_ptr<Queue>> open(std::unique_ptr<Stream> stream, std::unique_ptr<Launcher> launcher);
  ~Queue();

  Stream& stream() { return *stream_; }
  const Launcher& launcher() const { return *launcher_; }

  // Before the parameters of one command: makes room for `bytes` of them and 16 for each array.
  void reserve(uint64_t bytes);
  // Copies host values to where the device will see them when the command runs; reserve() has made room.
  template <class T>
  const T* stage(std::span<const T> values) {
    return static_cast<const T*>(stage_bytes(values.data(), values.size_bytes()));
  }
  void add(const Command& command);
  // Done on the host when the commands before it have been launched.
  void add_point(std::function<void()> act) { points_.add(commands_.size(), std::move(act)); }
  // Launches all that waits.
  void flush();
  // And behind it what is no command: `launch` puts it on the stream, unless that has failed.
  template <class Launch>
  void launch_behind(const char* doing, const Launch& launch) {
    flush();
    if (stream_->failed()) return;
    launch(stream_->get());
    stream_->check(cudaGetLastError(), doing);
  }
  // The commands that were waiting must not refer to memory that is freed; nor must a graph.
  void free(void* memory);

 private:
  Queue(std::unique_ptr<Stream> stream, std::unique_ptr<Launcher> launcher)
      : stream_(std::move(stream)), launcher_(std::move(launcher)) {}
  struct Replay {
    std::vector<Command> commands;
    uint64_t generation = 0;
    cudaGraphExec_t graph = nullptr;  // null: seen once
    bool hopeless = false;            // cannot be captured
  };
  static constexpr size_t kReplays = 48;
  static constexpr size_t kMostCommands = 4096;
  static constexpr int kStagings = 4;
  struct Staging {
    char* host = nullptr;  // pinned
    cudaEvent_t copied = nullptr;
  };

  const void* stage_bytes(const void* values, uint64_t bytes);
  Status resize_parameters(uint64_t bytes);
  void launch_commands();
  void capture(Replay& replay);
  void drop_graphs();

  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Launcher> launcher_;
  std::vector<Command> commands_;
  Points points_;              // between them
  std::list<Replay> replays_;  // the latest first
  Staging staging_[kStagings];
  int current_ = 0;
  char* parameters_ = nullptr;  // device
  uint64_t capacity_ = 0, used_ = 0;
  struct Staged {
    uint64_t offset, bytes;
  };
  std::vector<Staged> staged_;  // the arrays of this flush, to find equal ones
};

}  // namespace metallic::cuda
