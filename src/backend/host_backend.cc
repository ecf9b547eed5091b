#include "backend/host_backend.h"

#include <sys/mman.h>

#include <cstring>

#include "base/error.h"

namespace metallic {
namespace {

constexpr uint64_t kHugePage = 2 << 20;

}  // namespace

Result<std::shared_ptr<void>> HostBackend::allocate(uint64_t bytes) {
  // Anonymous pages are zero and only become real when touched.
  const uint64_t size = bytes == 0 ? 1 : bytes;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail(ErrorCode::kOutOfMemory, "{}: cannot allocate {} bytes", name_, bytes);
  if (size >= kHugePage) (void)::madvise(memory, size, MADV_HUGEPAGE);  // only a hint
  return std::shared_ptr<void>(memory, [size](void* p) { ::munmap(p, size); });
}

void HostBackend::copy_from_host(void* to, const void* from, uint64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);  // no bytes may be at no address
}
void HostBackend::copy_to_host(void* to, const void* from, uint64_t bytes) { copy_from_host(to, from, bytes); }

}  // namespace metallic
