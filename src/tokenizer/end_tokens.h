// Tokens that are known by their text, whatever type a file gives them: they end a generation, or steer
// fill-in-the-middle.
#pragma once

#include <span>
#include <string_view>

namespace metallic {

struct KnownToken {
  std::string_view text;
  bool ends_generation;
};

// Those whose text cannot mean anything else; a vocabulary that has one means it.
std::span<const KnownToken> known_tokens();

// Texts that end a generation only if the token's type is control: they are HTML or plain words elsewhere.
bool ends_generation_if_control(std::string_view text);

}  // namespace metallic
