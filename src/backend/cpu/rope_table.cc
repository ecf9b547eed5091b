#include "backend/cpu/rope_table.h"

#include <algorithm>
#include <cmath>

namespace metallic::cpu {

const RopeTable& RopeTables::get(std::span<const int32_t> positions, std::span<const float> frequencies,
                                 float magnitude) {
  for (const RopeTable& table : tables_)
    if (table.magnitude == magnitude && std::ranges::equal(table.positions, positions) &&
        std::ranges::equal(table.frequencies, frequencies))
      return table;
  RopeTable& table = tables_[next_];
  next_ = (next_ + 1) % tables_.size();
  table.positions.assign(positions.begin(), positions.end());
  table.frequencies.assign(frequencies.begin(), frequencies.end());
  table.magnitude = magnitude;
  table.cosines.resize(positions.size() * frequencies.size());
  table.sines.resize(table.cosines.size());
  size_t at = 0;
  for (const int32_t position : positions)
    for (const float frequency : frequencies) {
      // The angle is rounded to float, as the models were trained; its sine and cosine are not.
      const double angle = double(float(position) * frequency);
      table.cosines[at] = float(std::cos(angle) * double(magnitude));
      table.sines[at++] = float(std::sin(angle) * double(magnitude));
    }
  return table;
}

}  // namespace metallic::cpu
