#include "memory/expert_cache.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"

namespace metallic {
namespace {

constexpr uint64_t kFetchesOfFame = 4096;  // after so many fetches a use counts half

}  // namespace

Result<std::unique_ptr<ExpertCache>> ExpertCache::create(std::shared_ptr<const GgufFile> file,
                                                         std::vector<FilePiece> pieces, uint64_t bytes,
                                                         std::unique_ptr<FileReader> reader) {
  uint64_t largest = 0;
  for (const FilePiece& piece : pieces) largest = std::max(largest, PieceReader::room_for(piece));
  const size_t slots = std::min<size_t>(pieces.size(), size_t(bytes / largest));
  if (slots == 0)
    return fail(ErrorCode::kOutOfMemory, "{}: {} bytes for experts cannot hold the largest matrix of one, of {}",
                file->path(), bytes, largest);
  std::unique_ptr<ExpertCache> cache(new ExpertCache(std::move(pieces), slots, largest));
  METALLIC_ASSIGN(cache->memory_, allocate_for_reading(slots * largest));
  METALLIC_ASSIGN(cache->reader_, PieceReader::open(std::move(file), cache->pieces_, std::move(reader)));
  return cache;
}

ExpertCache::ExpertCache(std::vector<FilePiece> pieces, size_t slots, uint64_t slot_bytes)
    : pieces_(std::move(pieces)),
      slots_(slots),
      slot_of_(pieces_.size(), -1),
      uses_(pieces_.size()),
      slot_bytes_(slot_bytes) {}

const std::byte* ExpertCache::find(int piece) const {
  const int slot = slot_of_[size_t(piece)];
  if (slot < 0) return nullptr;
  return memory_.get() + size_t(slot) * slot_bytes_ + PieceReader::begin_in(pieces_[size_t(piece)]);
}

Status ExpertCache::expect(std::vector<int> pieces) {
  expected_ = std::move(pieces);
  return fetch(std::span(expected_).first(std::min(expected_.size(), slots_.size())));
}

Result<const std::byte*> ExpertCache::bring(int piece) {
  if (const std::byte* found = find(piece)) return found;
  const auto at = std::find(expected_.begin(), expected_.end(), piece);
  const size_t most = std::max<size_t>(1, slots_.size() / 2), left = size_t(expected_.end() - at);
  METALLIC_TRY(fetch(left == 0
                         ? std::span<const int>(&piece, 1)
                         : std::span<const int>(expected_).subspan(expected_.size() - left, std::min(left, most))));
  return find(piece);
}

// An empty one, else that of the piece used least, among those that this fetch does not want.
size_t ExpertCache::slot_to_reuse() const {
  size_t best = slots_.size();
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].piece < 0) return i;
    if (slots_[i].fetched == fetches_) continue;
    if (best == slots_.size() || uses_[size_t(slots_[i].piece)] < uses_[size_t(slots_[best].piece)]) best = i;
  }
  METALLIC_CHECK(best < slots_.size());
  return best;
}

Status ExpertCache::fetch(std::span<const int> pieces) {
  METALLIC_CHECK(pieces.size() <= slots_.size());
  if (++fetches_ % kFetchesOfFame == 0)
    for (uint32_t& uses : uses_) uses /= 2;
  METALLIC_TRY(reader_->check_unchanged());
  for (const int piece : pieces) {
    ++uses_[size_t(piece)];
    if (const int slot = slot_of_[size_t(piece)]; slot >= 0) slots_[size_t(slot)].fetched = fetches_;
  }
  std::vector<int> missing;
  std::copy_if(pieces.begin(), pieces.end(), std::back_inserter(missing),
               [this](int piece) { return slot_of_[size_t(piece)] < 0; });
  hits_ += pieces.size() - missing.size();
  misses_ += missing.size();
  for (const int piece : missing) {
    const size_t index = slot_to_reuse();
    Slot& slot = slots_[index];
    if (slot.piece >= 0) slot_of_[size_t(slot.piece)] = -1;
    slot = {piece, fetches_};
    slot_of_[size_t(piece)] = int(index);
    (void)reader_->read(pieces_[size_t(piece)], memory_.get() + index * slot_bytes_, uint64_t(piece));
  }
  reader_->start();
  while (reader_->outstanding()) (void)reader_->wait();
  const std::optional<Error> failure = reader_->take_failure();
  if (!failure) return {};
  for (const int piece : missing) {  // which of them failed does not matter
    slots_[size_t(slot_of_[size_t(piece)])] = {};
    slot_of_[size_t(piece)] = -1;
  }
  return tl::unexpected<Error>(*failure);
}

}  // namespace metallic
