// Which formats have panels, and how they are packed. Included in the unnamed namespace of each folder's panels.cc,
// after simd_panel_codes.h.

// What Make::packed<Pack>() or Make::plain<F>() gives for a format; null for what is no quantised format.
template <class Make>
const PanelFormat* panel_format_of(Format format) {
  switch (format) {
    case Format::kQ4_0:
      return Make::template packed<PackedQ4_0>();
    case Format::kQ4_1:
      return Make::template packed<PackedQ4_1>();
    case Format::kQ5_0:
      return Make::template packed<PackedQ5_0>();
    case Format::kQ5_1:
      return Make::template packed<PackedQ5_1>();
    case Format::kQ8_0:
      return Make::template packed<PackedQ8_0>();
    case Format::kQ2_K:
      return Make::template packed<PackedQ2_K>();
    case Format::kQ3_K:
      return Make::template packed<PackedQ3_K>();
    case Format::kQ4_K:
      return Make::template packed<PackedQ4_K>();
    case Format::kQ5_K:
      return Make::template packed<PackedQ5_K>();
    case Format::kQ6_K:
      return Make::template packed<PackedQ6_K>();
    case Format::kIQ4_NL:
      return Make::template packed<PackedIQ4_NL>();
    case Format::kIQ4_XS:
      return Make::template packed<PackedIQ4_XS>();
    case Format::kMXFP4:
      return Make::template packed<PackedMXFP4>();
    case Format::kTQ2_0:
      return Make::template packed<PackedTQ2_0>();
    case Format::kQ1_0:
      return Make::template packed<PackedQ1_0>();
    case Format::kQ8_1:
      return Make::template plain<quant::Q8_1>();
    case Format::kQ8_K:
      return Make::template plain<quant::Q8_K>();
    case Format::kTQ1_0:
      return Make::template packed<PackedTQ1_0>();
    case Format::kNVFP4:
      return Make::template packed<PackedNVFP4>();
    case Format::kIQ1_S:
      return Make::template packed<PackedIQ1_S>();
    case Format::kIQ1_M:
      return Make::template packed<PackedIQ1_M>();
    case Format::kIQ2_XXS:
      return Make::template packed<PackedIQ2_XXS>();
    case Format::kIQ2_XS:
      return Make::template packed<PackedIQ2_XS>();
    case Format::kIQ2_S:
      return Make::template packed<PackedIQ2_S>();
    case Format::kIQ3_XXS:
      return Make::template packed<PackedIQ3_XXS>();
    case Format::kIQ3_S:
      return Make::template packed<PackedIQ3_S>();
    default:
      return nullptr;
  }
}
