// What a backend on a device with memory of its own can do beyond backend.h: weights whose bytes come and go, and
// copies to the device beside its computing. A backend that can is a Transfers, too.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "backend/backend.h"

namespace metallic {

// Rows of 4-byte words, each some bytes behind the one before.
struct RowCopy {
  const void* from;
  void* to;
  int64_t from_stride, to_stride, row_bytes, rows;
};

// One thread at a time, the backend's. Nothing here waits but pack(), finish_copy() and wait(); failures are latched,
// as those of operations.
class Transfers {
 public:
  virtual ~Transfers() = default;

  // Host memory from which copies run at the link's rate.
  virtual Result<std::shared_ptr<void>> allocate_pinned(uint64_t bytes) = 0;

  // A matrix as the device computes with it: its bytes, a multiple of 256; `host` into that layout, at `to` in host
  // memory; and a weight of it that lies nowhere yet. place() says where it lies for the operations to come.
  virtual uint64_t packed_bytes(const TensorView& host) const = 0;
  virtual Status pack(const TensorView& host, void* to) = 0;
  virtual Weight unplaced(const TensorView& host) const = 0;
  virtual void place(const Weight& weight, void* device_memory) = 0;

  // Whether products of so many rows decode weights before they multiply, so that the place of a slice is free again
  // soon, and slices are best given one by one.
  virtual bool decodes_first(int64_t rows) const = 0;
  // A point behind all operations called so far.
  virtual uint64_t mark() = 0;
  // Starts a copy from pinned memory, once the device has come to the point `after` (0: the beginning). Returns its
  // number.
  virtual uint64_t copy_ahead(void* to, const void* from, uint64_t bytes, uint64_t after) = 0;
  // The same for a matrix as the file has it, in pinned memory at host.data: it comes to the device's layout, by way of
  // working_bytes() of the device's memory at `working`.
  virtual uint64_t working_bytes(const TensorView& host) const = 0;
  virtual uint64_t copy_and_pack(const TensorView& host, void* to, void* working, uint64_t after) = 0;
  // From here on, marks, copies and waits for copies take their places among the operations and happen when those are
  // handed to the device, so that operations on both sides of them are planned together. Or, as at first, at once.
  virtual void defer(bool deferred) = 0;
  // Whether a copy is done, so that its source may be written again; and waiting for that.
  virtual bool is_done(uint64_t copy) = 0;
  virtual void finish_copy(uint64_t copy) = 0;
  // Operations called from here on begin when the copy is done.
  virtual void wait_for_copy(uint64_t copy) = 0;
  // Between pinned memory and the device's, either way, in the order of the operations; never behind copy_ahead(). The
  // host may touch its side again after wait() or synchronize(), or when it is asked.
  virtual void copy_rows(std::span<const RowCopy> copies) = 0;
  void copy_rows(const RowCopy& copy) { copy_rows({&copy, 1}); }
  // Of the rows those that are wanted when the device comes to it: wanted[i], in pinned memory, is not 0.
  virtual void copy_wanted_rows(const RowCopy& copy, const int32_t* wanted) = 0;
  // Hands what was called so far to the device without waiting for it.
  virtual void submit() = 0;
  // Until all that was called so far is done, or has failed.
  virtual void wait() = 0;
  // Whether a failure is latched.
  virtual bool failed() const = 0;

  // A hand-over: what the operations before it left in pinned memory is the host's, which works with it in a thread of
  // its own; operations after wait_for_answer() begin when it has answered. Numbers rise by one, and answers come in
  // their order. What is asked after a failure counts as asked at once.
  virtual uint64_t ask() = 0;
  virtual void wait_for_answer(uint64_t number) = 0;
  // From any thread.
  virtual bool is_asked(uint64_t number) const = 0;
  virtual void answer(uint64_t number) = 0;
};

// Null where the backend computes in host memory.
inline Transfers* find_transfers(Backend& backend) { return dynamic_cast<Transfers*>(&backend); }

}  // namespace metallic
