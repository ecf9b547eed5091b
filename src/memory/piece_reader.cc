#include "memory/piece_reader.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/error.h"

namespace metallic {
namespace {

constexpr uint64_t kRequestBytes = 1 << 20;  // smaller ones cost more calls, larger ones are no faster

uint64_t round_down(uint64_t value) { return value / kDirectAlignment * kDirectAlignment; }
uint64_t round_up(uint64_t value) { return round_down(value + kDirectAlignment - 1); }

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

Result<std::shared_ptr<std::byte>> allocate_for_reading(uint64_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return fail(ErrorCode::kOutOfMemory, "cannot allocate {} bytes for weights that are read from disk", bytes);
  (void)::madvise(memory, bytes, MADV_HUGEPAGE);  // only hints
  (void)::madvise(memory, bytes, MADV_POPULATE_WRITE);
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory), [bytes](std::byte* p) { ::munmap(p, bytes); });
}

uint64_t PieceReader::room_for(const FilePiece& piece) {
  return round_up(piece.offset + piece.bytes) - round_down(piece.offset);
}

uint64_t PieceReader::begin_in(const FilePiece& piece) { return piece.offset - round_down(piece.offset); }

Result<std::unique_ptr<PieceReader>> PieceReader::open(std::shared_ptr<const GgufFile> file,
                                                       const std::vector<FilePiece>& pieces,
                                                       std::unique_ptr<FileReader> reader) {
  std::unique_ptr<PieceReader> result(new PieceReader(std::move(file), std::move(reader)));
  result->sources_.resize(size_t(result->file_->file_count()));
  for (const FilePiece& piece : pieces) {
    Source& source = result->sources_[size_t(piece.file)];
    if (source.descriptor.fd >= 0) continue;
    source.path = result->file_->file_path(piece.file);
    METALLIC_ASSIGN(source.descriptor, open_direct(result->file_->descriptor(piece.file), source.path));
    struct stat status {};
    if (::fstat(source.descriptor.fd, &status) != 0)
      return fail(ErrorCode::kIo, "{}: cannot stat: {}", source.path, std::strerror(errno));
    source.size = status.st_size;
    source.changed = status.st_mtim;
  }
  return result;
}

PieceReader::~PieceReader() {
  reader_.reset();  // waits
  for (const Source& source : sources_)
    if (source.descriptor.fd >= 0) ::close(source.descriptor.fd);
}

bool PieceReader::direct() const {
  return std::all_of(sources_.begin(), sources_.end(),
                     [](const Source& s) { return s.descriptor.fd < 0 || s.descriptor.direct; });
}

Status PieceReader::check_unchanged() const {
  for (const Source& source : sources_) {
    if (source.descriptor.fd < 0) continue;
    struct stat status {};
    if (::fstat(source.descriptor.fd, &status) != 0)
      return fail(ErrorCode::kIo, "{}: cannot stat: {}", source.path, std::strerror(errno));
    if (status.st_size != source.size)
      return fail(ErrorCode::kIo,
                  "{}: the file was {} bytes long and is {} now, while its weights are in use; load it again",
                  source.path, source.size, status.st_size);
    if (!same_time(status.st_mtim, source.changed))
      return fail(ErrorCode::kIo, "{}: the file was changed while its weights are in use; load it again", source.path);
  }
  return {};
}

int PieceReader::read(const FilePiece& piece, std::byte* to, uint64_t tag) {
  const uint64_t begin = round_down(piece.offset), end = piece.offset + piece.bytes, aligned_end = round_up(end);
  const int descriptor = sources_[size_t(piece.file)].descriptor.fd;
  int requests = 0;
  for (uint64_t at = begin; at < aligned_end; at += kRequestBytes, ++requests) {
    const uint64_t bytes = std::min(kRequestBytes, aligned_end - at);
    submit({{descriptor, at, bytes, to + (at - begin), 0}, std::min(bytes, end - at), tag, piece.file});
  }
  return requests;
}

void PieceReader::submit(const Request& request) {
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
std::optional<uint64_t> PieceReader::wait() {
  const ReadResult result = reader_->wait();
  const Request request = requests_[result.tag];
  free_requests_.push_back(size_t(result.tag));
  if (result.bytes == -EINTR || result.bytes == -EAGAIN) {
    submit(request);
    return std::nullopt;
  }
  if (result.bytes >= 0 && uint64_t(result.bytes) < request.needed) {
    if (const uint64_t kept = round_down(uint64_t(result.bytes)); kept > 0) {
      Request rest = request;
      rest.read.offset += kept;
      rest.read.bytes -= kept;
      rest.read.to += kept;
      rest.needed -= kept;
      submit(rest);
      return std::nullopt;
    }
  }
  const std::string& path = sources_[size_t(request.file)].path;
  if (result.bytes < 0) {
    keep(fail(ErrorCode::kIo, "{}: reading {} bytes at byte {}: {}", path, request.read.bytes, request.read.offset,
              std::strerror(int(-result.bytes))));
  } else if (uint64_t(result.bytes) < request.needed) {
    keep(fail(ErrorCode::kIo,
              "{}: at byte {}: the file was cut short while its weights are in use; start again with the whole file",
              path, request.read.offset + uint64_t(result.bytes)));
  } else {
    bytes_read_ += request.needed;
  }
  return request.tag;
}

void PieceReader::keep(Status failure) {
  if (!failure && !failure_) failure_ = std::move(failure.error());
}

}  // namespace metallic
