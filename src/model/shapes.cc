#include "model/shapes.h"

#include <string>

#include "base/error.h"
#include "base/printable.h"

namespace metallic {
namespace {

// clang-format off
constexpr ModelShape kShapes[] = {
    //                             layers  width     ff  heads kv  dim   vocab    rope  own head
    {"smollm2-135m",   "llama",        30,   576,  1536,   9,   3,  64,  49152, 100000, false},
    {"smollm2-360m",   "llama",        32,   960,  2560,  15,   5,  64,  49152, 100000, false},
    {"smollm2-1.7b",   "llama",        24,  2048,  8192,  32,  32,  64,  49152, 130000, false},
    {"llama3.2-1b",    "llama",        16,  2048,  8192,  32,   8,  64, 128256, 500000, false},
    {"llama3.2-3b",    "llama",        28,  3072,  8192,  24,   8, 128, 128256, 500000, false},
    {"llama3.1-8b",    "llama",        32,  4096, 14336,  32,   8, 128, 128256, 500000, true},
    {"llama3.1-70b",   "llama",        80,  8192, 28672,  64,   8, 128, 128256, 500000, true},
    {"llama3.1-405b",  "llama",       126, 16384, 53248, 128,   8, 128, 128256, 500000, true},
    {"llama2-7b",      "llama",        32,  4096, 11008,  32,  32, 128,  32000,  10000, true},
    {"llama2-13b",     "llama",        40,  5120, 13824,  40,  40, 128,  32000,  10000, true},
    {"mistral-7b",     "llama",        32,  4096, 14336,  32,   8, 128,  32768, 1000000, true},
    {"mixtral-8x7b",   "llama",        32,  4096, 14336,  32,   8, 128,  32000, 1000000, true, 8, 2, 14336},
    {"qwen2.5-0.5b",   "qwen2",        24,   896,  4864,  14,   2,  64, 151936, 1000000, false},
    {"qwen2.5-1.5b",   "qwen2",        28,  1536,  8960,  12,   2, 128, 151936, 1000000, false},
    {"qwen2.5-3b",     "qwen2",        36,  2048, 11008,  16,   2, 128, 151936, 1000000, false},
    {"qwen2.5-7b",     "qwen2",        28,  3584, 18944,  28,   4, 128, 152064, 1000000, true},
    {"qwen2.5-14b",    "qwen2",        48,  5120, 13824,  40,   8, 128, 152064, 1000000, true},
    {"qwen2.5-32b",    "qwen2",        64,  5120, 27648,  40,   8, 128, 152064, 1000000, true},
    {"qwen2.5-72b",    "qwen2",        80,  8192, 29568,  64,   8, 128, 152064, 1000000, true},
    {"qwen3-0.6b",     "qwen3",        28,  1024,  3072,  16,   8, 128, 151936, 1000000, false},
    {"qwen3-1.7b",     "qwen3",        28,  2048,  6144,  16,   8, 128, 151936, 1000000, false},
    {"qwen3-4b",       "qwen3",        36,  2560,  9728,  32,   8, 128, 151936, 1000000, false},
    {"qwen3-8b",       "qwen3",        36,  4096, 12288,  32,   8, 128, 151936, 1000000, true},
    {"qwen3-14b",      "qwen3",        40,  5120, 17408,  40,   8, 128, 151936, 1000000, true},
    {"qwen3-32b",      "qwen3",        64,  5120, 25600,  64,   8, 128, 151936, 1000000, true},
    {"qwen3-30b-a3b",  "qwen3moe",     48,  2048,  6144,  32,   4, 128, 151936, 1000000, true, 128, 8, 768},
    {"deepseek-v3",    "deepseek2",    61,  7168, 18432, 128,   1, 576, 129280, 10000, true, 256, 8, 2048, 3, 1, 1536, 512, 128, 64, 128},
};
// clang-format on

}  // namespace

std::span<const ModelShape> model_shapes() { return kShapes; }

Result<ModelShape> find_model_shape(std::string_view name) {
  std::string wanted(name), known;
  for (char& c : wanted) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  for (const ModelShape& shape : kShapes) {
    if (wanted == shape.name) return shape;
    known += ' ';
    known += shape.name;
  }
  return fail(ErrorCode::kInvalidArgument, "'{}' is no known shape of a model; known are:{}", printable(name), known);
}

}  // namespace metallic
