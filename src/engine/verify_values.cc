// The values of all tensors, scanned by all threads in pieces: memory is the limit (quant/scan.h).
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <vector>

#include "base/printable.h"
#include "engine/verify_checks.h"
#include "quant/dequantize.h"
#include "quant/scan.h"

namespace metallic {
namespace {

constexpr uint64_t kPieceBytes = 4 << 20;
// Weights, biases and norms stay far below it. Factors of rope may be anything: 1e30 switches a frequency off.
constexpr double kLargestNumber = 1e6;

struct Piece {
  size_t tensor;
  uint64_t first, count;  // blocks
};

std::vector<Piece> cut_into_pieces(const GgufFile& file) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const uint64_t block_bytes = uint64_t(format_info(file.tensors()[i].format).block_bytes);
    const uint64_t blocks = file.tensors()[i].bytes / block_bytes;
    const uint64_t step = std::max<uint64_t>(1, kPieceBytes / block_bytes);
    for (uint64_t first = 0; first < blocks; first += step)
      pieces.push_back({i, first, std::min(step, blocks - first)});
  }
  return pieces;
}

// Calls work(piece, its bytes) for all pieces, on all threads.
template <class Work>
void for_each_piece(const GgufFile& file, ThreadPool& threads, const Work& work) {
  const std::vector<Piece> pieces = cut_into_pieces(file);
  std::atomic<size_t> next = 0;
  threads.run([&](int, int) {
    for (size_t i = next++; i < pieces.size(); i = next++) {
      const TensorInfo& tensor = file.tensors()[pieces[i].tensor];
      const uint64_t block_bytes = uint64_t(format_info(tensor.format).block_bytes);
      work(pieces[i], file.tensor_data(tensor).data() + pieces[i].first * block_bytes);
    }
  });
}

std::string describe(const TensorInfo& tensor, uint64_t block, const std::string& what) {
  const FormatInfo& format = format_info(tensor.format);
  return fmt::format("tensor {} ({}): {} {} of {}, at byte {}: {}", printable(tensor.name), format.name,
                     format.block_elements == 1 ? "element" : "block", block,
                     tensor.bytes / uint64_t(format.block_bytes), tensor.offset + block * uint64_t(format.block_bytes),
                     what);
}

}  // namespace

VerifyCheck check_values(const GgufFile& file, ThreadPool& threads) {
  std::vector<BlockScan> scans(file.tensors().size());
  std::mutex mutex;
  for_each_piece(file, threads, [&](const Piece& piece, const std::byte* blocks) {
    const BlockScan scan = scan_blocks(file.tensors()[piece.tensor].format, blocks, piece.count, piece.first);
    const std::lock_guard lock(mutex);
    scans[piece.tensor].add(scan);
  });
  Findings findings;
  for (size_t i = 0; i < scans.size(); ++i) {
    const TensorInfo& tensor = file.tensors()[i];
    const bool any_size = tensor.name.find("rope_") != std::string_view::npos;
    if (const auto bad = judge(tensor.format, scans[i], any_size ? HUGE_VAL : kLargestNumber))
      findings.failed(describe(tensor, bad->block, bad->what));
  }
  return std::move(findings).finish("values");
}

VerifyCheck check_dequantised(const GgufFile& file, ThreadPool& threads) {
  constexpr uint64_t kBlocksAtOnce = 64;
  std::vector<uint64_t> first_bad(file.tensors().size(), UINT64_MAX);
  std::mutex mutex;
  for_each_piece(file, threads, [&](const Piece& piece, const std::byte* blocks) {
    const FormatInfo& format = format_info(file.tensors()[piece.tensor].format);
    const DequantizeRow dequantize = dequantize_function(format.format);
    if (dequantize == nullptr) return;
    std::vector<float> weights(kBlocksAtOnce * uint64_t(format.block_elements));
    for (uint64_t at = 0; at < piece.count; at += kBlocksAtOnce) {
      const uint64_t count = std::min(kBlocksAtOnce, piece.count - at) * uint64_t(format.block_elements);
      dequantize(blocks + at * uint64_t(format.block_bytes), int64_t(count), weights.data());
      const auto end = weights.begin() + ptrdiff_t(count);
      const auto bad = std::find_if_not(weights.begin(), end, [](float weight) { return std::isfinite(weight); });
      if (bad == end) continue;
      const uint64_t block = piece.first + at + uint64_t(bad - weights.begin()) / uint64_t(format.block_elements);
      const std::lock_guard lock(mutex);
      first_bad[piece.tensor] = std::min(first_bad[piece.tensor], block);
      return;
    }
  });
  Findings findings;
  for (size_t i = 0; i < first_bad.size(); ++i)
    if (first_bad[i] != UINT64_MAX)
      findings.failed(describe(file.tensors()[i], first_bad[i], "a weight is NaN or infinite"));
  return std::move(findings).finish("dequantised");
}

}  // namespace metallic
