// What BERT does to text before WordPiece: drops control characters, folds case and accents, and cuts at white space,
// around punctuation and around ideographs. The tables hold what Hugging Face tokenizers does to each code point.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/scratch.h"

namespace metallic {

struct BertTextOptions {
  bool lowercase = true;
  bool strip_accents = true;
};

// Appends the words of `text`, well-formed UTF-8 of less than 4 GiB, to `words`, each with a space in front, and to
// `ends` where in `words` each of them ends. What `words` and `ends` held before stays.
void append_bert_words(std::string_view text, const BertTextOptions& options, std::string& words,
                       Scratch<uint32_t>& ends);

}  // namespace metallic
