// Headers whose code is compiled several times, for different instruction sets, put it into the inline namespace
// METALLIC_ISA: `inline namespace METALLIC_ISA {`. Each set then has its own symbols, and the linker cannot
// hand AVX-512 code to a processor that lacks it. Such types must not appear in interfaces between source files.
#pragma once

#if defined(__AVX512VNNI__)
#define METALLIC_ISA isa_avx512vnni
#elif defined(__AVX512F__)
#define METALLIC_ISA isa_avx512
#elif defined(__AVXVNNI__)
#define METALLIC_ISA isa_avxvnni
#elif defined(__AVX2__)
#define METALLIC_ISA isa_avx2
#elif defined(__ARM_FEATURE_MATMUL_INT8)
#define METALLIC_ISA isa_neoni8mm
#elif defined(__ARM_FEATURE_DOTPROD)
#define METALLIC_ISA isa_neondot
#else
#define METALLIC_ISA isa_base
#endif
