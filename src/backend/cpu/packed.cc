#include "backend/cpu/packed.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "backend/cpu/cpu.h"
#include "backend/weight_bytes.h"
#include "base/error.h"

namespace metallic::cpu {
namespace {

constexpr uint64_t kPiece = uint64_t{32} << 20;
constexpr uint64_t kHugePage = uint64_t{2} << 20;

Result<std::shared_ptr<uint8_t>> map_memory(uint64_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return fail(ErrorCode::kOutOfMemory, "{} MB of memory for packed weights could not be had: {}", bytes >> 20,
                std::strerror(errno));
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // a wish
  return std::shared_ptr<uint8_t>(static_cast<uint8_t*>(memory), [bytes](uint8_t* at) { ::munmap(at, bytes); });
}

}  // namespace

Result<std::shared_ptr<uint8_t>> WeightArena::allocate(uint64_t bytes) {
  bytes = uint64_t(round_up(int64_t(bytes), kPanelAlignment));
  if (size_ - used_ < bytes) {
    size_ = uint64_t(round_up(int64_t(std::max(bytes, kPiece)), int64_t(kHugePage)));
    used_ = 0;
    piece_.reset();
    auto piece = map_memory(size_);
    if (!piece) size_ = 0;
    METALLIC_ASSIGN(piece_, std::move(piece));
  }
  uint8_t* memory = piece_.get() + used_;
  used_ += bytes;
  return std::shared_ptr<uint8_t>(piece_, memory);
}

Result<Weight> CpuBackend::load_weight(const TensorView& host, std::shared_ptr<const void> owner) {
  Weight weight{host, std::move(owner), nullptr};
  const PanelFormat* format = panel_kernels_.format(host.format);
  if (!repack_ || format == nullptr || format->pack == nullptr || host.shape[0] == 0) return weight;
  PackedWeight packed;
  packed.format = format;
  packed.panels = tile_count(host.shape[0], panel_kernels_.width);
  packed.groups = host.shape[1] / kGroupColumns;
  packed.panel_bytes = round_up(format->panel_bytes(packed.groups), kPanelAlignment);
  METALLIC_ASSIGN(std::shared_ptr<uint8_t> memory, arena_.allocate(uint64_t(packed.panels * packed.panel_bytes)));
  const auto* rows = static_cast<const uint8_t*>(host.data);
  for_each_item(packed.panels, [&](int64_t panel, int) {
    const int64_t first = panel * panel_kernels_.width;
    const int count = int(std::min<int64_t>(panel_kernels_.width, host.shape[0] - first));
    format->pack(rows + first * host.stride[0], host.stride[0], count, packed.groups,
                 memory.get() + panel * packed.panel_bytes);
  });
  packed.memory = std::move(memory);
  weight.packed = std::make_shared<const PackedWeight>(std::move(packed));
  return weight;
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
