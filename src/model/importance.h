// Importance matrices: how large the inputs of each column of each matrix were on some text. Quantisation makes errors
// small where that is large. Files are GGUF, as llama.cpp's imatrix tool writes them (general.type "imatrix"; for each
// matrix NAME.in_sum2 and NAME.counts), or its older binary .dat.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "metallic/result.h"

namespace metallic {

struct TensorImportance {
  int64_t columns = 0;
  std::vector<float> sums;    // (matrices, columns): sums of squared inputs
  std::vector<float> counts;  // (matrices): rows in each sum

  int64_t matrices() const { return int64_t(counts.size()); }
  // Mean squares, (matrices, columns). A matrix that saw no input has ones.
  std::vector<float> mean_squares() const;
};

struct ImportanceMatrix {
  std::map<std::string, TensorImportance> tensors;  // by the name of the weight
  std::vector<std::string> datasets;                // names of the texts
  uint32_t chunks = 0, chunk_tokens = 0;

  // Either kind of file. kCorrupt names the entry that is no sum of squares: missing halves, wrong sizes, negative or
  // no finite numbers.
  static Result<ImportanceMatrix> read(const std::string& path);
  // As GGUF, or as the older file, which has one count for all experts of a matrix. The file appears complete or not at
  // all.
  Status write(const std::string& path) const;
  Status write_legacy(const std::string& path) const;
};

}  // namespace metallic
