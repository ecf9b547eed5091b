#include "memory/measure_link.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "backend/transfers.h"
#include "memory/host_worker.h"

namespace metallic {
namespace {

constexpr uint64_t kPiece = uint64_t{16} << 20;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Host memory of several pieces, so that no cache holds what is copied, and a place for one.
struct CopyBuffers {
  static constexpr int kPieces = 16;
  std::shared_ptr<void> host, device;

  bool allocate(Backend& backend, Transfers& transfers) {
    auto from = transfers.allocate_pinned(kPieces * kPiece);
    auto to = backend.allocate(kPiece);
    if (!from || !to) return false;
    host = std::move(*from);
    device = std::move(*to);
    return true;
  }
  uint64_t copy_all(Transfers& transfers) const {
    uint64_t copy = 0;
    for (uint64_t piece = 0; piece < kPieces; ++piece)
      copy = transfers.copy_ahead(device.get(), static_cast<char*>(host.get()) + piece * kPiece, kPiece, 0);
    return copy;
  }
};

}  // namespace

double measure_link(Backend& backend) {
  constexpr int kTries = 4;
  Transfers* transfers = find_transfers(backend);
  CopyBuffers buffers;
  if (transfers == nullptr || !buffers.allocate(backend, *transfers)) return 0;
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto start = std::chrono::steady_clock::now();
    transfers->wait_for_copy(buffers.copy_all(*transfers));
    if (!backend.synchronize()) return 0;
    if (i > 0)  // the first gets ready
      best = std::max(best, CopyBuffers::kPieces * double(kPiece) / seconds_since(start));
  }
  return best;
}

double measure_handover(Backend& device, Backend& host) {
  constexpr int64_t kColumns = 1024, kRows = 256;
  constexpr int kTimes = 64;
  Transfers* transfers = find_transfers(device);
  if (transfers == nullptr) return 0;
  const std::vector<float> values(size_t(kRows * kColumns), 0.5f);
  const TensorView matrix =
      TensorView::dense(const_cast<float*>(values.data()), Format::kF32, {kRows, kColumns});  // only read
  const auto weight = host.load_weight(matrix, nullptr);
  const auto on_device = device.allocate(uint64_t(kColumns) * sizeof(float));
  const auto pinned = transfers->allocate_pinned(uint64_t(kColumns + kRows) * sizeof(float));
  if (!weight || !on_device || !pinned) return 0;
  auto* const x = static_cast<float*>(pinned->get());
  std::fill(x, x + kColumns + kRows, 0.0f);
  const LinearTarget target{&*weight, nullptr, TensorView::dense(x + kColumns, Format::kF32, {1, kRows}), false};
  const int64_t in = kColumns * int64_t(sizeof(float)), out = kRows * int64_t(sizeof(float));
  const TensorView there = TensorView::dense(on_device->get(), Format::kF32, {1, kColumns});
  HostWorker worker(*transfers);
  double best = 0;
  for (int i = 0; i <= 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    for (int n = 0; n < kTimes; ++n) {
      device.scale(there, 1.0f, 0.0f);
      transfers->copy_rows({on_device->get(), x, in, in, in, 1});
      const uint64_t number = transfers->ask();
      worker.add(number, [&] { host.linear({TensorView::dense(x, Format::kF32, {1, kColumns}), {&target, 1}}); });
      transfers->wait_for_answer(number);
      transfers->copy_rows({x + kColumns, on_device->get(), out, out, out, 1});
    }
    if (!device.synchronize() || !host.synchronize()) return 0;
    const double seconds = seconds_since(start) / kTimes;
    if (i > 0) best = i == 1 ? seconds : std::min(best, seconds);
  }
  return best;
}

BackgroundCopies::BackgroundCopies(std::shared_ptr<Backend> device)
    : device_(std::move(device)), thread_([this] { run(); }) {
  begun_.wait();
}

double BackgroundCopies::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return rate_;
}

void BackgroundCopies::run() {
  Transfers* transfers = find_transfers(*device_);
  CopyBuffers buffers;
  const bool can = transfers != nullptr && buffers.allocate(*device_, *transfers);
  if (can) transfers->wait_for_copy(buffers.copy_all(*transfers));  // gets ready
  begun_.count_down();
  if (!can) return;
  const auto start = std::chrono::steady_clock::now();
  uint64_t rounds = 0, before = 0;
  while (!stop_) {  // one round is under way while the next is asked for
    const uint64_t copy = buffers.copy_all(*transfers);
    if (before != 0) transfers->finish_copy(before);
    before = copy;
    ++rounds;
  }
  transfers->wait_for_copy(before);
  if (!device_->synchronize()) return;
  rate_ = double(rounds) * CopyBuffers::kPieces * double(kPiece) / seconds_since(start);
}

}  // namespace metallic
