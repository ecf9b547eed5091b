// The backends, best first.
#include <array>

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "backend/reference/reference.h"
#include "base/error.h"

namespace metallic {
namespace {

struct Entry {
  const char* name;
  Result<std::shared_ptr<Backend>> (*make)(int threads, bool repack);
};

constexpr std::array kBackends = {
    Entry{"cpu", [](int threads, bool repack) { return make_cpu_backend({.threads = threads, .repack = repack}); }},
    Entry{"cpu-f32",
          [](int threads, bool) {
            return make_cpu_backend({.name = "cpu-f32", .threads = threads, .repack = false, .integers = false});
          }},
    Entry{"reference",
          [](int threads, bool) { return Result<std::shared_ptr<Backend>>(make_reference_backend(threads)); }},
};

constexpr auto kNames = [] {
  std::array<const char*, kBackends.size()> names{};
  for (size_t i = 0; i < names.size(); ++i) names[i] = kBackends[i].name;
  return names;
}();

}  // namespace

std::span<const char* const> backend_names() { return kNames; }

Result<std::shared_ptr<Backend>> open_backend(const std::string& name, int threads, bool repack) {
  if (threads < 0 || threads > 1024)
    return fail(ErrorCode::kInvalidArgument, "{} threads: give a number from 0 (one per processor) to 1024", threads);
  for (const Entry& entry : kBackends)
    if (name == entry.name) return entry.make(threads, repack);
  std::string known;
  for (const char* other : kNames) known += (known.empty() ? "" : ", ") + std::string(other);
  return fail(ErrorCode::kNotFound, "no backend is called '{}'; there are: {}", name, known);
}

Result<std::shared_ptr<Device>> Device::open(const std::string& name, int threads) {
  METALLIC_ASSIGN(std::shared_ptr<Backend> backend, open_backend(name, threads));
  return std::shared_ptr<Device>(std::move(backend));
}

}  // namespace metallic
