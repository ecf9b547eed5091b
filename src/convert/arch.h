// What conversion must know of a Hugging Face architecture. One file under arch/ for each family, one line in
// arch/registry.cc.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "convert/json_object.h"
#include "convert/key_writer.h"
#include "convert/rope.h"
#include "convert/tensor_rules.h"

namespace metallic::convert {

// A folder that is being converted.
struct HfModel {
  std::string folder;
  JsonObject config;  // of the language model, where config.json has several
  Rope rope;
  // Common letters: L blocks, W embedding length, H heads, K KV heads, D head size, Q = H D, R = K D, F feed-forward
  // length, G = 2 F, V vocabulary, C context.
  Dims dims;
};

// Names that rules and prefixes of most architectures share.
inline constexpr std::string_view kModelPrefix[] = {"model."};
inline constexpr std::string_view kRotaryBuffers[] = {"rotary_emb.inv_freq"};
inline constexpr std::string_view kSilu[] = {"silu", "swish"};
inline constexpr std::string_view kGelu[] = {"gelu"};
inline constexpr std::string_view kGeluTanh[] = {"gelu_pytorch_tanh", "gelu_new"};

struct ConvertArch {
  std::span<const std::string_view> hf_names;  // "architectures" of config.json
  std::string_view name;                       // general.architecture
  std::span<const TensorRule> rules;
  RuleOptions options = {kModelPrefix, kRotaryBuffers};
  Status (*set_dims)(HfModel& model) = nullptr;                             // letters besides the common ones
  Status (*write_keys)(const HfModel& model, KeyWriter& keys) = nullptr;    // keys besides the common ones
  Status (*add_tensors)(const HfModel& model, TensorPlan& plan) = nullptr;  // tensors that no checkpoint has
  std::span<const std::string_view> activations = {};  // hidden_act must be one of them; the first if it is not given
  std::string_view pre_tokenizer = {};                 // name for a pre-tokeniser that several families share
  // A number of config.json that must be positive; where it is not, the next entry of that name is meant.
  std::string_view only_with = {};
  // JSON: what transformers' configuration class assumes for keys that config.json lacks.
  std::string_view defaults = "{}";
};

std::span<const ConvertArch* const> all_convert_archs();
// kUnsupported lists the known names.
Result<const ConvertArch*> find_convert_arch(std::string_view hf_name, const JsonObject& config);

// Reads the common letters of Dims.
Result<HfModel> read_model(const std::string& folder, const ConvertArch& arch, JsonObject config);
// Keys that every architecture has where config.json has the value.
Status write_common_keys(const HfModel& model, KeyWriter& keys);

// Pieces that several architectures share.
// kUnsupported unless the value is one of `known`, or absent.
Status require_text(const JsonObject& config, JsonObject::Keys keys, std::span<const std::string_view> known);
// kUnsupported if one of these is true: nothing in GGUF says it, and without it the results would be wrong.
Status refuse_flags(const JsonObject& config, std::initializer_list<std::string_view> flags);
Result<int64_t> window_of(const JsonObject& config);  // sliding_window; 0: none
inline bool never_local(int64_t) { return false; }
// Elements of a head that rotate, where config.json may say another share than the usual one.
int64_t rotated_dims(const HfModel& model, double usual_share = 1);
Status write_rotated_dims(const HfModel& model, KeyWriter& keys);  // vocab_size, rope.dimension_count
// attention.sliding_window_pattern from layer_types, if it differs from `usual` (true: local). local_rope: layers
// without a window have no rope.
Status write_layer_types(const HfModel& model, KeyWriter& keys, bool (*usual)(int64_t layer), bool local_rope = false);
// pooling_type, from the sentence-transformers files beside the model.
Status write_pooling(const HfModel& model, KeyWriter& keys);

}  // namespace metallic::convert
