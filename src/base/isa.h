// Headers whose code is compiled several times, for different instruction sets, put it into the inline namespace
// METALLIC_ISA: `inline namespace METALLIC_ISA {`. Each set then has its own symbols, and the linker cannot
// hand AVX-512 code to a processor that lacks it. Such types must not appear in interfaces between source files.
#pragma once

#if defined(__AVX512F__)
#define METALLIC_ISA isa_avx512
#elif defined(__AVX2__)
#define METALLIC_ISA isa_avx2
#else
#define METALLIC_ISA isa_base
#endif
