// What a backend can do whose calls return before their work is done: a step may be started before the host knows what
// the one before has chosen. Its tokens then are those choices, which never leave the device on their way. A backend
// that can is a RunAhead, too.
#pragma once

#include <cstdint>
#include <span>

#include "backend/backend.h"

namespace metallic {

// An id of embed() that stands for the choice of row `row` of the latest sample(); an embed() has these for rows 0, 1,
// … in order, and no other ids. If there was no choice (kChooseOnHost), it is any token.
constexpr int32_t chosen_before(int row) { return -1 - row; }

// One thread at a time, the backend's.
class RunAhead {
 public:
  static constexpr int kMostRows = 64, kMostFetches = 2;
  virtual ~RunAhead() = default;

  // Begins to bring up to kMostRows numbers from the backend's memory to the host, behind all operations called so far.
  // At most kMostFetches are under way.
  virtual void fetch(const int32_t* from, int count) = 0;
  // Waits for the oldest of them, and for nothing that was called later. On an error the numbers mean nothing.
  virtual Status fetched(std::span<int32_t> to) = 0;
};

// Null if the backend cannot.
inline RunAhead* find_run_ahead(Backend& backend) { return dynamic_cast<RunAhead*>(&backend); }

}  // namespace metallic
