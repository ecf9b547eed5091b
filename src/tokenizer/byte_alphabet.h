// GPT-2's alphabet: each of the 256 bytes as a printable character, which is how the vocabularies of byte-level BPE are
// written. Bytes that are printable in Latin-1 stand for themselves, the others are U+0100 and up, in order.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace metallic {

class ByteAlphabet {
 public:
  static const ByteAlphabet& get() {
    static const ByteAlphabet alphabet;
    return alphabet;
  }

  // Appends the bytes that `text` stands for. False, with nothing appended, if a character is not of the alphabet.
  bool decode(std::string_view text, std::string& out) const {
    const size_t start = out.size();
    out.resize(start + text.size());
    char* end = out.data() + start;
    const bool known = decode_until_space(text, end) == text.size();
    out.resize(known ? size_t(end - out.data()) : start);
    return known;
  }

  // Writes the bytes that `text` stands for, at most text.size(), to `out`, which then points behind them, and returns
  // where in `text` the first character stands that is not of the alphabet, such as a space.
  size_t decode_until_space(std::string_view text, char*& out) const {
    for (size_t i = 0; i < text.size();) {
      uint32_t code_point = uint8_t(text[i]);
      size_t size = 1;
      if (code_point >= 0x80) {  // the alphabet ends at U+0143: two bytes in UTF-8
        const uint32_t next = i + 1 < text.size() ? uint8_t(text[i + 1]) : 0;
        const bool two_bytes = code_point >= 0xc2 && code_point <= 0xc5 && (next & 0xc0) == 0x80;
        code_point = two_bytes ? (code_point & 0x1f) << 6 | (next & 0x3f) : 0;
        size = 2;
      }
      const int16_t byte = code_point < byte_of_.size() ? byte_of_[code_point] : int16_t{-1};
      if (byte < 0) return i;
      *out++ = char(byte);
      i += size;
    }
    return text.size();
  }

  uint32_t code_point(uint8_t byte) const { return code_point_of_[byte]; }

 private:
  ByteAlphabet() {
    byte_of_.fill(-1);
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
      code_point_of_[byte] = uint16_t(printable ? byte : next++);
      byte_of_[code_point_of_[byte]] = int16_t(byte);
    }
  }

  std::array<int16_t, 0x144> byte_of_;  // -1 where no byte has the character
  std::array<uint16_t, 256> code_point_of_;
};

}  // namespace metallic
