// verify: sound files pass, and damage is reported wherever it can be told from a sound file.
#include "engine/verify.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "base/mapped_file.h"
#include "gguf/parse_header.h"
#include "support/golden.h"

namespace metallic {
namespace {

using testing::ChangedFile;
using testing::model_path;
using testing::tensor_named;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Verifies `bytes` as a file.
VerifyReport verify_bytes(const std::string& bytes) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("metallic-verify-" + std::to_string(::getpid()) + ".gguf")).string();
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  VerifyReport report = verify_file(path, {.threads = 1});
  std::filesystem::remove(path);
  return report;
}

bool reports_something(const VerifyReport& report) {
  for (const VerifyCheck& check : report.checks)
    if (check.result == CheckResult::kFailed || check.result == CheckResult::kWarning) return true;
  return false;
}

std::string details_of(const VerifyReport& report, const std::string& check) {
  const VerifyCheck* found = report.find(check);
  return found == nullptr || found->details.empty() ? "" : found->details.front();
}

TEST(Verify, EveryTinyModelIsSoundToTheLastCheck) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(model_path(""))) {
    if (entry.path().extension() != ".gguf") continue;
    const VerifyReport report = verify_file(entry.path().string(), {.deep = true, .threads = 2});
    EXPECT_TRUE(report.sound()) << entry.path();
    EXPECT_FALSE(reports_something(report)) << entry.path();
    ASSERT_NE(report.find("canary"), nullptr) << entry.path();
    EXPECT_EQ(report.find("canary")->result, CheckResult::kPassed) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 11);
}

// Flips every `step`-th byte of the header but those of metadata values, in two ways, and expects a report.
void flip_header(const std::string& name, size_t step) {
  const std::string sound = read_file(model_path(name));
  const auto header = parse_gguf_header(name, std::as_bytes(std::span(sound)), 0);
  ASSERT_TRUE(header);
  std::vector<bool> value(size_t(header->bytes), false);
  for (size_t i = 0; i < header->metadata.size(); ++i) {
    const std::string_view key = header->metadata[i].key;
    const auto end_of_key = size_t(key.data() - sound.data()) + key.size();
    const size_t end = i + 1 < header->metadata.size() ? size_t(header->metadata[i + 1].key.data() - sound.data()) - 8
                                                       : size_t(header->tensors.front().name.data() - sound.data()) - 8;
    std::fill(value.begin() + ptrdiff_t(end_of_key), value.begin() + ptrdiff_t(end), true);
  }
  size_t flipped = 0;
  for (size_t at = 0; at < value.size(); at += step) {
    if (value[at]) continue;
    for (const uint8_t mask : {uint8_t(0xff), uint8_t(1u << (at % 8))}) {
      if (at == 4 && mask == 1) continue;  // version 3 becomes 2, which has the same layout
      std::string damaged = sound;
      damaged[at] = char(uint8_t(damaged[at]) ^ mask);
      EXPECT_TRUE(reports_something(verify_bytes(damaged))) << name << ": byte " << at << " xor " << int(mask);
      ++flipped;
    }
  }
  EXPECT_GT(flipped, 100u);
}

TEST(Verify, AFlippedByteOfTheHeaderIsReported) { flip_header("mlp-relu.gguf", 1); }
TEST(Verify, AFlippedByteOfADecodersHeaderIsReported) { flip_header("llama-bias.gguf", 7); }

TEST(Verify, AFlippedByteOfAMetadataValueNeverDoesHarm) {
  const std::string sound = read_file(model_path("llama-tied.gguf"));
  const auto header = parse_gguf_header("llama-tied.gguf", std::as_bytes(std::span(sound)), 0);
  ASSERT_TRUE(header);
  for (size_t at = 24; at < header->bytes; at += 97) {
    std::string damaged = sound;
    damaged[at] = char(uint8_t(damaged[at]) ^ 0xff);
    EXPECT_FALSE(verify_bytes(damaged).checks.empty());
  }
}

// What a flipped bit makes of a value, although the result could be read.
TEST(Verify, ValuesThatNoWriterGivesAreWarnings) {
  const auto warning = [](const auto& change) {
    const ChangedFile file(model_path("llama-tied.gguf"), [&](GgufWriter& writer, auto&) { change(writer); });
    const VerifyReport report = verify_file(file.path());
    EXPECT_EQ(report.find("metadata")->result, CheckResult::kWarning);
    return details_of(report, "metadata");
  };
  EXPECT_NE(warning([](GgufWriter& w) { w.set_unsigned("llama.rope.freq_base", 10000); }).find("float32"),
            std::string::npos);
  EXPECT_NE(warning([](GgufWriter& w) { w.set_float("llama.rope.scaling.attn_factor", 1e-38f); }).find("no model"),
            std::string::npos);
  EXPECT_NE(warning([](GgufWriter& w) { w.set_unsigned("general.quantization_version", 18); }).find("not 2"),
            std::string::npos);
  const auto file = GgufFile::open(model_path("llama-tied.gguf"));
  const auto sound = *file->get_array("tokenizer.ggml.token_type").value()->integers();
  const auto eos = size_t(*file->get_unsigned("tokenizer.ggml.eos_token_id"));
  std::vector<int32_t> types(sound.begin(), sound.end());
  types[5] = 0;
  EXPECT_NE(warning([&](GgufWriter& w) { w.set_ints("tokenizer.ggml.token_type", types); }).find("token 5"),
            std::string::npos);
  types.assign(sound.begin(), sound.end());
  types[eos] = 1;
  EXPECT_NE(warning([&](GgufWriter& w) { w.set_ints("tokenizer.ggml.token_type", types); }).find("normal text"),
            std::string::npos);
}

// Trained byte-level BPE has the same order of merges and of the tokens that they make.
TEST(Verify, MergesThatDoNotFitTheVocabularyAreWarnings) {
  const auto sound = GgufFile::open(model_path("qwen2.gguf"));
  const auto merges_of = sound->get_array("tokenizer.ggml.merges").value()->strings().value();
  const auto tokens_of = sound->get_array("tokenizer.ggml.tokens").value()->strings().value();
  const std::vector<std::string> merges(merges_of.begin(), merges_of.end());
  const std::vector<std::string> tokens(tokens_of.begin(), tokens_of.end());
  const auto warning = [](const auto& change) {
    const ChangedFile file(model_path("qwen2.gguf"), [&](GgufWriter& writer, auto&) { change(writer); });
    return details_of(verify_file(file.path()), "metadata");
  };
  std::vector<std::string> changed = merges;
  std::swap(changed[2], changed[3]);
  EXPECT_NE(warning([&](GgufWriter& w) { w.set_strings("tokenizer.ggml.merges", changed); }).find("merge 3 ("),
            std::string::npos);
  changed = merges;
  changed.push_back(merges.back());
  EXPECT_NE(warning([&](GgufWriter& w) { w.set_strings("tokenizer.ggml.merges", changed); }).find("there twice"),
            std::string::npos);
  changed = merges;
  changed.pop_back();
  EXPECT_NE(warning([&](GgufWriter& w) { w.set_strings("tokenizer.ggml.merges", changed); }).find("no merge makes it"),
            std::string::npos);
  const auto types_of = *sound->get_array("tokenizer.ggml.token_type").value()->integers();
  std::vector<int32_t> types(types_of.begin(), types_of.end());
  std::string made = merges[1];
  made.erase(made.find(' ', 1), 1);
  types[size_t(std::ranges::find(tokens, made) - tokens.begin())] = 4;
  EXPECT_NE(warning([&](GgufWriter& w) { w.set_ints("tokenizer.ggml.token_type", types); }).find("no normal token"),
            std::string::npos);
}

TEST(Verify, AScaleThatIsNotFiniteIsNamedByTensorBlockAndByte) {
  const ChangedFile file(model_path("llama-bias.gguf"), [](GgufWriter&, auto& tensors) {
    auto& tensor = tensor_named(tensors, "blk.0.ffn_up.weight");
    ASSERT_EQ(tensor.format, Format::kQ8_0);
    tensor.data[34 * 5 + 1] = std::byte(0x7e);
  });
  const VerifyReport report = verify_file(file.path());
  EXPECT_FALSE(report.sound());
  const std::string detail = details_of(report, "values");
  for (const char* part : {"blk.0.ffn_up.weight", "Q8_0", "block 5", "at byte", "NaN"})
    EXPECT_NE(detail.find(part), std::string::npos) << detail;
  EXPECT_EQ(report.find("canary")->result, CheckResult::kSkipped);
}

TEST(Verify, GapsPaddingAndWhatFollowsTheLastTensorAreReported) {
  const std::string sound = read_file(model_path("mlp-relu.gguf"));
  EXPECT_NE(details_of(verify_bytes(sound + std::string(100, 'x')), "layout").find("belong to nothing"),
            std::string::npos);
  const auto header = parse_gguf_header("", std::as_bytes(std::span(sound)), 0);
  ASSERT_TRUE(header);
  ASSERT_LT(header->bytes, header->tensors.front().offset);
  std::string padding = sound;
  padding[size_t(header->bytes)] = 'x';
  EXPECT_NE(details_of(verify_bytes(padding), "layout").find("padding"), std::string::npos);
}

TEST(Verify, DamageThatEndsTheReadingIsAFailedStructure) {
  const std::string sound = read_file(model_path("mlp-relu.gguf"));
  for (const std::string& bytes : {sound.substr(0, 200), std::string("no model at all"), std::string(64, '\0')}) {
    const VerifyReport report = verify_bytes(bytes);
    EXPECT_FALSE(report.sound());
    EXPECT_EQ(report.find("structure")->result, CheckResult::kFailed);
    EXPECT_NE(details_of(report, "structure"), "");
  }
  EXPECT_FALSE(verify_file("/no/such/file.gguf").sound());
  EXPECT_FALSE(verify_file("/dev/zero").sound());
}

TEST(Verify, WhatTheModelNeedsIsCheckedByName) {
  const auto failed = [](const std::string& check, const std::string& from, const auto& change) {
    const ChangedFile file(model_path(from), change);
    const VerifyReport report = verify_file(file.path());
    EXPECT_FALSE(report.sound());
    return details_of(report, check);
  };
  EXPECT_NE(failed("architecture", "qwen2.gguf",
                   [](GgufWriter&, auto& tensors) { tensor_named(tensors, "output_norm.weight").name = "norm"; })
                .find("output_norm.weight"),
            std::string::npos);
  EXPECT_NE(
      failed("metadata", "qwen2.gguf", [](GgufWriter& writer, auto&) { writer.set_float("qwen2.rope.freq_base", NAN); })
          .find("freq_base"),
      std::string::npos);
  EXPECT_NE(failed("chat template", "qwen2.gguf",
                   [](GgufWriter& writer, auto&) { writer.set_string("tokenizer.chat_template", "{% for x %}"); }),
            "");
  EXPECT_NE(failed("chat template", "qwen2.gguf",
                   [](GgufWriter& writer, auto&) { writer.set_string("tokenizer.chat_template", "hello"); })
                .find("last message"),
            std::string::npos);
  EXPECT_NE(failed("tokenizer", "qwen2.gguf",
                   [](GgufWriter& writer, auto&) {
                     writer.set_strings("tokenizer.ggml.merges", std::vector<std::string>{"no such"});
                   }),
            "");
}

}  // namespace
}  // namespace metallic
