#include "backend/cpu/packed.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "backend/cpu/cpu.h"
#include "backend/cpu/tuning.h"
#include "backend/weight_bytes.h"
#include "base/error.h"

namespace metallic::cpu {
namespace {

constexpr uint64_t kPiece = uint64_t{32} << 20;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr int64_t kCacheLine = 64;
constexpr int64_t kWorthTuning = 1 << 20;  // weights of a matrix

uintptr_t page_bytes() {
  static const auto bytes = uintptr_t(::sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

struct WeightArena::Piece {
  ~Piece() {
    if (memory != nullptr) ::munmap(memory, size);
  }
  // `change` of the bytes in use, for each page of [at, at + bytes); those of which nothing is left go back to the
  // system, and the kernel is kept from filling the hole for the sake of a huge page.
  template <class Change>
  void use(uint64_t at, uint64_t bytes, const Change& change) {
    const uint64_t page = page_bytes(), end = at + bytes;
    uint64_t empty = 0, first_empty = 0;
    const auto give_back = [&] {
      if (empty == 0) return;
      ::madvise(memory + first_empty * page, empty * page, MADV_NOHUGEPAGE);
      ::madvise(memory + first_empty * page, empty * page, MADV_DONTNEED);
      empty = 0;
    };
    for (uint64_t number = at / page; number * page < end; ++number) {
      change(used[number], uint32_t(std::min(end, (number + 1) * page) - std::max(at, number * page)));
      if (used[number] > 0) {
        give_back();
      } else if (empty++ == 0) {
        first_empty = number;
      }
    }
    give_back();
  }

  uint8_t* memory = nullptr;
  uint64_t size = 0, given = 0;
  std::vector<uint32_t> used;  // bytes of each page
};

Result<std::shared_ptr<WeightArena::Piece>> WeightArena::map_piece(uint64_t bytes) {
  auto piece = std::make_shared<Piece>();
  const uint64_t size = uint64_t(round_up(int64_t(std::max(bytes, kPiece)), int64_t(kHugePage)));
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return fail(ErrorCode::kOutOfMemory, "{} MB of memory for packed weights could not be had: {}", size >> 20,
                std::strerror(errno));
  ::madvise(memory, size, MADV_HUGEPAGE);  // a wish
  piece->memory = static_cast<uint8_t*>(memory);
  piece->size = size;
  piece->used.resize(size_t((size + page_bytes() - 1) / page_bytes()));
  return piece;
}

Result<std::shared_ptr<uint8_t>> WeightArena::allocate(uint64_t bytes) {
  bytes = uint64_t(round_up(int64_t(bytes), kCacheLine));
  if (piece_ == nullptr || piece_->size - piece_->given < bytes) {
    piece_.reset();
    METALLIC_ASSIGN(piece_, map_piece(bytes));
  }
  const uint64_t at = std::exchange(piece_->given, piece_->given + bytes);
  piece_->use(at, bytes, [](uint32_t& used, uint32_t part) { used += part; });
  return std::shared_ptr<uint8_t>(piece_->memory + at, [piece = piece_, at, bytes](uint8_t*) {
    piece->use(at, bytes, [](uint32_t& used, uint32_t part) { used -= part; });
  });
}

PackedWeight::PackedWeight(const PanelFormat& format, int width, int bundle, const TensorView& file,
                           std::shared_ptr<const void> owner)
    : format_(format),
      width_(width),
      bundle_(bundle),
      panels_(tile_count(file.shape[0], width)),
      groups_(file.shape[1] / kGroupColumns),
      file_(file),
      owner_(std::move(owner)) {}

PackedPanels PackedWeight::panels(int64_t first, uint8_t* scratch) const {
  const int64_t count = std::min(bundle_, panels_ - first), stride = count * format_.chunk_bytes;
  uint8_t* to = uses_ == 0 || memory_ == nullptr ? scratch : place(first);
  if (!in_place())
    for (int64_t panel = first; panel < first + count; ++panel) {
      const int64_t row = panel * width_;
      const auto* rows = static_cast<const uint8_t*>(file_.data) + row * file_.stride[0];
      format_.pack(rows, file_.stride[0], int(std::min<int64_t>(width_, file_.shape[0] - row)), groups_,
                   to + (panel - first) * format_.chunk_bytes, stride);
    }
  return {to, stride};
}

void PackedWeight::fetch(int64_t first) const {
  if (!in_place()) return;
  const uint8_t* from = place(first);
  const int64_t bytes = std::min(kFetchAhead, (panels_ - first) * format_.panel_bytes(groups_));
  for (int64_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(from + at, 0, 2);
}

void PackedWeight::used() const {
  if (memory_ == nullptr) return;
  uses_ = std::min(uses_ + 1, kPackedForGood);
  if (uses_ == kPackedForGood) owner_.reset();
}

void CpuBackend::tune() {
  panel_kernels_.tiles = tuned_tiles(panel_kernels_);
  tuned_ = true;
}

Result<Weight> CpuBackend::load_weight(const TensorView& host, std::shared_ptr<const void> owner) {
  const PanelFormat* format = panel_kernels_.format(host.format);
  if (format == nullptr || format->pack == nullptr || host.shape[0] == 0)
    return Weight{host, std::move(owner), nullptr};
  if (!tuned_ && host.shape[0] * host.shape[1] >= kWorthTuning) tune();
  auto packed = std::make_shared<PackedWeight>(*format, panel_kernels_.width, panel_kernels_.panels, host,
                                               repack_ ? std::move(owner) : owner);
  if (repack_) {
    METALLIC_ASSIGN(std::shared_ptr<uint8_t> memory, arena_.allocate(uint64_t(packed->bytes())));
    packed->set_memory(std::move(memory));
  }
  return Weight{host, std::move(owner), std::move(packed)};
}

}  // namespace metallic::cpu

namespace metallic {

uint64_t cpu_weight_bytes(Format format, int64_t rows, int64_t columns, bool repack) {
  const cpu::PanelKernels& kernels = *cpu::available_panel_kernels().front();
  const cpu::PanelFormat* panel = repack ? kernels.format(format) : nullptr;
  if (panel == nullptr || panel->pack == nullptr) return uint64_t(rows) * *format_bytes(format, uint64_t(columns));
  return cpu::packed_bytes(*panel, kernels.width, rows, columns);
}

}  // namespace metallic
