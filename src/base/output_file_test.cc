// OutputFile: whole or not at all.
#include "base/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/mapped_file.h"
#include "base/read_files.h"

namespace metallic {
namespace {

namespace fs = std::filesystem;

class OutputFileTest : public testing::Test {
 protected:
  OutputFileTest() {
    std::string pattern = (fs::temp_directory_path() / "metallic_output_XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data()) != nullptr ? pattern : std::string();
  }
  ~OutputFileTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  static Status write_text(OutputFile& file, std::string_view text) {
    return file.write(std::as_bytes(std::span(text)));
  }
  static std::string read_text(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t files() const { return size_t(std::distance(fs::directory_iterator(folder_), fs::directory_iterator())); }

  fs::path folder_;
};

TEST_F(OutputFileTest, AppearsWholeAtCommitAndReplacesWhatWasThere) {
  const fs::path path = folder_ / "f";
  std::ofstream(path) << "old";
  auto file = OutputFile::create(path, 100);
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_TRUE(write_text(*file, "new "));
  ASSERT_TRUE(write_text(*file, "text"));
  EXPECT_EQ(read_text(path), "old");
  ASSERT_TRUE(file->commit());
  EXPECT_EQ(read_text(path), "new text");
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputFileTest, OfACommandIsNotWrittenOverWhatItHasRead) {
  const fs::path path = folder_ / "f", link = folder_ / "link", hard = folder_ / "hard";
  std::ofstream(path) << "precious";
  fs::create_symlink(path, link);
  fs::create_hard_link(path, hard);
  {
    const KeepReadFiles kept;
    EXPECT_TRUE(OutputFile::create(path));  // not read yet
    EXPECT_TRUE(MappedFile::open(hard));    // and closed again
    for (const fs::path& name : {path, link, hard}) {
      const auto file = OutputFile::create(name);
      ASSERT_FALSE(file);
      EXPECT_EQ(file.error().code, ErrorCode::kInvalidArgument);
      EXPECT_NE(file.error().message.find("would be lost"), std::string::npos) << file.error().message;
    }
    EXPECT_TRUE(OutputFile::create(folder_ / "other"));
  }
  EXPECT_EQ(read_text(path), "precious");
  const auto read = MappedFile::open(path);
  EXPECT_TRUE(OutputFile::create(path)) << "a program that embeds the engine may replace what it has open";
}

TEST_F(OutputFileTest, WithoutCommitNothingRemains) {
  {
    auto file = OutputFile::create(folder_ / "f");
    ASSERT_TRUE(file);
    ASSERT_TRUE(write_text(*file, "text"));
    EXPECT_LE(files(), 1u);  // none where the file system has files without a name
    const OutputFile moved = std::move(*file);
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(OutputFileTest, AProcessThatIsKilledLeavesNothingUnderTheName) {
  const fs::path path = folder_ / "f";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto file = OutputFile::create(path);
    if (!file || !write_text(*file, "half")) ::_exit(1);
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(fs::exists(path));
  const int unnamed = ::open(folder_.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (unnamed < 0) return;  // this file system has no files without a name
  ::close(unnamed);
  EXPECT_EQ(files(), 0u);
}

TEST_F(OutputFileTest, ALinkKeepsPointingWhereItDid) {
  fs::create_directory(folder_ / "disk");
  std::ofstream(folder_ / "disk" / "target") << "old";
  fs::create_symlink(folder_ / "disk" / "target", folder_ / "link");
  auto file = OutputFile::create(folder_ / "link");
  ASSERT_TRUE(file);
  ASSERT_TRUE(write_text(*file, "new"));
  ASSERT_TRUE(file->commit());
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(read_text(folder_ / "disk" / "target"), "new");
}

TEST_F(OutputFileTest, DirectoriesAndMissingFoldersAreRefusedAtOnce) {
  EXPECT_EQ(OutputFile::create(folder_).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(OutputFile::create(folder_ / "absent" / "f").error().code, ErrorCode::kNotFound);
}

TEST_F(OutputFileTest, ADeviceIsWrittenDirectly) {
  auto file = OutputFile::create("/dev/null", 100);
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_TRUE(write_text(*file, "text"));
  EXPECT_TRUE(file->commit());
  auto full = OutputFile::create("/dev/full");
  ASSERT_TRUE(full);
  EXPECT_EQ(write_text(*full, "text").error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace metallic
