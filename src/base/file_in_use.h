// Files that this process reads: OutputFile writes over none of them, so that what is made of a file never costs it.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <utility>

namespace metallic {

// While it lives, a file counts as in use, by whatever name. Movable; any thread.
class FileInUse {
 public:
  FileInUse() = default;
  explicit FileInUse(const struct stat& file);
  FileInUse(FileInUse&& other) noexcept : id_(std::exchange(other.id_, std::nullopt)) {}
  FileInUse& operator=(FileInUse&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~FileInUse();

  static bool has(const struct stat& file);
  // From now on what is in use stays so until the process ends: for a command, which reads and then writes.
  static void keep_all();

 private:
  using Id = std::pair<uint64_t, uint64_t>;  // device and number
  std::optional<Id> id_;
  struct Table;
  static Table& table();
};

}  // namespace metallic
