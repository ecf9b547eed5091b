#include "base/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace metallic {
namespace {

tl::unexpected<Error> failed(const std::string& path, const char* what) {
  const int error = errno;
  return fail(error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}: {}", path, what,
              std::strerror(error));
}

}  // namespace

OutputFile::OutputFile(std::string path, std::string temporary, int descriptor)
    : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

Result<OutputFile> OutputFile::create(const std::string& given_path) {
  // Through symbolic links, so that the link stays and its target is replaced; /dev/stdout is one.
  char* const resolved = ::realpath(given_path.c_str(), nullptr);
  const std::string path = resolved != nullptr ? resolved : given_path;
  std::free(resolved);
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode))
    return fail(ErrorCode::kIo, "{}: is a directory; give the path of the file to write", path);
  if (exists && !S_ISREG(status.st_mode)) {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) return failed(path, "cannot open for writing");
    return OutputFile(path, "", descriptor);
  }
  // The process id keeps two processes apart, the number two threads or a left-over of an earlier process.
  for (int number = 0;; ++number) {
    std::string temporary = fmt::format("{}.{}.{}.tmp", path, ::getpid(), number);
    const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) return OutputFile(path, std::move(temporary), descriptor);
    if (errno != EEXIST) return failed(path, "cannot create");
  }
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      written_(other.written_) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(written_, other.written_);
  return *this;
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status OutputFile::write(std::span<const std::byte> bytes) {
  METALLIC_CHECK(descriptor_ >= 0);
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed(path_, "cannot write");
    bytes = bytes.subspan(size_t(count));
    written_ += uint64_t(count);
  }
  return {};
}

Status OutputFile::commit() {
  METALLIC_CHECK(descriptor_ >= 0);
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed == 0 && (temporary_.empty() || std::rename(temporary_.c_str(), path_.c_str()) == 0)) return {};
  auto failure = failed(path_, closed != 0 ? "cannot write" : "cannot put the finished file in place");
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  return failure;
}

}  // namespace metallic
