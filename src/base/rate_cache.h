// What was measured of this machine, kept for the next time in a small file of the user's cache folder.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace metallic {

// Names and numbers. Whatever is wrong with the file, the cache is empty: it can be measured again.
class RateCache {
 public:
  // Of $XDG_CACHE_HOME or $HOME/.cache, metallic/machine.json.
  static RateCache open();
  explicit RateCache(std::string path);

  // None if it is unknown or older than a week.
  std::optional<double> find(const std::string& name) const;
  void set(const std::string& name, double rate);
  // All whose names begin so.
  void forget(const std::string& prefix);
  // Writes what was set; a folder that cannot be written to is no error.
  void save() const;

 private:
  struct Entry {
    double rate = 0;
    int64_t time = 0;  // seconds since 1970
  };
  std::string path_;
  std::map<std::string, Entry> entries_;
};

}  // namespace metallic
