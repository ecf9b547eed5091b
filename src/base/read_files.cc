#include "base/read_files.h"

#include <cstdint>
#include <mutex>
#include <set>
#include <utility>

#include "base/check.h"

namespace metallic {
namespace {

struct Table {
  std::mutex mutex;
  bool keeps = false;
  std::set<std::pair<uint64_t, uint64_t>> files;  // device and number
};

Table& table() {
  static Table all;
  return all;
}

}  // namespace

KeepReadFiles::KeepReadFiles() {
  const std::lock_guard lock(table().mutex);
  METALLIC_CHECK(!table().keeps);
  table().keeps = true;
}

KeepReadFiles::~KeepReadFiles() {
  const std::lock_guard lock(table().mutex);
  table().keeps = false;
  table().files.clear();
}

void file_was_read(const struct stat& file) {
  const std::lock_guard lock(table().mutex);
  if (table().keeps) table().files.emplace(file.st_dev, file.st_ino);
}

bool is_kept(const struct stat& file) {
  const std::lock_guard lock(table().mutex);
  return table().files.count({file.st_dev, file.st_ino}) > 0;
}

}  // namespace metallic
