// Cutting text into the pieces that BPE then works on, each alone. Every family is a published regular expression (or a
// list of them) written out by hand; pretokenize_test.cc holds each to the expression itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace metallic {

// A family of pre-tokenisers. Writes the end of each piece, as an offset into `text`, to `ends`, which has room for
// text.size() numbers, and returns how many. `text` is well-formed UTF-8, shorter than 4 GiB.
using PreTokenizer = size_t (*)(std::string_view text, uint32_t* ends);

// The pre-tokeniser that GGUF files know under `name` (tokenizer.ggml.pre); null if there is none.
PreTokenizer find_pre_tokenizer(std::string_view name);

// All names, sorted, with ", " between them.
std::string pre_tokenizer_names();

}  // namespace metallic
