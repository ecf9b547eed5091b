// What a thread does that looks again and again whether something has changed.
#pragma once

namespace metallic {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace metallic
