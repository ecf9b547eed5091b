// Text to ids and the load of a vocabulary. METALLIC_BENCH_MODEL names the GGUF file, METALLIC_BENCH_TEXT the text,
// which is encoded in documents of 10 kB. Floor: each byte is read once, and each word costs one look-up in a table
// that does not fit in the first-level cache. tools/compare-tokenizers.py runs this beside gigatoken.
#include "metallic/tokenizer.h"

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "metallic/gguf.h"
#include "model/vocab_from_gguf.h"

namespace metallic {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<Tokenizer> load_tokenizer() {
  const auto file = GgufFile::open(variable("METALLIC_BENCH_MODEL"));
  if (!file) return tl::unexpected(file.error());
  auto vocab = vocab_from_gguf(*file);
  if (!vocab) return tl::unexpected(vocab.error());
  return Tokenizer::create(std::move(*vocab));
}

// Cut between characters.
std::vector<std::string> documents() {
  std::ifstream stream(variable("METALLIC_BENCH_TEXT"), std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.size(), begin + 10000);
    while (end < text.size() && (uint8_t(text[end]) & 0xc0) == 0x80) ++end;
    parts.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return parts;
}

size_t encode_all(const Tokenizer& tokenizer, const std::vector<std::string>& parts) {
  size_t bytes = 0;
  for (const std::string& part : parts) {
    auto ids = tokenizer.encode(part, {.add_special = false});
    benchmark::DoNotOptimize(ids);
    bytes += part.size();
  }
  return bytes;
}

void load(benchmark::State& state) {
  for (auto _ : state) {
    auto tokenizer = load_tokenizer();
    if (!tokenizer) return state.SkipWithError(tokenizer.error().message.c_str());
  }
}

// A text of which no word has been seen.
void encode_cold(benchmark::State& state) {
  const auto parts = documents();
  if (parts.empty()) return state.SkipWithError("METALLIC_BENCH_TEXT names no text");
  size_t bytes = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto tokenizer = load_tokenizer();
    if (!tokenizer) return state.SkipWithError(tokenizer.error().message.c_str());
    state.ResumeTiming();
    bytes += encode_all(*tokenizer, parts);
  }
  state.SetBytesProcessed(int64_t(bytes));
}

void encode_warm(benchmark::State& state) {
  const auto parts = documents();
  auto tokenizer = load_tokenizer();
  if (parts.empty() || !tokenizer)
    return state.SkipWithError("METALLIC_BENCH_MODEL and METALLIC_BENCH_TEXT are needed");
  encode_all(*tokenizer, parts);
  size_t bytes = 0;
  for (auto _ : state) bytes += encode_all(*tokenizer, parts);
  state.SetBytesProcessed(int64_t(bytes));
}

BENCHMARK(load)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_cold)->Unit(benchmark::kMillisecond)->Iterations(10);
BENCHMARK(encode_warm)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace metallic
