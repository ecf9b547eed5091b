// For tests only: a reader whose results are broken on purpose.
#pragma once

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "memory/file_reader.h"

namespace metallic::testing {

// Breaks some results of another reader.
class FaultyReader final : public FileReader {
 public:
  struct Faults {
    int64_t fail_at = -1;    // this result is an error
    int error = 5;           // EIO
    uint64_t shorten = 0;    // no read gives more bytes than this; 0: no limit
    int interrupt_each = 0;  // every so many results say EINTR
  };
  FaultyReader(std::unique_ptr<FileReader> inner, std::shared_ptr<Faults> faults)
      : inner_(std::move(inner)), faults_(std::move(faults)) {}

  void submit(const ReadRequest& request) override {
    ReadRequest shorter = request;
    if (faults_->shorten > 0) shorter.bytes = std::min(shorter.bytes, faults_->shorten);
    inner_->submit(shorter);
  }
  void start() override { inner_->start(); }
  bool has_result() override { return inner_->has_result(); }
  ReadResult wait() override {
    ReadResult result = inner_->wait();
    if (faults_->fail_at >= 0 && faults_->fail_at-- == 0) result.bytes = -faults_->error;
    if (faults_->interrupt_each > 0 && ++count_ % faults_->interrupt_each == 0) result.bytes = -EINTR;
    return result;
  }
  int outstanding() const override { return inner_->outstanding(); }
  const char* name() const override { return "faulty"; }

 private:
  std::unique_ptr<FileReader> inner_;
  std::shared_ptr<Faults> faults_;
  int count_ = 0;
};

}  // namespace metallic::testing
