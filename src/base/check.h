// METALLIC_CHECK: an invariant of ours. It is always on; a failure is a defect in metallic, never the user's doing.
#pragma once

namespace metallic {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}

#define METALLIC_CHECK(condition) \
  (__builtin_expect(!!(condition), 1) ? void(0) : ::metallic::check_failed(#condition, __FILE__, __LINE__))

// For kernels and other inner loops: only in builds without NDEBUG.
#ifdef NDEBUG
#define METALLIC_DCHECK(condition) void(0)
#else
#define METALLIC_DCHECK(condition) METALLIC_CHECK(condition)
#endif
