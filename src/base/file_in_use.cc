#include "base/file_in_use.h"

#include <map>
#include <mutex>

namespace metallic {

struct FileInUse::Table {
  std::mutex mutex;
  std::map<Id, int> users;
  bool keep = false;
};

// Never destroyed: files may be closed while the process ends.
FileInUse::Table& FileInUse::table() {
  static Table& all = *new Table;
  return all;
}

FileInUse::FileInUse(const struct stat& file) : id_(Id(file.st_dev, file.st_ino)) {
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  ++all.users[*id_];
}

FileInUse::~FileInUse() {
  if (!id_) return;
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  if (!all.keep && --all.users[*id_] == 0) all.users.erase(*id_);
}

bool FileInUse::has(const struct stat& file) {
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  return all.users.count(Id(file.st_dev, file.st_ino)) > 0;
}

void FileInUse::keep_all() {
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  all.keep = true;
}

}  // namespace metallic
