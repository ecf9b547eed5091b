#include "engine/text_output.h"

#include <algorithm>

namespace metallic {

TextOutput::TextOutput(const Tokenizer* tokenizer, std::vector<std::string> stop, bool show_special)
    : stop_(std::move(stop)) {
  if (tokenizer != nullptr) decoder_.emplace_back(*tokenizer, show_special);
}

std::string TextOutput::push(TokenId id) { return decoder_.empty() || stopped_ ? "" : release(decoder_[0].push(id)); }

std::string TextOutput::finish() {
  if (decoder_.empty() || stopped_) return "";
  std::string text = release(decoder_[0].finish());
  if (!stopped_) text += held_;
  held_.clear();
  return text;
}

std::string TextOutput::release(std::string text) {
  held_ += text;
  size_t stop_at = std::string::npos;
  size_t keep = 0;  // bytes at the end that a stop string may begin with
  for (const std::string& stop : stop_) {
    if (stop.empty()) continue;
    stop_at = std::min(stop_at, held_.find(stop));
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length)
      if (held_.ends_with(std::string_view(stop).substr(0, length))) keep = length;
  }
  stopped_ = stop_at != std::string::npos;
  std::string certain = held_.substr(0, stopped_ ? stop_at : held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

}  // namespace metallic
