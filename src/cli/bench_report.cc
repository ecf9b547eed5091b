#include "cli/bench_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace metallic::cli {
namespace {

using Json = nlohmann::ordered_json;

bool is_decode(const SpeedResult& result) { return result.test.kind == SpeedTest::Kind::kDecode; }

double limit_of(const SpeedResult& result) {
  return is_decode(result) ? result.limits.read_bytes_per_second : result.limits.dot_operations_per_second;
}

// Not the share alone: what it is a share of was measured too, and drifts.
std::string share_of_limit(const SpeedResult& result) {
  if (result.share() == 0) return "-";
  return fmt::format("{:.0f} % of {:.1f} {}", 100 * result.share(), limit_of(result) / 1e9,
                     is_decode(result) ? "GB/s" : "Gop/s");
}

Json common_fields(const BenchSubject& subject) {
  return {{"model", subject.model},
          {"architecture", subject.architecture},
          {"backend", subject.backend},
          {"threads", subject.threads}};
}

Json fields(const BenchSubject& subject, const SpeedResult& result) {
  Json json = common_fields(subject);
  json["test"] = result.test.name();
  json["tokens"] = result.test.tokens;
  json["sequences"] = result.test.sequences;
  json["depth"] = result.test.depth;
  json["mean_tokens_per_second"] = result.mean();
  json["median_tokens_per_second"] = result.median();
  json["deviation"] = result.deviation();
  json["tokens_per_second"] = result.tokens_per_second;
  if (is_decode(result)) {
    json["weight_bytes_per_step"] = result.step_bytes;
    json["weight_bytes_per_second"] = result.bytes_per_second();
    json["read_limit_bytes_per_second"] = result.limits.read_bytes_per_second;
  } else {
    json["operations_per_second"] = result.operations_per_second();
    json["dot_limit_operations_per_second"] = result.limits.dot_operations_per_second;
  }
  if (result.copied > 0) json["copied_bytes_per_second"] = result.copied;
  if (result.link > 0) json["link_bytes_per_second"] = result.link;
  if (result.read > 0) json["disk_bytes_per_second"] = result.read;
  if (result.share() > 0) json["share_of_limit"] = result.share();
  return json;
}

std::string lines_of(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";  // a path may be no UTF-8
}

// The longest first.
std::vector<std::pair<std::string, OperationTime>> by_time(const OperationTimes& times) {
  std::vector<std::pair<std::string, OperationTime>> sorted(times.kinds.begin(), times.kinds.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  return sorted;
}

// What matters to the kind of test: bytes of weights read in a second, or operations made.
double rate_of(const SpeedResult& result, const OperationTime& time) {
  return (is_decode(result) ? time.weight_bytes : time.operations) / time.seconds;
}

std::string operations_table(const SpeedResult& result, const OperationTimes& times) {
  std::string text = fmt::format(
      "\n{}: where {:.2f} s went\n\n| operation | calls | us a call | share of time | weights | share of limit |\n"
      "| --- | ---: | ---: | ---: | ---: | ---: |\n",
      result.test.name(), times.elapsed);
  for (const auto& [name, kind] : by_time(times)) {
    const double rate = rate_of(result, kind), limit = limit_of(result);
    text += fmt::format("| {} | {} | {:.1f} | {:.1f} % | {} | {} |\n", name, kind.calls,
                        kind.seconds / double(kind.calls) * 1e6, 100 * kind.seconds / times.elapsed,
                        rate > 0 ? fmt::format("{:.1f} {}", rate / 1e9, is_decode(result) ? "GB/s" : "Gop/s") : "-",
                        rate > 0 && limit > 0 ? fmt::format("{:.0f} %", 100 * rate / limit) : "-");
  }
  return text + fmt::format("| between operations | | | {:.1f} % | | |\n", 100 * times.between() / times.elapsed);
}

// What was brought during a test where weights do not stay.
std::string traffic_text(const SpeedResult& result) {
  std::string text;
  if (result.copied > 0)
    text += fmt::format(
        "{}: {:.1f} GB/s of weights to the device{}\n", result.test.name(), result.copied / 1e9,
        result.link > 0 ? fmt::format(", {:.0f} % of {:.1f} GB/s", 100 * result.copied / result.link, result.link / 1e9)
                        : "");
  if (result.read > 0)
    text += fmt::format("{}: {:.2f} GB/s of weights from disk\n", result.test.name(), result.read / 1e9);
  return text;
}

Json operations_list(const OperationTimes& times) {
  Json list = Json::array();
  for (const auto& [name, kind] : by_time(times))
    list.push_back({{"operation", name},
                    {"calls", kind.calls},
                    {"seconds", kind.seconds},
                    {"weight_bytes", kind.weight_bytes},
                    {"operations", kind.operations}});
  return list;
}

std::string file_name(const BenchSubject& subject) { return subject.model.substr(subject.model.find_last_of('/') + 1); }

}  // namespace

std::string speed_table(const BenchSubject& subject, std::span<const SpeedResult> results,
                        std::span<const OperationTimes> operations) {
  std::string text =
      "| model | architecture | backend | threads | test | tokens/s | weights | share of limit |\n"
      "| --- | --- | --- | ---: | --- | ---: | ---: | ---: |\n";
  for (const SpeedResult& result : results)
    text += fmt::format("| {} | {} | {} | {} | {} | {:.2f} ± {:.2f} | {:.1f} {} | {} |\n", file_name(subject),
                        subject.architecture, subject.backend, subject.threads, result.test.name(), result.mean(),
                        result.deviation(),
                        (is_decode(result) ? result.bytes_per_second() : result.operations_per_second()) / 1e9,
                        is_decode(result) ? "GB/s" : "Gop/s", share_of_limit(result));
  for (const SpeedResult& result : results) text += traffic_text(result);
  for (size_t i = 0; i < operations.size(); ++i) text += operations_table(results[i], operations[i]);
  return text;
}

std::string speed_json(const BenchSubject& subject, std::span<const SpeedResult> results,
                       std::span<const OperationTimes> operations) {
  Json list = Json::array();
  for (size_t i = 0; i < results.size(); ++i) {
    list.push_back(fields(subject, results[i]));
    if (operations.empty()) continue;
    list.back()["elapsed_seconds"] = operations[i].elapsed;
    list.back()["operations"] = operations_list(operations[i]);
  }
  return lines_of(list);
}

std::string start_table(const BenchSubject& subject, const StartResult& start) {
  return fmt::format(
      "| model | architecture | backend | threads | first token | peak memory |\n"
      "| --- | --- | --- | ---: | ---: | ---: |\n"
      "| {} | {} | {} | {} | {:.3f} s | {:.0f} MB |\n",
      file_name(subject), subject.architecture, subject.backend, subject.threads, start.seconds,
      double(start.peak_bytes) / 1e6);
}

std::string start_json(const BenchSubject& subject, const StartResult& start) {
  Json json = common_fields(subject);
  json["test"] = "start";
  json["seconds"] = start.seconds;
  json["peak_bytes"] = start.peak_bytes;
  return lines_of(Json::array({json}));
}

}  // namespace metallic::cli
