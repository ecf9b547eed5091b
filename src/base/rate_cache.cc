#include "base/rate_cache.h"

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/output_file.h"

namespace metallic {
namespace {

constexpr int64_t kWeek = 7 * 24 * 3600;

int64_t now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

RateCache RateCache::open() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return RateCache(std::string(cache) + "/metallic/machine.json");
  const char* home = std::getenv("HOME");
  return RateCache(home == nullptr || *home == '\0' ? "" : std::string(home) + "/.cache/metallic/machine.json");
}

RateCache::RateCache(std::string path) : path_(std::move(path)) {
  std::ifstream file(path_);
  std::stringstream text;
  text << file.rdbuf();
  const auto json = nlohmann::json::parse(text.str(), nullptr, false);
  if (!json.is_object()) return;
  for (const auto& [name, value] : json.items()) {
    if (!value.is_array() || value.size() != 2 || !value[0].is_number() || !value[1].is_number_integer()) continue;
    const double rate = value[0].get<double>();
    if (std::isfinite(rate) && rate > 0) entries_[name] = {rate, value[1].get<int64_t>()};
  }
}

std::optional<double> RateCache::find(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return std::nullopt;
  const int64_t age = now() - found->second.time;
  return age >= 0 && age < kWeek ? std::optional(found->second.rate) : std::nullopt;
}

void RateCache::set(const std::string& name, double rate) { entries_[name] = {rate, now()}; }

void RateCache::forget(const std::string& prefix) {
  std::erase_if(entries_, [&](const auto& entry) { return entry.first.starts_with(prefix); });
}

void RateCache::save() const {
  if (path_.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, entry] : entries_) json[name] = {entry.rate, entry.time};
  const std::string text = json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  auto file = OutputFile::create(path_);
  if (!file || !file->write(std::as_bytes(std::span(text)))) return;
  (void)file->commit();
}

}  // namespace metallic
