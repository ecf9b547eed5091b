// The `loop` variable of a for loop.
#pragma once

#include <optional>

#include "text/jinja/statements.h"

namespace metallic::jinja {

// Walks the items of one loop. With a filter (for x in y if ...), items are tested one by one as the loop advances, so
// that a test may depend on what the body did; only what looks ahead (last, length, nextitem) tests earlier.
class LoopObject : public HostObject, public std::enable_shared_from_this<LoopObject> {
 public:
  LoopObject(const For& statement, const Frame& frame, SharedList source, int recursion);

  Result<bool> advance();  // false at the end
  const Value& current() const { return *current_; }

  std::string_view type_name() const override { return "LoopContext"; }
  bool callable() const override { return true; }
  Result<Value> call(Runtime& runtime, const Arguments& arguments) override;  // recursive loops
  Result<Value> attribute(std::string_view name) override;
  std::optional<size_t> length() const override;
  void clear() override;

  Result<Value> cycle(const Arguments& arguments) const;
  Result<Value> changed(Runtime& runtime, const Arguments& arguments);

 private:
  Result<std::optional<Value>> pull();
  Result<const Value*> peek();  // null at the end
  Result<Integer> count();

  const For& statement_;
  Frame frame_;  // where the loop stands
  SharedList source_;
  size_t next_ = 0;           // in source_
  std::vector<Value> ahead_;  // pulled but not reached, the nearest last
  std::optional<Value> before_, current_;
  Integer index_ = -1;   // loop.index0
  const int recursion_;  // how deep in recursive loops, from 0
  std::optional<Value> last_changed_;
};

}  // namespace metallic::jinja
