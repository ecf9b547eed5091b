#include "base/processors.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace metallic {
namespace {

namespace fs = std::filesystem;

class Processors : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(root_); }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text << "\n";
  }
  int cores() const { return available_cores(root_.string(), (root_ / "cgroup").string()); }

  const fs::path root_ = fs::temp_directory_path() / ("metallic-processors-" + std::to_string(::getpid()));
};

TEST_F(Processors, WithoutADescriptionEachIsACore) { EXPECT_EQ(cores(), available_processors()); }

TEST_F(Processors, SiblingsOfOneCoreCountOnce) {
  for (int i = 0; i < CPU_SETSIZE; ++i) write("cpu" + std::to_string(i) + "/topology/thread_siblings_list", "0-1023");
  EXPECT_EQ(cores(), 1);
}

TEST_F(Processors, AContainersTimeIsTheMost) {
  write("cgroup/cpu.max", "50000 100000");
  EXPECT_EQ(cores(), 1);
  write("cgroup/cpu.max", "100000000 100000");
  EXPECT_EQ(cores(), available_processors());
}

TEST_F(Processors, WhatIsNoLimitIsNone) {
  for (const char* text : {"max 100000", "", "0 100000", "-5 100000", "100000 0", "garbage"}) {
    write("cgroup/cpu.max", text);
    EXPECT_EQ(cores(), available_processors()) << text;
  }
}

}  // namespace
}  // namespace metallic
