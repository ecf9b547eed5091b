#include "text/jinja/loop.h"

#include <algorithm>

#include "text/jinja/functions.h"
#include "text/jinja/hash.h"

namespace metallic::jinja {
namespace {

int depth_of(const ValueList& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

}  // namespace

LoopObject::LoopObject(const For& statement, const Frame& frame, SharedList source, int recursion)
    : HostObject(depth_of(*source)),
      statement_(statement),
      frame_(frame),
      source_(std::move(source)),
      recursion_(recursion) {}

// The next item that the filter lets through.
Result<std::optional<Value>> LoopObject::pull() {
  while (next_ < source_->size()) {
    const Value& item = (*source_)[next_++];
    if (!statement_.filter) return item;
    Frame inner = frame_.inner();
    METALLIC_TRY(statement_.target.assign(inner, item));
    METALLIC_ASSIGN(const Value holds, statement_.filter->evaluate(inner));
    if (truth(holds)) return item;
  }
  return std::optional<Value>();
}

Result<bool> LoopObject::advance() {
  std::optional<Value> next;
  if (!ahead_.empty()) {
    next = std::move(ahead_.back());
    ahead_.pop_back();
  } else {
    METALLIC_ASSIGN(next, pull());
  }
  if (!next) return false;
  before_ = std::exchange(current_, std::move(next));
  ++index_;
  return true;
}

Result<const Value*> LoopObject::peek() {
  if (ahead_.empty()) {
    METALLIC_ASSIGN(std::optional<Value> next, pull());
    if (!next) return nullptr;
    ahead_.push_back(std::move(*next));
  }
  return &ahead_.back();
}

Result<Integer> LoopObject::count() {
  if (!statement_.filter) return Integer(source_->size());
  std::vector<Value> rest;
  while (true) {
    METALLIC_ASSIGN(std::optional<Value> next, pull());
    if (!next) break;
    rest.push_back(std::move(*next));
  }
  // Both lists hold the nearest item last.
  std::reverse(rest.begin(), rest.end());
  ahead_.insert(ahead_.begin(), rest.begin(), rest.end());
  return index_ + 1 + Integer(ahead_.size());
}

std::optional<size_t> LoopObject::length() const { return source_->size(); }

Result<Value> LoopObject::attribute(std::string_view name) {
  if (name == "index") return Value(index_ + 1);
  if (name == "index0") return Value(index_);
  if (name == "first") return Value(index_ == 0);
  if (name == "depth") return Value(recursion_ + 1);
  if (name == "depth0") return Value(recursion_);
  if (name == "previtem") return before_ ? *before_ : Value::undefined("there is no previous item");
  if (name == "last" || name == "nextitem") {
    METALLIC_ASSIGN(const Value* next, peek());
    if (name == "last") return Value(next == nullptr);
    return next ? *next : Value::undefined("there is no next item");
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    METALLIC_ASSIGN(const Integer size, count());
    if (name == "length") return Value(size);
    return Value(name == "revindex" ? size - index_ : size - index_ - 1);
  }
  const std::shared_ptr<LoopObject> self = shared_from_this();
  if (name == "cycle") {
    return make_function("cycle", [self](Runtime&, const Arguments& arguments) { return self->cycle(arguments); });
  }
  if (name == "changed") {
    return make_function(
        "changed", [self](Runtime& runtime, const Arguments& arguments) { return self->changed(runtime, arguments); });
  }
  return Value();
}

Result<Value> LoopObject::cycle(const Arguments& arguments) const {
  if (arguments.positional.empty()) return refuse("loop.cycle() needs something to cycle through");
  return arguments.positional[size_t(index_) % arguments.positional.size()];
}

Result<Value> LoopObject::changed(Runtime& runtime, const Arguments& arguments) {
  const Value now = Value::tuple(arguments.positional);
  if (last_changed_) {
    METALLIC_ASSIGN(const bool same, equal(runtime, *last_changed_, now));
    if (same) return Value(false);
  } else {
    runtime.keep(shared_from_this());
  }
  last_changed_ = now;
  return Value(true);
}

void LoopObject::clear() { last_changed_.reset(); }

Result<Value> LoopObject::call(Runtime& runtime, const Arguments& arguments) {
  if (!statement_.recursive) return refuse("only a loop marked 'recursive' can be called");
  if (arguments.positional.size() != 1 || !arguments.keyword.empty()) return refuse("loop() takes one argument");
  std::string text;
  Frame frame{runtime, frame_.symbols, frame_.root, frame_.scope, &text, frame_.captured};
  METALLIC_TRY(statement_.loop(frame, arguments.positional[0], recursion_ + 1));
  return Value(std::move(text));
}

}  // namespace metallic::jinja
