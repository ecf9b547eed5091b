// Compiled without vectors. The inline namespace keeps these instances apart from the library's own.
#include "base/isa.h"
#undef METALLIC_ISA
#define METALLIC_ISA isa_not_vectorised

#include "bench/scalar/dequantize.h"
#include "quant/dequantize_blocks.h"

namespace metallic {

namespace {

template <class F, class T>
struct Row {
  static void run(const void* blocks, int64_t elements, T* out) { quant::dequantize_blocks<F>(blocks, elements, out); }
};

}  // namespace

const quant::Dequantizers kScalarDequantizers = {
    "scalar",
    [](Format format) {
      return quant::visit_format(format, []<class F>(F) -> DequantizeRow { return Row<F, float>::run; });
    },
    quant::convert_function<Row>,
};

}  // namespace metallic
