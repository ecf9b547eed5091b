// Makes a plan so: brings the weights that do not stay where they are computed with to the place where they are, before
// they are wanted.
//
// Who owns what: a Residency owns the rings and the reads; it shares the file and the backend that computes. The
// Backend in front of that one (make_streaming_backend) shares the Residency; it is what models are loaded on and run
// on. A Weight that a Residency gave out holds no bytes, but says which they are.
// Which thread does what: all calls come from the thread that runs the model. Reads are the kernel's (or the reader's
// threads'), copies to a GPU its copy engine's; beside a GPU a HostWorker has the host's part of products, between
// asking and answering. Nothing else runs behind the model's back.
// What acquire promises: inside an operation the bytes of its weights are whole and stay; when it returns they may be
// gone. An operation whose weights could not be brought computes nothing, nor do those after it; synchronize() returns
// why, and the next step starts afresh.
// Results: a matrix that comes in pieces of rows gives the bits that it gives as a whole, since each output is computed
// by itself; so on the CPU any plan gives the same bits.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "memory/device_ring.h"
#include "memory/disk_ring.h"
#include "memory/expert_cache.h"
#include "memory/expert_use.h"
#include "memory/plan.h"
#include "metallic/gguf.h"

namespace metallic {

// Rows of a tensor of the file that have a plan of their own.
struct StreamedMatrix {
  const TensorInfo* info = nullptr;
  Placement placement;
  FilePiece bytes;
  int64_t row_bytes = 0;

  // From disk, on the host: pieces of so many rows, in the order of use; -1: has none, rows are only looked up.
  int64_t piece_rows = 0;
  int first_piece = -1;
  bool is_on_disk() const { return placement.disk || placement.place == Place::kDisk; }
  // Its bytes in the file's mapping, only to be read.
  void* mapped(const GgufFile& file) const {
    return const_cast<std::byte*>(file.tensor_data(*info).data()) + (bytes.offset - info->offset);
  }
  bool is_head = false;
  bool is_expert = false;  // in no order:
  int expert_piece = -1;   // its number among the experts

  // On a device: slices of rows that lie on top of one another. Each stays there, comes through the ring, or is
  // multiplied by the host where it does not come; none: rows are only looked up, on the host.
  struct Slice {
    int64_t first = 0;
    Weight resident;  // on the device
    int ring = -1;    // number in the ring
    Weight host;      // on the host's backend
    int64_t rows = 0;
  };
  std::vector<Slice> slices;
};

// A weight without bytes of any kind; its owner is the StreamedMatrix.
inline bool is_streamed(const Weight& weight) {
  return weight.rows() > 0 && weight.view.data == nullptr && weight.packed == nullptr;
}
inline const StreamedMatrix& streamed_matrix(const Weight& weight) {
  return *static_cast<const StreamedMatrix*>(weight.owner.get());
}

class Residency {
 public:
  // The plan is one for this file: its blocks name tensors by their indices there. `backend` computes; where it is a
  // device, `host` computes beside it.
  static Result<std::shared_ptr<Residency>> create(std::shared_ptr<const GgufFile> file,
                                                   const std::vector<Block>& blocks, Plan plan,
                                                   std::shared_ptr<Backend> backend, std::shared_ptr<Backend> host,
                                                   ReaderFactory make_reader);

  // Whether the plan has a tensor (or one expert of it) brought to where it is computed with.
  bool brings(const TensorInfo& info, int expert = -1) const;
  // Rows [first, first + rows) of such a tensor, seen as a matrix of rows of `columns`.
  Weight matrix(const TensorInfo& info, int expert, int64_t first, int64_t rows, int64_t columns) const;
  // After everything is loaded: the matrices that are multiplied by, in the order of their use. Starts bringing them.
  Status start(std::span<Weight* const> order);

  const GgufFile& file() const { return *file_; }
  // Null before start() and where nothing comes that way.
  DiskRing* disk_ring() const { return disk_ring_.get(); }
  ExpertCache* experts() const { return experts_.get(); }
  DeviceRing* device_ring() const { return device_ring_.get(); }
  bool on_device() const { return transfers_ != nullptr; }
  // What has been brought so far, and the rate at which the device can be given bytes at most, measured now; 0 if none.
  struct Traffic {
    uint64_t copied = 0, read = 0;  // bytes to the device, and from disk
  };
  Traffic traffic() const;
  double measure_link() const;
  Backend* host() const { return host_.get(); }  // beside a device

  // Counts the choices of experts; null: nobody does.
  void set_use(std::shared_ptr<ExpertUse> use) { use_ = std::move(use); }
  ExpertUse* use() const { return use_.get(); }
  // Asked whenever weights are to be waited for: true ends the step with kCancelled.
  void set_stop(std::function<bool()> stop) { stop_ = std::move(stop); }
  Status check_stop() const;

 private:
  Residency(std::shared_ptr<const GgufFile> file, Plan plan, std::shared_ptr<Backend> backend,
            ReaderFactory make_reader)
      : file_(std::move(file)),
        plan_(std::move(plan)),
        backend_(std::move(backend)),
        transfers_(find_transfers(*backend_)),
        make_reader_(std::move(make_reader)) {}
  const Placement* place_of(const TensorInfo& info, int expert) const;
  Status start_disk(std::span<Weight* const> order);
  Status start_device(std::span<Weight* const> order);
  Result<std::shared_ptr<std::byte>> allocate_pinned_for_reading(uint64_t bytes);
  int64_t rows_of_a_slice(const TensorView& matrix, int64_t row_bytes, bool from_disk) const;
  Status start_experts(std::vector<FilePiece> experts, bool others, uint64_t& bytes);
  Status slice(const Weight& weight, StreamedMatrix& matrix, std::vector<FilePiece>& pieces);

  std::shared_ptr<const GgufFile> file_;
  Plan plan_;
  std::shared_ptr<Backend> backend_, host_;
  Transfers* transfers_;  // null if the backend computes in host memory
  ReaderFactory make_reader_;
  std::shared_ptr<ExpertUse> use_;
  std::function<bool()> stop_;
  std::unordered_map<int64_t, Placement> places_;  // by tensor and expert
  std::set<int64_t> heads_;                        // tensors
  std::unique_ptr<DiskRing> disk_ring_;
  std::unique_ptr<ExpertCache> experts_;
  std::unique_ptr<DeviceRing> device_ring_;  // after the disk's, whose pieces it holds
};

// `inner` with the residency in front of it.
std::shared_ptr<Backend> make_streaming_backend(std::shared_ptr<Backend> inner, std::shared_ptr<Residency> residency);
// The same in front of a device (device_streaming_backend.cc).
std::shared_ptr<Backend> make_device_streaming_backend(std::shared_ptr<Backend> inner,
                                                       std::shared_ptr<Residency> residency);

}  // namespace metallic
