// The text of an answer as it grows: whole UTF-8 characters only, and nothing that may turn out to be a stop string.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "metallic/tokenizer.h"

namespace metallic {

class TextOutput {
 public:
  // Without a tokenizer there is no text.
  TextOutput(const Tokenizer* tokenizer, std::vector<std::string> stop, bool show_special);

  // Adds a token and returns the text that is now certain. Sets stopped() when a stop string is complete: the text ends
  // before it.
  std::string push(TokenId id);
  // What was held back, at the end.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::string release(std::string text);

  std::vector<StreamDecoder> decoder_;  // none or one
  std::vector<std::string> stop_;
  std::string held_;  // may be the beginning of a stop string
  bool stopped_ = false;
};

}  // namespace metallic
