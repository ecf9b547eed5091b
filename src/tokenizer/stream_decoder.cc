#include "base/utf8.h"
#include "metallic/tokenizer.h"

namespace metallic {

std::string StreamDecoder::push(TokenId id) {
  held_ += tokenizer_->piece(id, show_special_);
  const size_t complete = complete_utf8_prefix(held_);
  std::string text = replace_invalid_utf8(std::string_view(held_).substr(0, complete));
  held_.erase(0, complete);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = replace_invalid_utf8(held_);
  held_.clear();
  return text;
}

}  // namespace metallic
