#include "memory/disk_ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/check.h"
#include "base/error.h"

namespace metallic {
namespace {

constexpr uint64_t kRequestBytes = 1 << 20;  // smaller ones cost more calls, larger ones are no faster

uint64_t round_down(uint64_t value) { return value / kDirectAlignment * kDirectAlignment; }
uint64_t round_up(uint64_t value) { return round_down(value + kDirectAlignment - 1); }

// Pages that are really there: a budget is kept from the start, and no read has to wait for memory.
Result<std::shared_ptr<std::byte>> allocate_ring(uint64_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return fail(ErrorCode::kOutOfMemory, "cannot allocate {} bytes for weights that are read from disk", bytes);
  (void)::madvise(memory, bytes, MADV_HUGEPAGE);  // only hints
  (void)::madvise(memory, bytes, MADV_POPULATE_WRITE);
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory), [bytes](std::byte* p) { ::munmap(p, bytes); });
}

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

uint64_t DiskRing::room_for(const FilePiece& piece) {
  return round_up(piece.offset + piece.bytes) - round_down(piece.offset);
}

Result<std::unique_ptr<DiskRing>> DiskRing::create(std::shared_ptr<const GgufFile> file, std::vector<FilePiece> pieces,
                                                   uint64_t ring_bytes, std::unique_ptr<FileReader> reader) {
  METALLIC_CHECK(!pieces.empty());
  ring_bytes = round_up(ring_bytes);
  uint64_t largest = 0;
  for (const FilePiece& piece : pieces) largest = std::max(largest, room_for(piece));
  if (ring_bytes < largest)
    return fail(ErrorCode::kOutOfMemory, "{}: a ring of {} bytes cannot hold the largest piece, of {}", file->path(),
                ring_bytes, largest);
  std::unique_ptr<DiskRing> ring(new DiskRing(std::move(file), std::move(pieces), ring_bytes, std::move(reader)));
  METALLIC_TRY(ring->open_sources());
  METALLIC_ASSIGN(ring->memory_, allocate_ring(ring_bytes));
  ring->read_ahead();
  return ring;
}

DiskRing::DiskRing(std::shared_ptr<const GgufFile> file, std::vector<FilePiece> pieces, uint64_t ring_bytes,
                   std::unique_ptr<FileReader> reader)
    : file_(std::move(file)), pieces_(std::move(pieces)), places_(ring_bytes), reader_(std::move(reader)) {}

DiskRing::~DiskRing() {
  reader_.reset();  // waits
  for (const Source& source : sources_)
    if (source.descriptor.fd >= 0) ::close(source.descriptor.fd);
}

Status DiskRing::open_sources() {
  sources_.resize(size_t(file_->file_count()));
  for (const FilePiece& piece : pieces_) {
    Source& source = sources_[size_t(piece.file)];
    if (source.descriptor.fd >= 0) continue;
    source.path = file_->file_path(piece.file);
    METALLIC_ASSIGN(source.descriptor, open_direct(file_->descriptor(piece.file), source.path));
    struct stat status {};
    if (::fstat(source.descriptor.fd, &status) != 0)
      return fail(ErrorCode::kIo, "{}: cannot stat: {}", source.path, std::strerror(errno));
    source.size = status.st_size;
    source.changed = status.st_mtim;
  }
  return {};
}

bool DiskRing::direct() const {
  return std::all_of(sources_.begin(), sources_.end(),
                     [](const Source& s) { return s.descriptor.fd < 0 || s.descriptor.direct; });
}

Status DiskRing::check_unchanged() const {
  for (const Source& source : sources_) {
    if (source.descriptor.fd < 0) continue;
    struct stat status {};
    if (::fstat(source.descriptor.fd, &status) != 0)
      return fail(ErrorCode::kIo, "{}: cannot stat: {}", source.path, std::strerror(errno));
    if (status.st_size != source.size)
      return fail(ErrorCode::kIo,
                  "{}: the file was {} bytes long and is {} now, while its weights are in use; load it "
                  "again",
                  source.path, source.size, status.st_size);
    if (!same_time(status.st_mtim, source.changed))
      return fail(ErrorCode::kIo, "{}: the file was changed while its weights are in use; load it again", source.path);
  }
  return {};
}

// Requests pieces as far as there is room, at most once round and the piece that is held.
void DiskRing::read_ahead() {
  while (next_read_ - released_ <= pieces_.size()) {
    const std::optional<uint64_t> offset = places_.allocate(room_for(pieces_[next_read_ % pieces_.size()]));
    if (!offset) break;
    entries_.push_back({next_read_++, *offset, 0});
    request_piece(entries_.back());
  }
  reader_->start();
}

void DiskRing::request_piece(Entry& entry) {
  const FilePiece& piece = pieces_[entry.use % pieces_.size()];
  const uint64_t begin = round_down(piece.offset), end = piece.offset + piece.bytes, aligned_end = round_up(end);
  for (uint64_t at = begin; at < aligned_end; at += kRequestBytes) {
    const uint64_t bytes = std::min(kRequestBytes, aligned_end - at);
    std::byte* to = memory_.get() + entry.offset + (at - begin);
    ++entry.pending;
    submit({{sources_[size_t(piece.file)].descriptor.fd, at, bytes, to, 0}, std::min(bytes, end - at), entry.use});
  }
}

void DiskRing::submit(const Request& request) {
  if (free_requests_.empty()) {
    free_requests_.push_back(requests_.size());
    requests_.emplace_back();
  }
  const size_t index = free_requests_.back();
  free_requests_.pop_back();
  requests_[index] = request;
  requests_[index].read.tag = index;
  reader_->submit(requests_[index].read);
}

// A read that gave less than wanted goes on where it stopped.
void DiskRing::complete_one() {
  const ReadResult result = reader_->wait();
  const Request request = requests_[result.tag];
  free_requests_.push_back(size_t(result.tag));
  const FilePiece& piece = pieces_[request.use % pieces_.size()];
  const std::string& path = sources_[size_t(piece.file)].path;
  if (result.bytes == -EINTR || result.bytes == -EAGAIN) return submit(request);
  if (result.bytes >= 0 && uint64_t(result.bytes) < request.needed) {
    const uint64_t kept = round_down(uint64_t(result.bytes));
    if (kept > 0) {
      Request rest = request;
      rest.read.offset += kept;
      rest.read.bytes -= kept;
      rest.read.to += kept;
      rest.needed -= kept;
      return submit(rest);
    }
  }
  for (Entry& entry : entries_)
    if (entry.use == request.use) --entry.pending;
  if (result.bytes < 0) {
    keep(fail(ErrorCode::kIo, "{}: reading {} bytes at byte {}: {}", path, request.read.bytes, request.read.offset,
              std::strerror(int(-result.bytes))));
  } else if (uint64_t(result.bytes) < request.needed) {
    keep(fail(ErrorCode::kIo,
              "{}: at byte {}: the file was cut short while its weights are in use; start again with the whole file",
              path, request.read.offset + uint64_t(result.bytes)));
  } else {
    statistics_.bytes_read += request.needed;
  }
}

void DiskRing::keep(Status failure) {
  if (!failure && !failure_) failure_ = std::move(failure.error());
}

// Lets go of all uses before `use`.
void DiskRing::skip_to(uint64_t use) {
  while (!entries_.empty() && entries_.front().use < use) {
    while (entries_.front().pending > 0) complete_one();
    entries_.pop_front();
    places_.free_oldest();
  }
  released_ = use;
  next_read_ = std::max(next_read_, use);
}

void DiskRing::drop_all() {
  while (reader_->outstanding() > 0) complete_one();
  entries_.clear();
  places_.clear();
  next_read_ = released_;
}

Result<const std::byte*> DiskRing::acquire(int piece) {
  const auto start = std::chrono::steady_clock::now();
  const uint64_t count = pieces_.size(), now = released_ % count;
  const uint64_t ahead = (uint64_t(piece) + count - now) % count;
  const bool first = now + ahead >= count || released_ + ahead == 0 || piece == 0;  // of a round
  if (ahead > 0) skip_to(released_ + ahead);
  if (first) keep(check_unchanged());
  read_ahead();
  Entry& entry = entries_.front();
  METALLIC_CHECK(entry.use == released_);
  while (!failure_ && entry.pending > 0) complete_one();
  statistics_.seconds_waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (failure_) {
    drop_all();
    const Error failure = std::move(*failure_);
    failure_.reset();
    return tl::unexpected<Error>(failure);
  }
  ++statistics_.pieces_used;
  const uint64_t offset = pieces_[size_t(piece)].offset;
  return memory_.get() + entry.offset + (offset - round_down(offset));
}

void DiskRing::release(int piece) {
  METALLIC_CHECK(!entries_.empty() && entries_.front().use % pieces_.size() == uint64_t(piece));
  entries_.pop_front();
  places_.free_oldest();
  ++released_;
  read_ahead();
}

}  // namespace metallic
