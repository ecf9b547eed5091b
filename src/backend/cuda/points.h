// What is done on streams between the commands of a list: events are recorded and waited for, and copies begin.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace metallic::cuda {

class Points {
 public:
  // Behind `commands` commands and all points so far.
  void add(size_t commands, std::function<void()> act) { points_.push_back({commands, std::move(act)}); }
  bool empty() const { return points_.empty(); }
  // Whether there is one behind `first` to `last` commands.
  bool any(size_t first, size_t last) const {
    const auto from = std::lower_bound(points_.begin(), points_.end(), first,
                                       [](const Point& point, size_t commands) { return point.commands < commands; });
    return from != points_.end() && from->commands <= last;
  }
  // Does what is to be done before the command of this number is launched, in order, once.
  void pass(size_t command) {
    for (; next_ < points_.size() && points_[next_].commands <= command; ++next_) points_[next_].act();
  }
  void pass_all() {
    for (; next_ < points_.size(); ++next_) points_[next_].act();
  }
  void clear() {
    points_.clear();
    next_ = 0;
  }

 private:
  struct Point {
    size_t commands;
    std::function<void()> act;
  };
  std::vector<Point> points_;
  size_t next_ = 0;
};

}  // namespace metallic::cuda
