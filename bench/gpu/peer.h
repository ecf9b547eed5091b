// A peer's figures for one file, as llama-bench (-o json) and llama-batched-bench (--output-format jsonl) print them.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace metallic {

class Peer {
 public:
  // A list of objects, or one object a line; others are passed over. kCorrupt if there is none.
  static Result<Peer> read(const std::string& path) {
    std::ifstream file(path);
    if (!file) return fail(ErrorCode::kNotFound, "{}: cannot be read", path);
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    Peer peer;
    const auto whole = nlohmann::json::parse(text, nullptr, false);
    if (whole.is_array()) {
      peer.rows_.assign(whole.begin(), whole.end());
    } else {
      for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        auto row = nlohmann::json::parse(text.substr(at, end - at), nullptr, false);
        if (row.is_object()) peer.rows_.push_back(std::move(row));
        at = end + 1;
      }
    }
    if (peer.rows_.empty())
      return fail(ErrorCode::kCorrupt, "{}: holds no JSON of llama-bench or llama-batched-bench", path);
    return peer;
  }

  // Tokens a second; none if it was not measured.
  std::optional<double> prompt(int tokens) const { return find({{"n_prompt", tokens}, {"n_gen", 0}}, "avg_ts"); }
  std::optional<double> decode(int tokens) const { return find({{"n_prompt", 0}, {"n_gen", tokens}}, "avg_ts"); }
  std::optional<double> batch(int sequences) const { return find({{"pl", sequences}}, "speed_tg"); }

 private:
  std::optional<double> find(const std::vector<std::pair<const char*, int>>& wanted, const char* value) const {
    for (const nlohmann::json& row : rows_) {
      bool fits = row.is_object() && row.contains(value) && row[value].is_number();
      for (const auto& [key, number] : wanted)
        fits = fits && row.contains(key) && row[key].is_number_integer() && row[key].get<int64_t>() == number;
      if (fits) return row[value].get<double>();
    }
    return std::nullopt;
  }

  std::vector<nlohmann::json> rows_;
};

}  // namespace metallic
