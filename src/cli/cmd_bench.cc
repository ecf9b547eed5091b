// metallic bench: tokens per second of prompts and of decoding, and how near that is to what the machine can do.
#include <fmt/core.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>

#include "base/error.h"
#include "cli/bench_report.h"
#include "cli/commands.h"
#include "cli/memory_options.h"
#include "cli/model_options.h"
#include "engine/load_model.h"
#include "engine/measure_speed.h"
#include "engine/plan_model.h"
#include "memory/explain.h"
#include "memory/machine.h"
#include "model/random_model.h"

namespace metallic::cli {
namespace {

using Clock = std::chrono::steady_clock;
const Clock::time_point program_start = Clock::now();

constexpr int kMostTokens = 1 << 20;
constexpr int kMostSequences = 4096;

struct Options {
  ModelOptions model;
  std::string shape;  // instead of a file
  int prompt = 512;
  int generate = 128;
  std::vector<int> batches = {1};
  int depth = 0;
  int repetitions = 5;
  bool start = false;
  bool operations = false;
  bool predict = false;
  std::string format = "md";
};

// The tests in the order in which they are printed.
std::vector<SpeedTest> wanted_tests(const Options& options) {
  std::vector<SpeedTest> tests;
  if (options.prompt > 0) tests.push_back({SpeedTest::Kind::kPrompt, options.prompt, 1, options.depth});
  if (options.generate > 0)
    for (const int sequences : options.batches)
      tests.push_back({SpeedTest::Kind::kDecode, options.generate, sequences, options.depth});
  return tests;
}

// The model of -m or --shape, and what is printed of it.
struct Subject {
  std::optional<MemoryFile> file;  // of a shape
  std::shared_ptr<const Model> model;
  std::shared_ptr<TimingBackend> timing;  // the model's backend, if operations are to be timed
  BenchSubject text;
  std::optional<PlannedModel> predicted;
  int step_rows = 0;

  static Result<Subject> load(const Options& options) {
    Subject subject;
    subject.text.model = options.model.path;
    std::string path = options.model.path;
    EngineOptions engine = options.model.engine;
    engine.context = std::max(1, options.depth + std::max(options.prompt, options.generate));
    engine.max_sequences = *std::max_element(options.batches.begin(), options.batches.end());
    if (!options.shape.empty()) {
      METALLIC_ASSIGN(const RandomModelSpec spec, RandomModelSpec::parse(options.shape));
      METALLIC_ASSIGN(MemoryFile file, MemoryFile::of_random_model(spec, engine.repack ? 1 : 0));
      subject.file.emplace(std::move(file));
      subject.text.model = spec.name();
      path = subject.file->path();
    }
    if (options.predict) METALLIC_TRY(subject.predict(path, engine));
    if (options.operations) {
      METALLIC_TRY(subject.load_timed(path, engine));
      subject.step_rows = metallic::step_rows(engine, nullptr);
    } else {
      METALLIC_ASSIGN(PlacedModel placed, load_model(path, engine));
      subject.step_rows = metallic::step_rows(engine, placed.planned ? &placed.planned->plan : nullptr);
      subject.model = std::move(placed.model);
    }
    subject.text.architecture = subject.model->config().spec->name;
    subject.text.backend = subject.model->backend().name();
    subject.text.threads = subject.model->backend().threads();
    return subject;
  }

  // What explain says of the same, on this machine as it is measured now.
  Status predict(const std::string& path, const EngineOptions& engine) {
    METALLIC_ASSIGN(const GgufFile opened, GgufFile::open(path));
    METALLIC_ASSIGN(const Config config, read_config(opened));
    METALLIC_ASSIGN(predicted, plan_model(opened, config, {.options = engine, .measure = Measure::kMissing}));
    return {};
  }

 private:
  // With all weights where they are computed with, and a clock around each operation.
  Status load_timed(const std::string& path, const EngineOptions& engine) {
    const std::string name = engine.backend == "auto" ? "cpu" : engine.backend;
    if (name.starts_with("cuda"))
      return fail(ErrorCode::kUnsupported, "--operations times those of a processor; for a GPU use nsys or ncu");
    METALLIC_ASSIGN(auto inner, open_backend(name, engine.threads, engine.repack));
    timing = std::make_shared<TimingBackend>(std::move(inner));
    METALLIC_ASSIGN(model, Model::load(path, timing));
    return {};
  }
};

// On standard error: standard output holds what was measured.
void print_prediction(const PlannedModel& planned) {
  fmt::print(stderr, "{}{}\n", explain_text(planned.sizes, planned.machine, planned.plan),
             machine_json(planned.machine));
}

Status run_start(const Options& options) {
  if (!options.shape.empty())
    return fail(ErrorCode::kInvalidArgument, "--start measures how long a file takes to load; give one with -m");
  METALLIC_ASSIGN(const Subject subject, Subject::load(options));
  METALLIC_TRY(first_token(*subject.model, options.model.engine.kv_formats));
  StartResult start;
  start.seconds = std::chrono::duration<double>(Clock::now() - program_start).count();
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  start.peak_bytes = uint64_t(usage.ru_maxrss) << 10;
  fmt::print("{}", options.format == "json" ? start_json(subject.text, start) : start_table(subject.text, start));
  return {};
}

Status run_bench(const Options& options) {
  if (options.start) return run_start(options);
  const std::vector<SpeedTest> tests = wanted_tests(options);
  if (tests.empty()) return fail(ErrorCode::kInvalidArgument, "nothing to measure: -p and -n are both 0");
  METALLIC_ASSIGN(const Subject subject, Subject::load(options));
  METALLIC_ASSIGN(const auto tester, SpeedTester::create(subject.model, tests,
                                                         {.step_rows = subject.step_rows,
                                                          .repetitions = options.repetitions,
                                                          .kv_formats = options.model.engine.kv_formats}));
  if (subject.predicted) print_prediction(*subject.predicted);
  std::vector<SpeedResult> results;
  std::vector<OperationTimes> operations;
  const auto clear = [&] {
    if (subject.timing) subject.timing->clear();
  };
  for (const SpeedTest& test : tests) {
    METALLIC_ASSIGN(SpeedResult result, tester->run(test, clear));
    if (subject.timing) operations.push_back(subject.timing->times());
    results.push_back(std::move(result));
  }
  fmt::print("{}", options.format == "json" ? speed_json(subject.text, results, operations)
                                            : speed_table(subject.text, results, operations));
  return {};
}

// "1,4,16"; CLI11's own lists let "1,,4" pass.
std::vector<int> parse_batches(const std::string& text) {
  std::vector<int> batches;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    int sequences = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, sequences);
    if (error != std::errc() || stop != text.data() + end || sequences < 1 || sequences > kMostSequences)
      throw CLI::ValidationError(
          "--batch", fmt::format("'{}' is no list of numbers from 1 to {}, such as 1,4,16", text, kMostSequences));
    batches.push_back(sequences);
    at = end + 1;
  }
  return batches;
}

void add_test_options(CLI::App& command, Options& options) {
  command.add_option("-p,--n-prompt", options.prompt, "tokens of the prompt test (0: none)")
      ->capture_default_str()
      ->check(CLI::Range(0, kMostTokens));
  command.add_option("-n,--n-gen", options.generate, "tokens that each sequence of a decode test gets (0: none)")
      ->capture_default_str()
      ->check(CLI::Range(0, kMostTokens));
  command
      .add_option_function<std::string>(
          "-b,--batch", [&options](const std::string& text) { options.batches = parse_batches(text); },
          "numbers of sequences that decode together: 1,4,16")
      ->default_str("1");
  command.add_option("-d,--depth", options.depth, "tokens in the KV cache of each sequence before a test begins")
      ->capture_default_str()
      ->check(CLI::Range(0, kMostTokens));
  command.add_option("-r,--repetitions", options.repetitions, "measurements of each test")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command.add_flag("--operations", options.operations,
                   "print also where the time of each test went, operation by operation (processors only)");
  command.add_flag("--predict", options.predict,
                   "print also what metallic explain predicts of this, on the machine as it is now");
  command.add_flag("--start", options.start,
                   "measure instead the time from the program's start to the first token, and the peak memory");
}

}  // namespace

void add_bench(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("bench", "Measure the speed of a model on this machine");
  add_model_options(*command, options->model);
  CLI::Option* model = command->get_option("--model")->required(false);
  command
      ->add_option("--shape", options->shape,
                   "no file, but random weights of a known shape and type, SHAPE:TYPE like llama3.1-8b:q4_k_m")
      ->excludes(model);
  add_test_options(*command, *options);
  command
      ->add_option("--ubatch-size", options->model.engine.batch_rows,
                   "(-ub) the most tokens evaluated in one step [512, or 2048 where weights are brought for each]")
      ->check(CLI::Range(1, kMostTokens));
  add_kv_options(*command, options->model);
  add_memory_options(*command, options->model.engine.memory);
  command->add_option("-o,--output", options->format, "md: a table; json: every figure")
      ->capture_default_str()
      ->check(CLI::IsMember({"md", "json"}));
  command->footer(
      "Examples:\n"
      "  metallic bench -m model.gguf -p 512 -n 128 -b 1,4,16 -t 2 -r 5 -o json\n"
      "  metallic bench --shape llama3.1-8b:q4_k_m -d 4096\n"
      "The share of the limit is that of the memory's read bandwidth (decoding) or of the processor's integer dot\n"
      "products (prompts), both measured beside each test with the same threads.");
  command->callback([options, model, &action] {
    if (model->count() == 0 && options->shape.empty()) throw CLI::RequiredError("--model or --shape");
    action = [options] { return run_bench(*options); };
  });
}

}  // namespace metallic::cli
