// Compiled without vectors. The inline namespace keeps these instances apart from the library's own.
#include "base/isa.h"
#undef METALLIC_ISA
#define METALLIC_ISA isa_not_vectorised

#include "bench/scalar/dequantize.h"
#include "quant/dequantize_blocks.h"

namespace metallic {

DequantizeRow scalar_dequantize_function(Format format) {
  return quant::visit_format(format, []<class F>(F) -> DequantizeRow { return quant::dequantize_blocks<F, float>; });
}

}  // namespace metallic
