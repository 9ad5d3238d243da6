// Converting an adapter folder into another kind, only where the two compute the same: rounding of a product of f32
// numbers aside, nothing is approximated.
//
//   lora <-> rslora             alpha changes, tensors stay
//   ia3 -> flora                rank 1, the vector is one factor, ones the other; scale_bias, as IA3 scales the bias
//   flora -> ia3                the reverse, where it is of rank 1, s = 1, and one factor of each module is all ones
//   flora <-> flora-residual    one rank more: a component of ones, added or taken away
//   flora, flora-residual -> hira -> flora-residual    PEFT's name for the residual form with s = 1
//   vera, loha, miss -> lora    with the base: vectors, products and sums multiplied out, r * r ranks for a LoHa's r
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "adapters/adapter.h"
#include "store/peft_files.h"

namespace umbel {

// "lora", "rslora", "dora", "ia3", "vera", "flora", "flora-residual", "hira", "loha", "miss"; "" for a type that is not known.
std::string adapter_kind(const Json& config);

struct ConvertInput {
  const OrderedJson& config;
  const AdapterSource& source;
  // Of the base and the adapter built on it; null where no base was given (some conversions then ask for it).
  const TargetTable* targets = nullptr;
  const Adapter* built = nullptr;
};

// to: a kind; the same kind keeps it (for another type). dtype: of all float tensors; none: tensors that stay keep theirs,
// computed ones are f32. kUnsupported, with why, for a pair that has no exact conversion.
Result<PeftFiles> convert_adapter(const ConvertInput& input, std::string_view to, std::optional<DType> dtype);

}  // namespace umbel
