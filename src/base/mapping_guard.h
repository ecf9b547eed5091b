// Survives reads of a mapped file whose end has been cut off by someone else. The kernel answers such a read with
// SIGBUS, which would end the process; here the missing pages become zeros and the mapping is marked as damaged.
#pragma once

#include <cstddef>

namespace metallic {

// A range of memory that mmap() gave for a file. The first watched range installs a SIGBUS handler for the whole
// process, which hands every fault outside watched ranges to the handler that was there before. Safe to use from any
// thread.
class MappingGuard {
 public:
  struct Node;

  MappingGuard() = default;
  MappingGuard(const std::byte* begin, size_t size);
  MappingGuard(MappingGuard&& other) noexcept;
  MappingGuard& operator=(MappingGuard&& other) noexcept;
  ~MappingGuard();  // must come before munmap()

  // True once a page of the range could not be read. From then on the pages from there to the end read as zero.
  bool damaged() const;

 private:
  Node* node_ = nullptr;
};

}  // namespace metallic
