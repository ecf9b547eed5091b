#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/read_files.h"

namespace metallic {
namespace {

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO without a writer must not hang.
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) {
    const ErrorCode code = errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
    return fail(code, "{}: cannot open: {}", path, std::strerror(errno));
  }
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) return fail(ErrorCode::kIo, "{}: cannot stat: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    return fail(ErrorCode::kIo, "{}: is {}, not a regular file; give the path of a file", path,
                kind_of(status.st_mode));
  if (status.st_size == 0) return fail(ErrorCode::kCorrupt, "{}: the file is empty (0 bytes)", path);

  file_was_read(status);
  const size_t size = size_t(status.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) return fail(ErrorCode::kIo, "{}: cannot map {} bytes: {}", path, size, std::strerror(errno));
  return MappedFile(path, std::exchange(file.fd, -1), static_cast<const std::byte*>(data), size);
}

void MappedFile::release(std::span<const std::byte> part) const {
  METALLIC_CHECK(part.data() >= data_ && part.data() + part.size() <= data_ + size_);
  // Whole pages only: the rest of the first and last may be in use.
  const size_t page = size_t(::sysconf(_SC_PAGESIZE));
  const size_t begin = (size_t(part.data() - data_) + page - 1) / page * page;
  const size_t end = size_t(part.data() - data_ + part.size()) / page * page;
  if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

Status MappedFile::check_intact() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) return fail(ErrorCode::kIo, "{}: cannot stat: {}", path_, std::strerror(errno));
  if (uint64_t(status.st_size) >= size_ && !guard_.damaged()) return {};
  return fail(ErrorCode::kIo,
              "{}: at byte {}: the file was cut short or could not be read while in use, it had {} bytes when opened; "
              "start again with the whole file",
              path_, status.st_size, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      guard_(std::move(other.guard_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(guard_, other.guard_);
  return *this;
}

MappedFile::~MappedFile() {
  guard_ = MappingGuard();
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace metallic
