#include "cli/generation.h"

#include <fmt/core.h>
#include <sys/resource.h>

#include <cstdio>

#include "base/error.h"
#include "cli/interrupt.h"

namespace metallic::cli {

namespace {

Result<Completion> generate(Engine& engine, Request request, const std::function<void()>& on_accepted) {
  METALLIC_ASSIGN(const RequestId id, engine.submit(std::move(request)));
  if (on_accepted) on_accepted();
  while (!engine.idle()) METALLIC_TRY(engine.step());
  return engine.take(id);
}

}  // namespace

Result<Completion> stream_answer(Engine& engine, std::vector<TokenId> prompt, const GenerationOptions& options,
                                 const std::function<void()>& on_accepted) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = options.max_tokens;
  request.sampling = options.sampling;
  request.stop = options.stop;
  request.ignore_end = options.ignore_end;
  request.show_special = options.show_special;
  bool written = true;
  request.on_text = [&](std::string_view text) {
    written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
    return written;
  };
  request.should_stop = [] { return InterruptGuard::pending(); };
  auto completion = generate(engine, std::move(request), on_accepted);
  InterruptGuard::take();
  if (!completion) return completion;
  if (written && !completion->text.empty() && completion->text.back() != '\n')
    written = std::fputc('\n', stdout) != EOF && std::fflush(stdout) == 0;
  if (!written) return fail(ErrorCode::kIo, "cannot write the answer to standard output");
  return completion;
}

void print_statistics(const Completion& completion) {
  const auto rate = [](int tokens, double seconds) { return seconds > 0 ? double(tokens) / seconds : 0.0; };
  const int computed = completion.prompt_tokens - completion.cached_tokens;
  const int answered = int(completion.tokens.size());
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  constexpr double kMegabyte = 1e6;
  fmt::print(stderr,
             "[prompt {} tokens ({} cached), {:.1f} tokens/s | answer {} tokens, {:.1f} tokens/s | {} | peak memory "
             "{:.0f} MB]\n",
             completion.prompt_tokens, completion.cached_tokens, rate(computed, completion.prompt_seconds), answered,
             rate(answered - 1, completion.answer_seconds), finish_reason_name(completion.reason),
             double(usage.ru_maxrss) * 1024 / kMegabyte);
}

}  // namespace metallic::cli
