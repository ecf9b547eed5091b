#include "quant/scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "quant/formats.h"

namespace metallic {
namespace {

constexpr uint32_t kInfinity = 0x7f800000;  // bits of a float
constexpr float kLargestScale = 1024;
constexpr float kSuspectScale = 16;
constexpr int kSuspectDistance = 12;  // in powers of two above the mean scale

void note_impossible(BlockScan& scan, uint64_t block, const char* what) {
  ++scan.impossible;
  if (block >= scan.first_impossible) return;
  scan.first_impossible = block;
  scan.what = what;
}

// One block of a format with groups; at most one fault is noted.
struct BlockChecker {
  BlockScan& scan;
  uint64_t block;
  const char* fault = nullptr;

  void scale(float value, const char* not_finite) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(value) & 0x7fffffff;
    if (magnitude >= kInfinity) {
      fault = not_finite;
    } else if (magnitude != 0) {
      scan.exponents += int64_t(magnitude >> 23) - 127;
      ++scan.scales;
      const float absolute = std::bit_cast<float>(magnitude);
      if (absolute > scan.largest) {
        scan.largest = absolute;
        scan.largest_block = block;
      }
    }
  }
};

// Bytes that hold five base-3 digits as the fraction ceil(256 n / 243), n < 243; the others mean no weights.
constexpr std::array<bool, 256> kTernaryByte = [] {
  std::array<bool, 256> valid{};
  for (int n = 0; n < 243; ++n) valid[size_t((n * 256 + 242) / 243)] = true;
  return valid;
}();

void check_codes(const quant::TQ1_0::Block& block, BlockChecker& checker) {
  const auto valid = [](uint8_t byte) { return kTernaryByte[byte]; };
  if (!std::all_of(block.digits, block.digits + 48, valid) ||
      !std::all_of(block.last_digits, block.last_digits + 4, valid))
    checker.fault = "a byte stands for no five ternary digits";
}

void check_codes(const quant::TQ2_0::Block& block, BlockChecker& checker) {
  uint8_t threes = 0;
  for (const uint8_t byte : block.codes) threes |= byte & (byte >> 1) & 0x55;
  if (threes != 0) checker.fault = "a code is 3 where there are three values only";
}

void check_scales(const quant::IQ1_M::Block& block, BlockChecker& checker) {
  uint32_t half = 0;
  for (int i = 0; i < 4; ++i) half |= uint32_t(block.scales[i] >> 12) << (4 * i);
  checker.scale(half_to_float(uint16_t(half)), "the scale is NaN or infinite");
}

void check_scales(const quant::MXFP4::Block& block, BlockChecker& checker) {
  if (block.exponent == 255)
    checker.fault = "the scale is NaN (exponent 255)";
  else
    checker.scale(std::ldexp(1.0f, int(block.exponent) - 127), "");
}

void check_scales(const quant::NVFP4::Block& block, BlockChecker& checker) {
  for (const uint8_t bits : block.scales) {
    if (bits >= 0x7f)
      checker.fault = bits == 0x7f ? "a scale is NaN" : "a scale is negative, which the format does not know";
    else
      checker.scale(2 * quant::NVFP4::half_e4m3(bits), "");
  }
}

template <class F>
void check_block(const typename F::Block& block, BlockChecker& checker) {
  if constexpr (requires { block.scale; }) {
    checker.scale(block.scale, "the scale is NaN or infinite");
  } else {
    check_scales(block, checker);
  }
  if constexpr (requires { block.minimum; }) checker.scale(block.minimum, "the minimum is NaN or infinite");
  if constexpr (std::is_same_v<F, quant::Q8_1>) checker.scale(block.sum, "the sum is NaN or infinite");
  if constexpr (std::is_same_v<F, quant::TQ1_0> || std::is_same_v<F, quant::TQ2_0>) check_codes(block, checker);
}

template <class F>
BlockScan scan_grouped(const typename F::Block* blocks, uint64_t count, uint64_t first) {
  BlockScan scan;
  for (uint64_t i = 0; i < count; ++i) {
    BlockChecker checker{scan, first + i};
    check_block<F>(blocks[i], checker);
    if (checker.fault != nullptr) note_impossible(scan, first + i, checker.fault);
  }
  return scan;
}

// Floats as their bits, without the sign: then the largest integer is the largest magnitude, and a NaN is larger still.
template <class Word>
BlockScan scan_floats(const void* data, uint64_t count, uint64_t first, Word sign, Word infinity,
                      float (*value)(Word)) {
  constexpr uint64_t kRun = 1024;
  const auto* bytes = static_cast<const uint8_t*>(data);
  BlockScan scan;
  std::array<Word, kRun> words;
  Word largest = 0;
  for (uint64_t at = 0; at < count; at += kRun) {
    const size_t run = size_t(std::min(kRun, count - at));
    std::memcpy(words.data(), bytes + at * sizeof(Word), run * sizeof(Word));
    Word run_largest = 0;
    for (size_t i = 0; i < run; ++i) run_largest = std::max(run_largest, Word(words[i] & Word(~sign)));
    if (run_largest <= largest) continue;
    for (size_t i = 0; i < run; ++i) {
      const Word magnitude = words[i] & Word(~sign);
      if (magnitude >= infinity) {
        note_impossible(scan, first + at + i, "the number is NaN or infinite");
      } else if (magnitude > largest) {
        largest = magnitude;
        scan.largest = value(magnitude);
        scan.largest_block = first + at + i;
      }
    }
  }
  return scan;
}

}  // namespace

void BlockScan::add(const BlockScan& other) {
  impossible += other.impossible;
  if (other.first_impossible < first_impossible) {
    first_impossible = other.first_impossible;
    what = other.what;
  }
  if (other.largest > largest) {
    largest = other.largest;
    largest_block = other.largest_block;
  }
  exponents += other.exponents;
  scales += other.scales;
}

BlockScan scan_blocks(Format format, const void* blocks, uint64_t count, uint64_t first) {
  switch (format) {
    case Format::kF64:
      return scan_floats<uint64_t>(blocks, count, first, uint64_t(1) << 63, uint64_t(0x7ff) << 52,
                                   [](uint64_t bits) { return float(std::bit_cast<double>(bits)); });
    case Format::kF32:
      return scan_floats<uint32_t>(blocks, count, first, 0x80000000u, kInfinity,
                                   [](uint32_t bits) { return std::bit_cast<float>(bits); });
    case Format::kF16:
      return scan_floats<uint16_t>(blocks, count, first, 0x8000, 0x7c00,
                                   [](uint16_t bits) { return half_to_float(bits); });
    case Format::kBF16:
      return scan_floats<uint16_t>(blocks, count, first, 0x8000, 0x7f80,
                                   [](uint16_t bits) { return bfloat16_to_float(bits); });
    default:
      break;
  }
  return quant::visit_format(format, [&]<class F>(F) -> BlockScan {
    if constexpr (quant::Grouped<F>)
      return scan_grouped<F>(static_cast<const typename F::Block*>(blocks), count, first);
    else
      return {};  // every integer is possible
  });
}

std::optional<BadBlock> judge(Format format, const BlockScan& scan, double largest_number) {
  if (scan.impossible > 0) {
    const std::string others =
        scan.impossible > 1 ? fmt::format(" ({} blocks of this tensor are impossible)", scan.impossible) : "";
    return BadBlock{scan.first_impossible, scan.what + others};
  }
  if (format_info(format).block_elements == 1) {
    if (double(scan.largest) <= largest_number) return std::nullopt;
    return BadBlock{scan.largest_block, fmt::format("the number is {:g}, which is absurdly large", scan.largest)};
  }
  if (scan.largest > kLargestScale)
    return BadBlock{scan.largest_block, fmt::format("a scale is {:g}, which is absurdly large", scan.largest)};
  const double mean = scan.scales == 0 ? 0 : double(scan.exponents) / double(scan.scales);
  if (scan.largest > kSuspectScale && std::ilogb(scan.largest) - mean > kSuspectDistance)
    return BadBlock{scan.largest_block, fmt::format("a scale is {:g} where the tensor's mean is {:.2g}: absurdly large",
                                                    scan.largest, std::exp2(mean))};
  return std::nullopt;
}

}  // namespace metallic
