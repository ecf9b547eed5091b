#include "engine/kv_swap.h"

#include <new>
#include <utility>

#include "backend/transfers.h"
#include "base/check.h"
#include "base/error.h"

namespace metallic {
namespace {

uint64_t page_stride(const TensorView& pages) { return uint64_t(pages.stride[0]); }

// From pinned memory copies run at the link's rate.
Result<std::shared_ptr<std::byte>> allocate(Backend& backend, uint64_t bytes) {
  if (Transfers* transfers = find_transfers(backend)) {
    METALLIC_ASSIGN(std::shared_ptr<void> memory, transfers->allocate_pinned(bytes));
    return std::shared_ptr<std::byte>(memory, static_cast<std::byte*>(memory.get()));
  }
  auto* const memory = new (std::nothrow) std::byte[bytes];
  if (memory == nullptr)
    return fail(ErrorCode::kOutOfMemory, "cannot allocate {} bytes for keys and values that wait", bytes);
  return std::shared_ptr<std::byte>(memory, std::default_delete<std::byte[]>());
}

}  // namespace

SwappedPages& SwappedPages::operator=(SwappedPages&& other) noexcept {
  drop();
  memory_ = std::move(other.memory_);
  bytes_ = std::exchange(other.bytes_, 0);
  counted_in_ = std::exchange(other.counted_in_, nullptr);
  count_ = std::exchange(other.count_, 0);
  return *this;
}

void SwappedPages::drop() {
  if (counted_in_ != nullptr) *counted_in_ -= bytes_;
  counted_in_ = nullptr;
  memory_.reset();
  bytes_ = 0;
  count_ = 0;
}

uint64_t KvSwap::page_bytes() const {
  uint64_t bytes = 0;
  for (int layer = 0; layer < cache_.layers(); ++layer)
    bytes += page_stride(cache_.keys(layer)) + page_stride(cache_.values(layer));
  return bytes;
}

// copy(host, device, bytes, pages) for the keys and the values of each layer in pages that follow one another, of so
// many bytes each. On the host those of a layer lie together.
template <class Copy>
void KvSwap::each_part(const SwappedPages& pages, int first, std::span<const int32_t> numbers, const Copy& copy) const {
  std::byte* part_begin = pages.memory_.get();
  for (int layer = 0; layer < cache_.layers(); ++layer)
    for (const TensorView* part : {&cache_.keys(layer), &cache_.values(layer)}) {
      const uint64_t bytes = page_stride(*part);
      for (size_t begin = 0, end; begin < numbers.size(); begin = end) {
        for (end = begin + 1; end < numbers.size() && numbers[end] == numbers[end - 1] + 1;) ++end;
        copy(part_begin + (uint64_t(first) + begin) * bytes,
             static_cast<std::byte*>(part->data) + uint64_t(numbers[begin]) * bytes, bytes, end - begin);
      }
      part_begin += uint64_t(pages.count_) * bytes;
    }
}

Result<SwappedPages> KvSwap::out(std::span<const int32_t> pages) {
  SwappedPages swapped;
  const uint64_t bytes = pages.size() * page_bytes();
  if (used_ + bytes > limit_)
    return fail(ErrorCode::kOutOfMemory, "{} bytes for keys and values that wait are full", limit_);
  METALLIC_TRY(backend_.synchronize());
  METALLIC_ASSIGN(swapped.memory_, allocate(backend_, bytes));
  swapped.bytes_ = bytes;
  swapped.counted_in_ = &used_;
  swapped.count_ = int(pages.size());
  used_ += bytes;
  Transfers* transfers = find_transfers(backend_);
  each_part(swapped, 0, pages, [&](std::byte* host, const std::byte* device, uint64_t size, size_t count) {
    if (transfers != nullptr)
      transfers->copy_rows({device, host, int64_t(size), int64_t(size), int64_t(size), int64_t(count)});
    else
      backend_.copy_to_host(host, device, size * count);
  });
  METALLIC_TRY(backend_.synchronize());
  return swapped;
}

Status KvSwap::in(const SwappedPages& pages, int first, std::span<const int32_t> to) {
  METALLIC_CHECK(first >= 0 && first + int(to.size()) <= pages.count());
  Transfers* transfers = find_transfers(backend_);
  each_part(pages, first, to, [&](const std::byte* host, std::byte* device, uint64_t size, size_t count) {
    if (transfers != nullptr)
      transfers->copy_rows({host, device, int64_t(size), int64_t(size), int64_t(size), int64_t(count)});
    else
      backend_.copy_from_host(device, host, size * count);
  });
  return backend_.synchronize();
}

}  // namespace metallic
