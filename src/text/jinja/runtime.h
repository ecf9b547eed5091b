// What one rendering may use: steps, bytes and depth are counted here, so that no template can hang or exhaust the
// process. It also remembers where the template stood when something failed. One per rendering; not thread-safe.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <vector>

#include "text/jinja/value.h"

namespace metallic::jinja {

struct Limits {
  size_t output_bytes = 16u << 20;         // of the prompt, and of any one string
  uint64_t steps = 20'000'000;             // expressions evaluated, items walked
  uint64_t produced_bytes = 512ull << 20;  // of all strings and items made on the way
  int depth = 1000;                        // of nested evaluation: macros that call macros, ...
  intptr_t stack_bytes = 2 << 20;          // that nested evaluation may take
  size_t range_items = 100'000;            // as jinja's sandbox
};
inline constexpr int kMaximumValueDepth = 200;  // of lists within lists

struct Position {
  int line = 0;  // from 1
  int column = 0;
};

class Runtime {
 public:
  Limits limits;

  Status spend_steps(uint64_t count) {
    steps_ += count < limits.steps ? count : limits.steps + 1;
    return steps_ <= limits.steps ? Status() : too_much("steps of evaluation", limits.steps);
  }
  // Before a string of `count` bytes is made.
  Status spend_bytes(uint64_t count) {
    if (count > limits.output_bytes) return too_much("bytes in one text", limits.output_bytes);
    produced_ += count;
    return produced_ <= limits.produced_bytes ? Status() : too_much("bytes of text and lists", limits.produced_bytes);
  }
  // Before a list of `count` items is made.
  Status spend_items(uint64_t count) {
    METALLIC_TRY(spend_steps(count));
    produced_ += count * 64;
    return produced_ <= limits.produced_bytes ? Status() : too_much("bytes of text and lists", limits.produced_bytes);
  }

  // Host objects that could hold each other in a ring are cleared when the rendering ends.
  void keep(std::shared_ptr<HostObject> object) { kept_.push_back(std::move(object)); }
  ~Runtime() {
    for (const auto& object : kept_) object->clear();
  }
  Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Whether nesting may go on: by its depth, and by the stack it took (which instrumented builds use up faster).
  bool may_nest(int at_depth) const {
    const auto used = stack_start_ - reinterpret_cast<intptr_t>(__builtin_frame_address(0));
    return at_depth <= limits.depth && (used < 0 ? -used : used) < limits.stack_bytes;
  }

  // The innermost place of the failure; {0, 0} before one.
  Position failed_at;
  int depth = 0;

 private:
  static tl::unexpected<Error> too_much(const char* what, uint64_t limit) {
    return fail(ErrorCode::kOutOfRange, "the template uses more than {} {}", limit, what);
  }
  const intptr_t stack_start_ = reinterpret_cast<intptr_t>(__builtin_frame_address(0));
  uint64_t steps_ = 0;
  uint64_t produced_ = 0;
  std::vector<std::shared_ptr<HostObject>> kept_;
};

// Counts one level of nesting while it lives.
class DepthGuard {
 public:
  explicit DepthGuard(Runtime& runtime) : runtime_(runtime) { ++runtime_.depth; }
  ~DepthGuard() { --runtime_.depth; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;
  Status check() const {
    if (runtime_.may_nest(runtime_.depth)) return {};
    return fail(ErrorCode::kOutOfRange, "the template nests too deep, about {} levels", runtime_.depth);
  }

 private:
  Runtime& runtime_;
};

}  // namespace metallic::jinja
