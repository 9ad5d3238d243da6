// Builder: what all kinds need while an adapter is built: its fields, its tensors (each used once, shape and values
// checked), the selected modules, biases and modules saved whole. Private to adapters/; one thread, one adapter.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/kind_tensors.h"
#include "adapters/registry.h"
#include "adapters/tensor_names.h"
#include "adapters/vocabulary.h"
#include "tensor/transpose.h"

namespace umbel {

class Builder {
 public:
  Builder(const AdapterSource& source, const TargetTable& targets, const BuildOptions& options, int64_t rank_default);

  const AdapterSpec& spec() const { return source_.spec; }
  // The base's targets; of an adapter with a resized vocabulary, its own embedding and head are among them.
  const TargetTable& targets() const { return targets_; }
  const BuildOptions& options() const { return options_; }
  Fields& fields() { return fields_; }
  Adapter& adapter() { return *adapter_; }
  void warn(std::string text) { adapter_->edit_report().warnings.push_back(std::move(text)); }

  // The targets that the spec selects, ascending. Refuses fields that the kind has not read (so read them all before),
  // and kinds of modules that can't carry terms.
  Result<std::vector<int32_t>> select(bool embeddings_allowed);
  // First target of this kind, or -1.
  int32_t find_kind(TargetKind kind) const;
  // r at this module, at least 1; what it is served as (served_rank.h) is at most options.rank_max.
  Result<int64_t> rank_at(const Target& target) const;
  // r, without rank_pattern.
  int64_t rank_plain() const { return spec().rank.value_or(rank_default_); }

  // The target's path as the adapter's own files say it: what patterns of its configuration speak about.
  const std::string& own_path(const Target& target) const;
  static std::string tensor_name(const Target& target, std::string_view suffix) {
    return umbel::tensor_name(target.path, suffix);
  }
  bool has(const std::string& name) const { return source_.tensors.contains(name); }
  // The tensor in f32; it counts as used. Missing, of another shape or type, or not finite: named.
  Result<Tensor> take(const std::string& name, const Shape& shape);
  Result<Tensor> take(const Target& target, std::string_view suffix, const Shape& shape) {
    return take(tensor_name(target, suffix), shape);
  }
  // A kind's own tensor at this module, of the shape that its declaration says.
  Result<Tensor> take(const Target& target, const KindTensor& tensor, int64_t rank) {
    return take(tensor_name(target, tensor.suffix), file_shape(tensor, target, rank));
  }
  // The tensor as stored, unchecked; null when absent. It counts as used.
  const TensorView* take_view(const std::string& name);

  // The module's trained bias, else null. From the file when spec.bias asks for it.
  const float* own_bias(int32_t target) const;
  // The module's bias as it will be: trained, else the base's, else null.
  const float* bias_of(int32_t target) const;
  // Packs a weight that replaces the target's, in the target's own type and arithmetic, and keeps it.
  const kernels::FrozenMatrix* own_weight(const Target& target, const Tensor& weight);
  // Keeps a in factor_dtype [rank, in] and b transposed, and makes the term.
  LowRankTerm low_rank(const Tensor& a, const Tensor& b, float scale);
  LowRankTerm low_rank_turned(const Tensor& a, const Tensor& b_t, float scale);  // b_t: [rank, out]
  // The linear terms of a target that was not built yet; kInvalidArgument when it is saved whole.
  Result<LinearTerms*> add_linear(int32_t target);
  // Also saves this target whole, whatever modules_to_save says (tied weights).
  void save_also(int32_t target) { saved_.insert(target); }
  bool is_saved(int32_t target) const { return saved_.contains(target); }

  // The steps around a kind's own work, in this order.
  Status read_vocabulary();
  Status read_biases();
  Status finish(std::string_view kind);

  // Hands the finished adapter over.
  std::shared_ptr<const Adapter> release() { return std::move(adapter_); }

 private:
  Result<bool> selects(const Target& target) const;
  Status read_bias(int32_t index);
  Status save_module(int32_t index);
  Status take_tables(const ResizedVocabulary& vocabulary);
  Status check_terms() const;
  Status check_base_copy(int32_t index);
  Status check_copied_rows(int32_t index, const std::string& name);
  Status check_copied_vector(int32_t index, const std::string& name);
  std::string in_file(const std::string& name) const;
  Status missing_tensor(const std::string& name) const;
  Status finish_biases();
  Status finish_tensors() const;

  const AdapterSource& source_;
  TargetTable targets_;
  const BuildOptions& options_;
  int64_t rank_default_;
  Fields fields_;
  std::shared_ptr<Adapter> adapter_;
  std::set<std::string> used_;
  std::string looked_for_;  // the first name that a kind wanted
  std::set<int32_t> saved_;
  std::set<int32_t> resized_;  // embedding and head that the adapter brings, read before everything else
  std::vector<const float*> biases_;
};

}  // namespace umbel
