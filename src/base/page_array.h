// A large array of zeros, on huge pages where the system has them: few page faults when it is first written, and few
// misses of the address translation when it is read here and there.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace metallic {

// Owns its memory; can be moved, not copied. Elements are as if all their bytes were 0.
template <class T>
class PageArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  PageArray() = default;
  explicit PageArray(size_t size) : size_(size) {
    if (size == 0) return;
    constexpr size_t kHugePage = size_t{2} << 20;
    const bool huge = bytes() >= kHugePage;
    const size_t room = bytes() + (huge ? kHugePage : 0);  // to begin at a multiple of the huge page
    void* memory = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    char* const begin = static_cast<char*>(memory);
    const size_t skipped = huge ? (kHugePage - reinterpret_cast<size_t>(begin) % kHugePage) % kHugePage : 0;
    mapping_ = memory;
    mapped_ = room;
    data_ = reinterpret_cast<T*>(begin + skipped);
    if (huge) (void)::madvise(data_, bytes(), MADV_HUGEPAGE);  // only a hint
  }
  ~PageArray() {
    if (mapping_ != nullptr) ::munmap(mapping_, mapped_);
  }
  PageArray(PageArray&& other) noexcept { *this = std::move(other); }
  PageArray& operator=(PageArray&& other) noexcept {
    std::swap(mapping_, other.mapping_);
    std::swap(mapped_, other.mapped_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T& operator[](size_t index) { return data_[index]; }
  const T& operator[](size_t index) const { return data_[index]; }

 private:
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace metallic
