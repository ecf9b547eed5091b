// One small file for each class of hole known in readers of model files, for the tests of the library and of the
// command.
#pragma once

#include <string>
#include <vector>

#include "gguf/gguf_builder.h"
#include "support/golden.h"

namespace metallic::testing {

struct HoleFile {
  std::string name;   // what is wrong
  std::string bytes;  // of the file
};

// Holes in the header itself, which the reader must see.
inline std::vector<HoleFile> broken_headers() {
  constexpr uint64_t kHuge = UINT64_MAX;
  std::vector<HoleFile> files;
  const auto add = [&](const char* name, const GgufBytes& bytes) { files.push_back({name, bytes.str()}); };
  const auto tensor = [&](const char* name, std::initializer_list<uint64_t> size, uint32_t format, uint64_t offset) {
    add(name, GgufBytes().header(1, 0).tensor("w", size, format, offset).pad(32).raw(std::string(64, 'd')));
  };
  const auto alignment = [&](const char* name, uint32_t value) {
    add(name, GgufBytes().header(0, 1).number("general.alignment", 4, value));
  };
  add("n_kv of 2^64 - 1", GgufBytes().header(0, kHuge).text("k", "v"));
  add("n_kv that wraps to a small size", GgufBytes().header(0, kHuge / 56 + 2).text("k", "v"));
  add("n_tensors of 2^64 - 1", GgufBytes().header(kHuge, 0).tensor("w", {1}, 0, 0));
  add("n_tensors of 2^32", GgufBytes().header(1ull << 32, 0).tensor("w", {1}, 0, 0));
  add("a key's length of 2^64 - 4", GgufBytes().header(0, 1).count(kHuge - 3).raw("key..............."));
  add("a string's length of 2^63", GgufBytes().header(0, 1).key("k", 8).count(1ull << 63).raw("v"));
  add("an array's length of 2^64 - 1", GgufBytes().header(0, 1).key("k", 9).array(12, kHuge).raw("1234567"));
  add("an array's length that wraps", GgufBytes().header(0, 1).key("k", 9).array(12, (1ull << 61) + 1).raw("12345678"));
  add("an array declared with another element type", GgufBytes().header(0, 1).key("k", 9).array(8, 1).raw("abcdefgh"));
  add("an array of an unknown element type", GgufBytes().header(0, 1).key("k", 9).array(13, 1).put(uint64_t(0)));
  GgufBytes nested;
  nested.header(0, 1).key("k", 9);
  for (int i = 0; i < 10000; ++i) nested.array(9, 1);
  add("arrays nested 10,000 deep", nested.array(0, 1).raw("x"));
  tensor("dimensions whose product wraps to 0", {1ull << 32, 1ull << 32}, 0, 0);
  tensor("bytes that wrap to a small size", {(1ull << 62) - 2}, 0, 0);
  tensor("a dimension of 0", {4, 0}, 0, 0);
  tensor("a dimension of 2^64 - 1", {kHuge, 2}, 0, 0);
  tensor("an offset beyond the end", {1}, 0, 1 << 20);
  tensor("an offset that wraps", {8}, 0, kHuge - 31);
  tensor("an offset that is misaligned", {8}, 0, 4);
  GgufBytes overlap;
  overlap.header(2, 0).tensor("a", {9}, 0, 0).tensor("b", {8}, 0, 32).pad(32).raw(std::string(128, 'd'));
  add("data that overlaps", overlap);
  alignment("an alignment of 0", 0);
  alignment("an alignment of 24", 24);
  alignment("an alignment of 2^32 - 1", UINT32_MAX);
  add("an alignment of 64 bits", GgufBytes().header(0, 1).number("general.alignment", 10, uint64_t(32)));
  add("an alignment that is text", GgufBytes().header(0, 1).text("general.alignment", "32"));
  add("an alignment that is an array", GgufBytes().header(0, 1).key("general.alignment", 9).array(4, 1).u32(32));
  return files;
}

// Holes in what the metadata of a model say: headers that are well formed, models that must not be run.
inline std::vector<HoleFile> broken_models() {
  std::vector<HoleFile> files;
  const auto add = [&](const std::string& name, const std::function<void(GgufWriter&)>& change) {
    const ChangedFile file(model_path("llama-tied.gguf"), [&](GgufWriter& writer, auto&) { change(writer); });
    files.push_back({name, read_whole_file(file.path())});
  };
  const auto number = [&](const std::string& key, uint32_t value) {
    add(key + " of " + std::to_string(value), [&](GgufWriter& w) { w.set_unsigned(key, value); });
  };
  for (const uint32_t count : {0u, 1u << 31, UINT32_MAX}) number("llama.block_count", count);
  for (const uint32_t heads : {0u, 3u, 1u << 31}) number("llama.attention.head_count", heads);
  for (const uint32_t heads : {0u, 3u}) number("llama.attention.head_count_kv", heads);
  number("llama.embedding_length", 0);
  number("llama.embedding_length", INT32_MAX);
  for (const uint32_t context : {0u, 1u << 31}) number("llama.context_length", context);
  for (const uint32_t dims : {0u, 15u, 18u, uint32_t(INT32_MAX)}) number("llama.rope.dimension_count", dims);
  for (const uint32_t used : {0u, 5u})
    add(std::to_string(used) + " of 4 experts used", [&](GgufWriter& w) {
      w.set_unsigned("llama.expert_count", 4);
      w.set_unsigned("llama.expert_used_count", used);
    });
  add("a negative window",
      [](GgufWriter& w) { w.set("llama.attention.sliding_window", MetadataType::kInt32, int64_t(-1)); });
  const std::string vocab = "tokenizer.ggml.";
  add("a vocabulary of one token",
      [&](GgufWriter& w) { w.set_strings(vocab + "tokens", std::vector<std::string>{"a"}); });
  add("a vocabulary of no tokens", [&](GgufWriter& w) { w.set_strings(vocab + "tokens", {}); });
  for (const size_t count : {276, 278})
    add("277 tokens and " + std::to_string(count) + " types",
        [&, count](GgufWriter& w) { w.set_ints(vocab + "token_type", std::vector<int32_t>(count, 1)); });
  add("tokens that are numbers", [&](GgufWriter& w) { w.set_ints(vocab + "tokens", std::vector<int32_t>{1, 2}); });
  add("tokens that are one text", [&](GgufWriter& w) { w.set_string(vocab + "tokens", "abc"); });
  add("types that are text",
      [&](GgufWriter& w) { w.set_strings(vocab + "token_type", std::vector<std::string>(277, "1")); });
  add("merges that are numbers", [&](GgufWriter& w) { w.set_floats(vocab + "merges", std::vector<float>{1, 2}); });
  add("a merge that names no token",
      [&](GgufWriter& w) { w.set_strings(vocab + "merges", std::vector<std::string>{"no such"}); });
  add("a negative BOS", [&](GgufWriter& w) { w.set(vocab + "bos_token_id", MetadataType::kInt32, int64_t(-2)); });
  add("an EOS of 2^63 - 1", [&](GgufWriter& w) { w.set(vocab + "eos_token_id", MetadataType::kInt64, INT64_MAX); });
  add("a block count that is text", [&](GgufWriter& w) { w.set_string("llama.block_count", "2"); });
  add("an epsilon that is text", [&](GgufWriter& w) { w.set_string("llama.attention.layer_norm_rms_epsilon", "0"); });
  const auto chat = [&](const char* name, const std::string& text) {
    add(name, [&](GgufWriter& w) { w.set_string("tokenizer.chat_template", text); });
  };
  chat("a template that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
  chat("a template that doubles its text",
       "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}");
  chat("a template of 10^10 steps", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}");
  chat("a template of 10 MB", std::string(10 << 20, 'x'));
  add("a template that is a list",
      [](GgufWriter& w) { w.set_strings("tokenizer.chat_template", std::vector<std::string>{"x"}); });
  chat("a template nested 100,000 deep", "{{ " + std::string(100000, '['));
  return files;
}

}  // namespace metallic::testing
