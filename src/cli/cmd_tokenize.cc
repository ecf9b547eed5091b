// metallic tokenize: text to token ids and back.
#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "metallic/gguf.h"
#include "metallic/tokenizer.h"
#include "model/vocab_from_gguf.h"

namespace metallic::cli {
namespace {

struct Options {
  std::string model, file, text;
  bool has_text = false;
  bool no_bos = false, no_special = false, ids = false, pieces = false, decode = false;
};

Status print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
  return fail(ErrorCode::kIo, "standard output: cannot write: {}", std::strerror(errno));
}

Result<std::string> read_input(const Options& options) {
  if (options.has_text) return options.text;
  return read_text_file(options.file.empty() ? "-" : options.file);
}

// Numbers with white space or commas between them; brackets around them are allowed.
Result<std::vector<TokenId>> parse_ids(std::string_view text) {
  std::vector<TokenId> ids;
  constexpr std::string_view kBetween = " \t\r\n,[]";
  for (size_t at = text.find_first_not_of(kBetween); at < text.size(); at = text.find_first_not_of(kBetween, at)) {
    const std::string_view word = text.substr(at, text.find_first_of(kBetween, at) - at);
    TokenId id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size()) {
      return fail(ErrorCode::kInvalidArgument,
                  "\"{}\" at byte {} of the input is no token id; give numbers with spaces between", word, at);
    }
    ids.push_back(id);
    at += word.size();
  }
  return ids;
}

// A piece on one line: control characters, backslashes and bytes that are not UTF-8 as escapes.
std::string escape(std::string_view piece) {
  std::string line;
  for (size_t at = 0; at < piece.size();) {
    const DecodedCodePoint c = decode_utf8(piece.substr(at));
    const bool plain =
        c.code_point != kInvalidCodePoint && c.code_point >= 0x20 && c.code_point != 0x7f && c.code_point != '\\';
    for (int i = 0; i < c.length; ++i) {
      const char byte = piece[at + size_t(i)];
      if (plain)
        line += byte;
      else if (byte == '\n')
        line += "\\n";
      else if (byte == '\\')
        line += "\\\\";
      else
        line += fmt::format("\\x{:02x}", uint8_t(byte));
    }
    at += size_t(c.length);
  }
  return line;
}

Status print_tokens(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, const Options& options) {
  std::string out;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (options.ids)
      fmt::format_to(std::back_inserter(out), "{}{}", i == 0 ? "" : " ", ids[i]);
    else if (options.pieces)
      fmt::format_to(std::back_inserter(out), "{}\n", escape(tokenizer.piece(ids[i], true)));
    else
      fmt::format_to(std::back_inserter(out), "{}\t{}\n", ids[i], escape(tokenizer.piece(ids[i], true)));
  }
  if (options.ids) out += '\n';
  return print(out);
}

Status print_text(const Tokenizer& tokenizer, std::string_view input, const Options& options) {
  METALLIC_ASSIGN(const std::vector<TokenId> ids, parse_ids(input));
  const Vocab& vocab = tokenizer.vocab();
  std::span<const TokenId> body = ids;
  std::string text;
  if (!ids.empty() && vocab.add_bos && ids[0] == vocab.bos) {
    if (!options.no_bos && !options.no_special) text = tokenizer.piece(vocab.bos, true);
    body = body.subspan(1);
  }
  METALLIC_ASSIGN(std::string rest, tokenizer.decode(body, !options.no_special));
  // The space that SentencePiece puts in front of a text is not part of it.
  if (vocab.add_space_prefix && rest.starts_with(' ')) rest.erase(0, 1);
  return print(text + rest);
}

Status tokenize(const Options& options) {
  METALLIC_ASSIGN(const GgufFile file, GgufFile::open(options.model));
  METALLIC_ASSIGN(Vocab vocab, vocab_from_gguf(file));
  auto tokenizer = Tokenizer::create(std::move(vocab));
  if (!tokenizer) return fail_while(options.model, tokenizer.error());
  METALLIC_ASSIGN(const std::string input, read_input(options));
  if (options.decode) return print_text(*tokenizer, input, options);
  const EncodeOptions encode{.add_special = !options.no_bos, .parse_special = !options.no_special};
  METALLIC_ASSIGN(const std::vector<TokenId> ids, tokenizer->encode(input, encode));
  return print_tokens(*tokenizer, ids, options);
}

}  // namespace

void add_tokenize(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("tokenize", "Turn text into token ids, or ids into text");
  command->add_option("-m,--model", options->model, "the GGUF file whose vocabulary to use")->required();
  CLI::Option* text =
      command->add_option("TEXT", options->text, "the text; without it, or a file, standard input is read");
  command->add_option("-f,--file", options->file, "read the text from this file")->excludes(text);
  command->add_flag("--no-bos", options->no_bos, "add no BOS or EOS token; with --decode, print no BOS in front");
  command->add_flag("--no-special", options->no_special,
                    "take \"<|im_end|>\" and the like in the text as plain text;\n"
                    "with --decode, print no special tokens");
  CLI::Option* ids = command->add_flag("--ids", options->ids, "print the ids alone, on one line");
  CLI::Option* pieces =
      command->add_flag("--pieces", options->pieces, "print the pieces alone, one a line")->excludes(ids);
  command->add_flag("--decode", options->decode, "the input is ids; print their text")->excludes(ids)->excludes(pieces);
  command->footer(
      "Examples:\n"
      "  metallic tokenize -m model.gguf \"Hello, world\"\n"
      "  metallic tokenize -m model.gguf --file prompt.txt --ids\n"
      "  metallic tokenize -m model.gguf --decode \"9707 11 1879\"");
  command->callback([options, text, &action] {
    options->has_text = text->count() > 0;
    action = [options] { return tokenize(*options); };
  });
}

}  // namespace metallic::cli
