#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "base/error.h"

namespace metallic {
namespace {

constexpr size_t kMaxWrite = size_t(1) << 30;  // Linux writes no more than 2 GiB at once

tl::unexpected<Error> fail_with_errno(const std::string& path, const char* doing) {
  const ErrorCode code = errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
  return fail(code, "{}: cannot {}: {}", path, doing, std::strerror(errno));
}

// The file that `path` stands for, through symbolic links.
std::string resolve(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_symlink(path, error)) return path;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  return error ? path : target.string();
}

// Takes the space now. A file system that cannot will say later that it is full.
Status reserve(const std::string& path, int fd, uint64_t bytes) {
  if (bytes == 0) return {};
  const off_t size = off_t(std::min<uint64_t>(bytes, std::numeric_limits<off_t>::max()));
  if (::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size) == 0 || (errno != ENOSPC && errno != EFBIG)) return {};
  return fail(ErrorCode::kIo,
              "{}: {} bytes are needed, more than the disk has left or a file may have; write elsewhere", path, bytes);
}

// Makes the rename itself durable. Not every file system can; the file is in place all the same.
void sync_folder(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path, uint64_t expected_bytes) {
  static std::atomic<unsigned> counter = 0;
  const std::string target = resolve(path);
  struct stat status {};
  if (::stat(target.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    return fail(ErrorCode::kInvalidArgument, "{}: exists and is no regular file; give the path of a file", path);
  std::string temporary = fmt::format("{}.tmp-{}-{}", target, ::getpid(), counter++);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return fail_with_errno(temporary, "create");
  AtomicFile file(target, std::move(temporary), fd);
  METALLIC_TRY(reserve(path, fd, expected_bytes));
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)), temporary_(std::move(other.temporary_)), fd_(std::exchange(other.fd_, -1)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(fd_, other.fd_);
  return *this;
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), std::min(bytes.size(), kMaxWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_with_errno(temporary_, "write");
    bytes = bytes.subspan(size_t(written));
  }
  return {};
}

Status AtomicFile::commit() {
  if (::fsync(fd_) != 0) return fail_with_errno(temporary_, "write to disk");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return fail_with_errno(path_, "put the finished file in place");
  ::close(std::exchange(fd_, -1));
  sync_folder(path_);
  return {};
}

}  // namespace metallic
