// All formats, and the one switch from a Format to the struct that decodes it.
#pragma once

#include <utility>

#include "base/check.h"
#include "quant/iq1_m.h"
#include "quant/iq1_s.h"
#include "quant/iq2_s.h"
#include "quant/iq2_xs.h"
#include "quant/iq2_xxs.h"
#include "quant/iq3_s.h"
#include "quant/iq3_xxs.h"
#include "quant/iq4_nl.h"
#include "quant/iq4_xs.h"
#include "quant/mxfp4.h"
#include "quant/nvfp4.h"
#include "quant/plain.h"
#include "quant/q1_0.h"
#include "quant/q2_k.h"
#include "quant/q3_k.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"
#include "quant/q8_1.h"
#include "quant/q8_k.h"
#include "quant/tq1_0.h"
#include "quant/tq2_0.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

// Whether F, one of the structs, stores groups of codes (and not plain numbers).
template <class F>
concept Grouped = requires {
  F::kGroup;
};

// function(quant::X{}) for the struct X of `format`, one of files. What it returns must not depend on the type X.
template <class Function>
constexpr decltype(auto) visit_format(Format format, Function&& function) {
  switch (format) {
#define METALLIC_FORMAT(name) \
  case Format::k##name:       \
    return std::forward<Function>(function)(name{});
#include "quant/formats.def"
#undef METALLIC_FORMAT
    case Format::kF8_E4M3:
      break;
  }
  check_failed("unknown Format", __FILE__, __LINE__);
}

// The same for any format.
template <class Function>
constexpr decltype(auto) visit_any_format(Format format, Function&& function) {
  if (format == Format::kF8_E4M3) return std::forward<Function>(function)(F8_E4M3{});
  return visit_format(format, std::forward<Function>(function));
}

}  // namespace METALLIC_ISA
}  // namespace metallic::quant
