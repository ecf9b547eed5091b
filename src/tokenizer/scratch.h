// A growing array of numbers that never sets what it has not been given.
#pragma once

#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>

namespace metallic {

template <class T>
class Scratch {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Scratch() = default;
  ~Scratch() { std::free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() { return data_; }
  size_t size() const { return size_; }
  std::span<const T> span() const { return {data_, size_}; }
  size_t capacity() const { return capacity_; }

  void clear() { size_ = 0; }
  // Room for `count` elements more.
  void reserve_more(size_t count) {
    if (capacity_ - size_ < count) [[unlikely]]
      grow(count);
  }
  void append(std::span<const T> values) {
    if (values.empty()) return;
    reserve_more(values.size());
    std::memcpy(data_ + size_, values.data(), values.size_bytes());
    size_ += values.size();
  }
  // Where the next elements come to stand, within the room that there is, and that they now end at `end`.
  T* end() { return data_ + size_; }
  void set_end(const T* end) { size_ = size_t(end - data_); }
  void push_back(T value) {
    reserve_more(1);
    data_[size_++] = value;
  }
  void release() {
    std::free(data_);
    data_ = nullptr;
    size_ = capacity_ = 0;
  }

 private:
  void grow(size_t count) {
    const size_t capacity = capacity_ * 2 > size_ + count ? capacity_ * 2 : size_ + count;
    T* data = static_cast<T*>(std::realloc(data_, capacity * sizeof(T)));
    if (data == nullptr) throw std::bad_alloc();
    data_ = data;
    capacity_ = capacity;
  }

  T* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace metallic
