// The fields of the FLORA and HIRA types, read once for everybody who needs them. Private to adapters/.
#pragma once

#include "adapters/kind_tensors.h"
#include "adapters/spec.h"

namespace umbel {

struct HadamardFields {
  const HadamardTensors* tensors = &kFloraTensors;
  bool residual = false;
  bool scale_bias = false;
  bool store_offset = false;  // tensors hold value - 1
  bool missing_is_ones = false;
  bool rank_of_file = false;  // the file's rank counts where it is r and rank_pattern says another (flora.cc)
  bool mean = false;          // without alpha: s = 1/r, else 1
  bool has_alpha = false;
  double alpha = 0;
};

Result<HadamardFields> read_flora_fields(Fields& fields);
HadamardFields read_hira_fields(Fields& fields);

// s of a module of this rank, after alpha_pattern.
Result<float> hadamard_scale(const AdapterSpec& spec, const HadamardFields& fields, std::string_view path, int64_t rank);

}  // namespace umbel
