#include "memory/residency.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/error.h"
#include "memory/measure_link.h"

namespace metallic {
namespace {

constexpr int64_t kMostExperts = 1 << 20;
int64_t key_of(int64_t tensor, int expert) { return tensor * kMostExperts + expert + 1; }

// Whole panels of every instruction set, so that only the end of a matrix has a part of one.
constexpr int64_t kRowStep = 64;
constexpr uint64_t kSlicesOfARing = 4;

// `share` of the rows, in whole steps.
int64_t rows_of(double share, int64_t rows) {
  const int64_t wanted = std::llround(std::clamp(share, 0.0, 1.0) * double(rows));
  return wanted == rows ? rows : std::min(rows, wanted / kRowStep * kRowStep);
}

TensorView rows_of(const TensorView& matrix, int64_t first, int64_t rows) {
  return TensorView::dense(static_cast<std::byte*>(matrix.data) + first * matrix.stride[0], matrix.format,
                           {rows, matrix.shape[1]});
}

}  // namespace

Result<std::shared_ptr<Residency>> Residency::create(std::shared_ptr<const GgufFile> file,
                                                     const std::vector<Block>& blocks, Plan plan,
                                                     std::shared_ptr<Backend> backend, std::shared_ptr<Backend> host,
                                                     ReaderFactory make_reader) {
  METALLIC_CHECK(plan.places.size() == blocks.size());
  std::shared_ptr<Residency> residency(
      new Residency(std::move(file), std::move(plan), std::move(backend), std::move(make_reader)));
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Placement& placement = residency->plan_.places[i];
    for (const int tensor : blocks[i].tensors) residency->places_[key_of(tensor, blocks[i].expert)] = placement;
    if (blocks[i].kind == BlockKind::kHead)
      residency->heads_.insert(blocks[i].tensors.begin(), blocks[i].tensors.end());
  }
  METALLIC_CHECK(host != nullptr || !residency->on_device());
  if (residency->on_device()) residency->host_ = std::move(host);
  return residency;
}

const Placement* Residency::place_of(const TensorInfo& info, int expert) const {
  const int64_t tensor = &info - file_->tensors().data();
  auto found = places_.find(key_of(tensor, expert));
  if (found == places_.end()) found = places_.find(key_of(tensor, -1));
  return found != places_.end() ? &found->second : nullptr;
}

bool Residency::brings(const TensorInfo& info, int expert) const {
  const Placement* placement = place_of(info, expert);
  if (placement == nullptr) return false;
  if (!on_device()) return placement->place == Place::kDisk;
  return placement->place != Place::kGpu;
}

Weight Residency::matrix(const TensorInfo& info, int expert, int64_t first, int64_t rows, int64_t columns) const {
  auto matrix = std::make_shared<StreamedMatrix>();
  matrix->info = &info;
  matrix->placement = *place_of(info, expert);
  matrix->is_expert = expert >= 0 && places_.contains(key_of(&info - file_->tensors().data(), expert));
  matrix->is_head = heads_.contains(&info - file_->tensors().data());
  matrix->row_bytes = int64_t(*format_bytes(info.format, uint64_t(columns)));
  matrix->bytes = {info.file, info.offset + uint64_t(first * matrix->row_bytes), uint64_t(rows * matrix->row_bytes)};
  Weight weight;
  weight.view = TensorView::dense(nullptr, info.format, {rows, columns});
  weight.owner = std::move(matrix);
  return weight;
}

Status Residency::start(std::span<Weight* const> order) {
  return on_device() ? start_device(order) : start_disk(order);
}

Status Residency::start_disk(std::span<Weight* const> order) {
  std::vector<FilePiece> experts;
  bool others = false;
  for (Weight* weight : order) {
    if (!is_streamed(*weight)) continue;
    auto matrix = std::make_shared<StreamedMatrix>(streamed_matrix(*weight));
    others = others || !matrix->is_expert;
    if (!matrix->is_expert) continue;
    matrix->expert_piece = int(experts.size());
    experts.push_back(matrix->bytes);
    weight->owner = std::move(matrix);
  }
  uint64_t ring_bytes = plan_.disk_ring_bytes;
  METALLIC_TRY(start_experts(std::move(experts), others, ring_bytes));
  // A quarter of the ring at most: some are read while one is used.
  const uint64_t most = ring_bytes / 4;
  const uint64_t piece_bytes = plan_.disk_piece_bytes > 0 ? std::min(plan_.disk_piece_bytes, most) : most;
  std::vector<FilePiece> pieces;
  for (Weight* weight : order) {
    if (!is_streamed(*weight) || streamed_matrix(*weight).is_expert) continue;
    // A copy: the same matrix may be the embedding, of which rows are looked up.
    auto matrix = std::make_shared<StreamedMatrix>(streamed_matrix(*weight));
    int64_t step = std::max<int64_t>(1, int64_t(piece_bytes) / matrix->row_bytes);
    if (step > kRowStep) step = step / kRowStep * kRowStep;
    matrix->piece_rows = std::min(step, weight->rows());
    matrix->first_piece = int(pieces.size());
    for (int64_t row = 0; row < weight->rows(); row += matrix->piece_rows) {
      const int64_t rows = std::min(matrix->piece_rows, weight->rows() - row);
      pieces.push_back({matrix->bytes.file, matrix->bytes.offset + uint64_t(row * matrix->row_bytes),
                        uint64_t(rows * matrix->row_bytes)});
    }
    weight->owner = std::move(matrix);
  }
  if (pieces.empty()) return {};
  METALLIC_ASSIGN(disk_ring_, DiskRing::create(file_, std::move(pieces), ring_bytes, make_reader_()));
  return {};
}

// Their room is half of it all, and at least one of them; what is left of `bytes` is for the others.
Status Residency::start_experts(std::vector<FilePiece> experts, bool others, uint64_t& bytes) {
  if (experts.empty()) return {};
  uint64_t largest = 0;
  for (const FilePiece& piece : experts) largest = std::max(largest, PieceReader::room_for(piece));
  const uint64_t share = others ? std::min(bytes, std::max(bytes / 2, largest)) : bytes;
  METALLIC_ASSIGN(experts_, ExpertCache::create(file_, std::move(experts), share, make_reader_()));
  bytes -= share;
  return {};
}

Status Residency::start_device(std::span<Weight* const> order) {
  device_ring_ = std::make_unique<DeviceRing>(*backend_, *transfers_);
  bool any = false;
  std::vector<FilePiece> pieces, experts;
  for (Weight* weight : order) {
    if (!is_streamed(*weight)) continue;
    any = true;
    auto matrix = std::make_shared<StreamedMatrix>(streamed_matrix(*weight));
    if (matrix->is_expert && matrix->is_on_disk()) {
      matrix->expert_piece = int(experts.size());
      experts.push_back(matrix->bytes);
    } else {
      METALLIC_TRY(slice(*weight, *matrix, pieces));
    }
    weight->owner = std::move(matrix);
  }
  if (!any) return {};
  uint64_t disk_bytes = plan_.disk_ring_bytes;
  METALLIC_TRY(start_experts(std::move(experts), !pieces.empty(), disk_bytes));
  if (!pieces.empty()) {
    const ReadMemory pinned = [this](uint64_t bytes) { return allocate_pinned_for_reading(bytes); };
    METALLIC_ASSIGN(disk_ring_, DiskRing::create(file_, std::move(pieces), disk_bytes, make_reader_(), pinned));
  }
  return device_ring_->start(plan_.gpu_ring_bytes, disk_ring_.get());
}

// Copies to the device run at the link's rate from pinned memory, and reads past the page cache want whole pages.
Result<std::shared_ptr<std::byte>> Residency::allocate_pinned_for_reading(uint64_t bytes) {
  METALLIC_ASSIGN(std::shared_ptr<void> memory, transfers_->allocate_pinned(bytes + kDirectAlignment));
  const uint64_t past = reinterpret_cast<uintptr_t>(memory.get()) % kDirectAlignment;
  auto* const begin = static_cast<std::byte*>(memory.get()) + (past == 0 ? 0 : kDirectAlignment - past);
  return std::shared_ptr<std::byte>(std::move(memory), begin);
}

// So many rows, in whole steps, that a slice of them takes at most a quarter of the ring: one is used, one is there and
// two are on their way. From disk, of that ring likewise.
int64_t Residency::rows_of_a_slice(const TensorView& matrix, int64_t row_bytes, bool from_disk) const {
  const TensorView step =
      TensorView::dense(nullptr, matrix.format, {std::min(kRowStep, matrix.shape[0]), matrix.shape[1]});
  const uint64_t room = DeviceRing::room_for(*transfers_, step, from_disk);
  uint64_t steps = plan_.gpu_ring_bytes / kSlicesOfARing / room;
  if (from_disk) steps = std::min(steps, plan_.disk_ring_bytes / kSlicesOfARing / uint64_t(row_bytes * kRowStep));
  return kRowStep * std::max<int64_t>(1, int64_t(steps));
}

// The rows of a matrix where its placement wants them, from the top: on the device, through the ring, by the host. What
// comes from disk goes through the ring, which is faster than any disk.
Status Residency::slice(const Weight& weight, StreamedMatrix& matrix, std::vector<FilePiece>& pieces) {
  TensorView view = weight.view;
  view.data = matrix.mapped(*file_);
  const int64_t rows = weight.rows();
  const Placement& placement = matrix.placement;
  const bool from_disk = matrix.is_on_disk(), expert = matrix.is_expert;
  // An expert is wanted whole, and few tokens want few: it is not worth a copy.
  const bool all_by_host = expert || placement.place == Place::kCpu || (plan_.gpu_ring_bytes == 0 && !from_disk);
  const double by_host = from_disk ? 0.0 : all_by_host ? 1.0 : double(placement.decode_cpu);
  const int64_t resident = expert ? 0 : rows_of(double(placement.gpu), rows);
  const int64_t host = std::min(rows - resident, rows_of(by_host, rows));
  const int64_t most_rows = rows_of_a_slice(view, matrix.row_bytes, from_disk);
  for (int64_t first = 0; first < rows;) {
    StreamedMatrix::Slice slice;
    slice.first = first;
    const bool stays = first < resident, by_the_host = first >= rows - host;
    const int64_t end = stays ? resident : by_the_host ? rows : rows - host;
    const bool cut = !stays && (from_disk || plan_.gpu_ring_bytes > 0);
    slice.rows = cut ? std::min(most_rows, end - first) : end - first;
    const TensorView part = rows_of(view, first, slice.rows);
    const uint64_t part_bytes = uint64_t(slice.rows * matrix.row_bytes);
    if (stays) {
      METALLIC_ASSIGN(slice.resident, backend_->load_weight(part, file_));
    } else if (from_disk) {
      slice.ring = device_ring_->add_from_disk(TensorView::dense(nullptr, part.format, part.shape), int(pieces.size()));
      pieces.push_back({matrix.bytes.file, matrix.bytes.offset + uint64_t(first * matrix.row_bytes), part_bytes});
    } else {
      if (plan_.gpu_ring_bytes > 0) {
        const RingOrder last = !by_the_host ? RingOrder::kFew : matrix.is_head ? RingOrder::kAll : RingOrder::kLong;
        METALLIC_ASSIGN(slice.ring, device_ring_->add(part, last));
      }
      if (by_the_host) {
        METALLIC_ASSIGN(slice.host, host_->load_weight(part, file_));
      }
    }
    if (!from_disk || stays) file_->release(*matrix.info, {static_cast<const std::byte*>(part.data), part_bytes});
    first += slice.rows;
    matrix.slices.push_back(std::move(slice));
  }
  return {};
}

Residency::Traffic Residency::traffic() const {
  Traffic traffic;
  if (device_ring_) traffic.copied = device_ring_->statistics().bytes_copied;
  if (disk_ring_) traffic.read = disk_ring_->statistics().bytes_read;
  if (experts_) traffic.read += experts_->statistics().bytes_read;
  return traffic;
}

Status Residency::check_stop() const {
  if (stop_ && stop_()) return fail(ErrorCode::kCancelled, "the request was cancelled");
  return {};
}

double Residency::measure_link() const { return metallic::measure_link(*backend_); }

}  // namespace metallic
