// The command on every class of hole: whatever it opens, it ends with one line that says what is wrong and the
// status 1. The command has the sanitizers of this build, whose reports would be further lines.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "support/hole_files.h"

namespace metallic {
namespace {

using testing::model_path;

// A process of the command with pipes for its three streams.
class Command {
 public:
  explicit Command(const std::vector<std::string>& arguments) {
    std::array<std::array<int, 2>, 3> pipes;
    for (auto& ends : pipes) EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    std::vector<char*> pointers = {const_cast<char*>(METALLIC_CLI)};
    for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
    pointers.push_back(nullptr);
    process_ = ::fork();
    if (process_ == 0) {
      for (int i = 0; i < 3; ++i) ::dup2(pipes[size_t(i)][i == 0 ? 0 : 1], i);
      const rlimit seconds = {120, 120};  // of processor time: a command that never ends is ended
      ::setrlimit(RLIMIT_CPU, &seconds);
      ::execv(METALLIC_CLI, pointers.data());
      ::_exit(127);
    }
    input_ = pipes[0][1];
    outputs_ = {pipes[1][0], pipes[2][0]};
    for (const int end : {pipes[0][0], pipes[1][1], pipes[2][1]}) ::close(end);
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command() { finish(); }

  void type(const std::string& text) { EXPECT_EQ(::write(input_, text.data(), text.size()), ssize_t(text.size())); }

  // Reads until standard error holds `part`; false if the process ends before.
  bool wait_for(const std::string& part) {
    while (texts_[1].find(part) == std::string::npos)
      if (!read_some()) return false;
    return true;
  }

  // Closes its input and reads the rest. The exit status; minus the number of a signal that ended it.
  int finish() {
    if (process_ <= 0) return status_;
    ::close(input_);
    while (read_some()) continue;
    for (const int end : outputs_) ::close(end);
    int status = 0;
    EXPECT_EQ(::waitpid(std::exchange(process_, -1), &status, 0) > 0, true);
    return status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  const std::string& output() const { return texts_[0]; }
  const std::string& errors() const { return texts_[1]; }

 private:
  bool read_some() {
    std::array<pollfd, 2> ends = {pollfd{open_[0] ? outputs_[0] : -1, POLLIN, 0},
                                  {open_[1] ? outputs_[1] : -1, POLLIN, 0}};
    if (!(open_[0] || open_[1]) || ::poll(ends.data(), ends.size(), -1) < 0) return false;
    for (size_t i = 0; i < ends.size(); ++i) {
      if (ends[i].revents == 0) continue;
      std::array<char, 4096> buffer;
      const ssize_t count = ::read(ends[i].fd, buffer.data(), buffer.size());
      open_[i] = count > 0;
      if (count > 0) texts_[i].append(buffer.data(), size_t(count));
    }
    return true;
  }

  pid_t process_ = -1;
  int input_ = -1, status_ = -1;
  std::array<int, 2> outputs_ = {-1, -1};
  std::array<bool, 2> open_ = {true, true};
  std::array<std::string, 2> texts_;
};

// The command must end with the status 1 and one line on standard error; gives the line.
std::string refusal(const std::vector<std::string>& arguments) {
  Command command(arguments);
  EXPECT_EQ(command.finish(), 1) << command.errors();
  const std::string line = command.errors().substr(0, command.errors().find('\n'));
  EXPECT_EQ(command.errors(), line + "\n");
  EXPECT_TRUE(line.starts_with("metallic: ")) << line;
  return line;
}

std::vector<std::string> run_command(const std::string& path) {
  return {"run", "-q", "-m", path, "-p", "x", "-n", "1"};
}

TEST(HoleClassesOfTheCommand, ABrokenHeaderIsRefusedByEveryReader) {
  const TemporaryFolder folder;
  for (const testing::HoleFile& file : testing::broken_headers()) {
    SCOPED_TRACE(file.name);
    const std::string path = folder.write("hole.gguf", file.bytes);
    EXPECT_FALSE(GgufFile::open(path));
    EXPECT_NE(refusal({"inspect", path}).find(path + ": at byte "), std::string::npos);
    EXPECT_NE(refusal({"verify", path}).find("not sound; structure"), std::string::npos);
    EXPECT_NE(refusal(run_command(path)).find(path + ": at byte "), std::string::npos);
  }
}

TEST(HoleClassesOfTheCommand, AModelThatCannotBeIsInspectedButNotRun) {
  const TemporaryFolder folder;
  for (const testing::HoleFile& file : testing::broken_models()) {
    SCOPED_TRACE(file.name);
    const std::string path = folder.write("hole.gguf", file.bytes);
    Command inspect({"inspect", path});
    EXPECT_EQ(inspect.finish(), 0) << inspect.errors();
    EXPECT_EQ(inspect.errors(), "");
    EXPECT_NE(refusal({"verify", path}).find("not sound; "), std::string::npos);
    EXPECT_NE(refusal(run_command(path)), "");
  }
}

// Every command, on each argument that names a file to read.
std::vector<std::vector<std::string>> commands_that_open(const std::string& path, const std::string& out) {
  const std::string model = model_path("llama-tied.gguf");
  return {
      run_command(path),
      {"logits", "-m", path, "--tokens", "1", "-o", out},
      {"perplexity", "-m", path, "-f", model_path("README.md")},
      {"bench", "-m", path},
      {"tokenize", "-m", path, "x"},
      {"embed", "-m", path, "--tokens", "1"},
      {"template", "-m", path, "--show"},
      {"inspect", path},
      {"dequantize", path, "t", "-o", out},
      {"forward", "-m", path, "--values", "1"},
      {"imatrix", "-m", path, "-f", model_path("README.md"), "-o", out},
      {"quantize", path, out, "Q8_0"},
      {"quantize", model, out, "Q8_0", "--imatrix", path},
      {"split", path, out, "--max-tensors", "5"},
      {"merge", path, out},
      {"verify", path},
      {"convert", path, out},
  };
}

TEST(HoleClassesOfTheCommand, WhatIsNoFileIsRefusedByEveryCommand) {
  const TemporaryFolder folder;
  const std::string fifo = folder.file("fifo"), empty = folder.write("empty.gguf", ""), out = folder.file("out");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::filesystem::create_directory(folder.file("folder.gguf"));
  for (const std::string& path :
       {fifo, std::string("/dev/zero"), folder.file("folder.gguf"), empty, folder.file("none")})
    for (const std::vector<std::string>& command : commands_that_open(path, out)) {
      SCOPED_TRACE(command.front() + " " + path);
      EXPECT_NE(refusal(command).find(path), std::string::npos);
      EXPECT_FALSE(std::filesystem::exists(out));
    }
}

TEST(HoleClassesOfTheCommand, AFolderWhosePartsAreNoFilesIsNotConverted) {
  const TemporaryFolder folder;
  const std::string from = std::string(METALLIC_SOURCE_DIR) + "/tests/data/architectures/mistral",
                    out = folder.file("out");
  for (const char* part :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"}) {
    for (const char* kind : {"FIFO", "device", "directory"}) {
      SCOPED_TRACE(part + std::string(" is a ") + kind);
      const std::filesystem::path copy = folder.file("copy");
      std::filesystem::copy(from, copy);
      std::filesystem::remove(copy / part);
      if (kind == std::string("FIFO")) {
        ASSERT_EQ(::mkfifo((copy / part).c_str(), 0600), 0);
      }
      if (kind == std::string("device")) std::filesystem::create_symlink("/dev/zero", copy / part);
      if (kind == std::string("directory")) std::filesystem::create_directory(copy / part);
      const std::string line = refusal({"convert", copy.string(), out});
      EXPECT_NE(line.find(part), std::string::npos) << line;
      EXPECT_NE(line.find(kind), std::string::npos) << line;
      EXPECT_FALSE(std::filesystem::exists(out));
      std::filesystem::remove_all(copy);
    }
  }
}

TEST(HoleClassesOfTheCommand, EndlessTextIsRefused) {
  const std::string model = model_path("llama-tied.gguf");
  const TemporaryFolder folder;
  const std::string out = folder.file("out");
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"run", "-q", "-m", model, "-f", "/dev/zero"},
           {"perplexity", "-m", model, "-f", "/dev/zero"},
           {"tokenize", "-m", model, "-f", "/dev/zero"},
           {"imatrix", "-m", model, "-f", "/dev/zero", "-o", out},
           {"template", "--file", "/dev/zero", "--messages", "/dev/zero"},
       }) {
    SCOPED_TRACE(command.front());
    EXPECT_NE(refusal(command).find("/dev/zero"), std::string::npos);
  }
}

TEST(HoleClassesOfTheCommand, AFileThatShrinksWhileItRunsEndsTheAnswerWithAnError) {
  const TemporaryFolder folder;
  const std::string path = folder.file("model.gguf");
  std::filesystem::copy_file(model_path("llama-tied.gguf"), path);
  Command chat({"run", "-m", path, "-n", "4", "--temp", "0", "--ignore-eos"});
  chat.type("hello\n");
  ASSERT_TRUE(chat.wait_for("| answer")) << chat.errors();
  ASSERT_EQ(::truncate(path.c_str(), 8192), 0);
  chat.type("again\n");
  EXPECT_GE(chat.finish(), 0) << chat.errors();
  EXPECT_NE(chat.errors().find(path + ": at byte 8192: the file was cut short"), std::string::npos) << chat.errors();
}

}  // namespace
}  // namespace metallic
