#include "base/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/read_files.h"

namespace metallic {
namespace {

constexpr size_t kMaxWrite = size_t(1) << 30;  // Linux writes no more than 2 GiB at once

tl::unexpected<Error> failed(const std::string& path, const char* what) {
  const int error = errno;
  return fail(error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}: {}", path, what,
              std::strerror(error));
}

// Takes the space now. A file system that cannot will say later that it is full.
Status reserve(const std::string& path, int fd, uint64_t bytes) {
  if (bytes == 0) return {};
  const off_t size = off_t(std::min<uint64_t>(bytes, std::numeric_limits<off_t>::max()));
  if (::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size) == 0 || (errno != ENOSPC && errno != EFBIG)) return {};
  return fail(ErrorCode::kIo,
              "{}: {} bytes are needed, more than the disk has left or a file may have; write elsewhere", path, bytes);
}

std::string temporary_name(const std::string& path, int number) {
  return fmt::format("{}.{}.{}.tmp", path, ::getpid(), number);
}

std::string descriptor_path(int descriptor) { return fmt::format("/proc/self/fd/{}", descriptor); }

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// A file without a name in the folder of `path`; -1 where the file system has none, or they could not be named later.
int open_unnamed(const std::string& path) {
  const int descriptor = ::open(folder_of(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (descriptor < 0 || ::access(descriptor_path(descriptor).c_str(), F_OK) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

// Makes the rename itself durable. Not every file system can; the file is in place all the same.
void sync_folder(const std::string& path) {
  const int fd = ::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

OutputFile::OutputFile(std::string path, std::string temporary, int descriptor)
    : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

Result<OutputFile> OutputFile::create(const std::string& given_path, uint64_t expected_bytes) {
  // Through symbolic links, so that the link stays and its target is replaced; /dev/stdout is one.
  char* const resolved = ::realpath(given_path.c_str(), nullptr);
  const std::string path = resolved != nullptr ? resolved : given_path;
  std::free(resolved);
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode))
    return fail(ErrorCode::kInvalidArgument, "{}: is a directory; give the path of the file to write", path);
  if (exists && !S_ISREG(status.st_mode)) {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) return failed(path, "cannot open for writing");
    return OutputFile(path, "", descriptor);
  }
  if (exists && is_kept(status))
    return fail(ErrorCode::kInvalidArgument, "{}: is what is read here and would be lost; write to another file", path);
  if (const int descriptor = open_unnamed(path); descriptor >= 0) {
    OutputFile file(path, temporary_name(path, 0), descriptor);
    file.named_ = false;
    METALLIC_TRY(reserve(path, descriptor, expected_bytes));
    return file;
  }
  // The process id keeps two processes apart, the number two threads or a left-over of an earlier process.
  for (int number = 0;; ++number) {
    std::string temporary = temporary_name(path, number);
    const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) {
      OutputFile file(path, std::move(temporary), descriptor);
      METALLIC_TRY(reserve(path, descriptor, expected_bytes));
      return file;
    }
    if (errno != EEXIST) return failed(path, "cannot create");
  }
}

Result<OutputFile> OutputFile::over(int descriptor, const std::string& name) {
  const int own = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return failed(name, "cannot open for writing");
  return OutputFile(name, "", own);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      named_(other.named_),
      descriptor_(std::exchange(other.descriptor_, -1)),
      written_(other.written_) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(named_, other.named_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(written_, other.written_);
  return *this;
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty() && named_) ::unlink(temporary_.c_str());
}

Status OutputFile::write(std::span<const std::byte> bytes) {
  METALLIC_CHECK(descriptor_ >= 0);
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kMaxWrite));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed(path_, "cannot write");
    bytes = bytes.subspan(size_t(count));
    written_ += uint64_t(count);
  }
  return {};
}

Status OutputFile::commit() {
  METALLIC_CHECK(descriptor_ >= 0);
  if (temporary_.empty()) {
    if (::close(std::exchange(descriptor_, -1)) != 0) return failed(path_, "cannot write");
    return {};
  }
  if (::fsync(descriptor_) != 0) return failed(path_, "cannot write to disk");
  // Gets a name first: linkat() replaces no file, rename() does.
  for (int number = 0; !named_; ++number) {
    temporary_ = temporary_name(path_, number);
    named_ =
        ::linkat(AT_FDCWD, descriptor_path(descriptor_).c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) == 0;
    if (!named_ && errno != EEXIST) return failed(path_, "cannot put the finished file in place");
  }
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
    return failed(path_, "cannot put the finished file in place");
  ::close(std::exchange(descriptor_, -1));
  sync_folder(path_);
  return {};
}

}  // namespace metallic
