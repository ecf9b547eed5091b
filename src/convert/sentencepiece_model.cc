#include "convert/sentencepiece_model.h"

#include <cmath>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/utf8.h"

namespace metallic::convert {
namespace {

struct Field {
  uint64_t number = 0;
  int wire_type = 0;                      // 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes
  uint64_t value = 0;                     // of types 0, 1 and 5
  std::span<const std::byte> bytes = {};  // of type 2
};

// Walks the fields of one message. Every read is checked against its end.
class Message {
 public:
  // `offset`: of `bytes` in the file, for messages.
  Message(std::span<const std::byte> bytes, size_t offset) : bytes_(bytes), offset_(offset) {}

  bool done() const { return at_ == bytes_.size(); }

  Result<Field> next() {
    METALLIC_ASSIGN(const uint64_t key, varint());
    Field field{key >> 3, int(key & 7)};
    if (field.number == 0) return wrong("a field of number 0");
    switch (field.wire_type) {
      case 0: {
        METALLIC_ASSIGN(field.value, varint());
        return field;
      }
      case 1:
      case 5: {
        const size_t size = field.wire_type == 1 ? 8 : 4;
        if (bytes_.size() - at_ < size) return wrong("a number that ends beyond its message");
        std::memcpy(&field.value, &bytes_[at_], size);
        at_ += size;
        return field;
      }
      case 2: {
        METALLIC_ASSIGN(const uint64_t size, varint());
        if (size > bytes_.size() - at_) return wrong("a field that ends beyond its message");
        field.bytes = bytes_.subspan(at_, size_t(size));
        at_ += size_t(size);
        return field;
      }
      default:
        return wrong("an unknown wire type");
    }
  }
  size_t position() const { return offset_ + at_; }

 private:
  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (done()) return wrong("a number that ends beyond its message");
      const auto byte = uint64_t(bytes_[at_++]);
      if (shift == 63 && byte > 1) break;
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return wrong("a number of more than 64 bits");
  }
  tl::unexpected<Error> wrong(const char* what) const {
    return fail(ErrorCode::kCorrupt, "byte {}: {}; this is no SentencePiece model", position(), what);
  }

  std::span<const std::byte> bytes_;
  size_t offset_, at_ = 0;
};

Status read_piece(Message message, SentencePieceModel::Piece& piece) {
  while (!message.done()) {
    METALLIC_ASSIGN(const Field field, message.next());
    if (field.number == 1 && field.wire_type == 2)
      piece.text.assign(reinterpret_cast<const char*>(field.bytes.data()), field.bytes.size());
    if (field.number == 2 && field.wire_type == 5) {
      const auto bits = uint32_t(field.value);
      std::memcpy(&piece.score, &bits, sizeof(bits));
    }
    if (field.number == 3 && field.wire_type == 0) {
      if (field.value < 1 || field.value > 6)
        return fail(ErrorCode::kCorrupt, "byte {}: a piece of type {}; types are 1 to 6", message.position(),
                    field.value);
      piece.type = TokenType(field.value);  // the same numbers
    }
  }
  if (find_invalid_utf8(piece.text) != std::string::npos)
    return fail(ErrorCode::kCorrupt, "byte {}: a piece that is no UTF-8", message.position());
  if (!std::isfinite(piece.score))
    return fail(ErrorCode::kCorrupt, "byte {}: a piece whose score is no number", message.position());
  return {};
}

Status read_trainer(Message message, SentencePieceModel& model) {
  constexpr uint64_t kModelType = 3, kSpaceAsSuffix = 24;
  while (!message.done()) {
    METALLIC_ASSIGN(const Field field, message.next());
    if (field.wire_type != 0) continue;
    if (field.number == kSpaceAsSuffix) model.space_as_suffix = field.value != 0;
    if (field.number != kModelType) continue;
    if (field.value > 2)
      return fail(ErrorCode::kUnsupported, "a SentencePiece model of words or characters; BPE and unigram are known");
    model.is_unigram = field.value == 1;
  }
  return {};
}

Status read_normalizer(Message message, SentencePieceModel& model) {
  constexpr uint64_t kCharacterMap = 2, kDummyPrefix = 3, kRemoveExtra = 4, kEscape = 5;
  while (!message.done()) {
    METALLIC_ASSIGN(const Field field, message.next());
    if (field.number == kCharacterMap && field.wire_type == 2)
      model.character_map.assign(reinterpret_cast<const char*>(field.bytes.data()), field.bytes.size());
    if (field.wire_type != 0) continue;
    if (field.number == kDummyPrefix) model.add_dummy_prefix = field.value != 0;
    if (field.number == kRemoveExtra) model.remove_extra_spaces = field.value != 0;
    if (field.number == kEscape) model.escape_spaces = field.value != 0;
  }
  return {};
}

}  // namespace

Result<SentencePieceModel> parse_sentencepiece_model(std::span<const std::byte> bytes) {
  constexpr uint64_t kPieces = 1, kTrainer = 2, kNormalizer = 3;
  SentencePieceModel model;
  Message message(bytes, 0);
  while (!message.done()) {
    METALLIC_ASSIGN(const Field field, message.next());
    if (field.wire_type != 2) continue;
    const Message inner(field.bytes, message.position() - field.bytes.size());
    if (field.number == kPieces) METALLIC_TRY(read_piece(inner, model.pieces.emplace_back()));
    if (field.number == kTrainer) METALLIC_TRY(read_trainer(inner, model));
    if (field.number == kNormalizer) METALLIC_TRY(read_normalizer(inner, model));
  }
  if (model.pieces.empty()) return fail(ErrorCode::kCorrupt, "no pieces; this is no SentencePiece model");
  return model;
}

}  // namespace metallic::convert
