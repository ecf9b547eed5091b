// Keeps a command from writing over what it reads.
#pragma once

#include <sys/stat.h>

namespace metallic {

// While one lives, OutputFile refuses to write over any file that was read since, by whatever name: what is made of a
// file never costs it. One at a time; without one a file may be written over where it is read, as it is replaced as a
// whole.
class KeepReadFiles {
 public:
  KeepReadFiles();
  ~KeepReadFiles();
  KeepReadFiles(const KeepReadFiles&) = delete;
  KeepReadFiles& operator=(const KeepReadFiles&) = delete;
};

// Any thread.
void file_was_read(const struct stat& file);
bool is_kept(const struct stat& file);

}  // namespace metallic
