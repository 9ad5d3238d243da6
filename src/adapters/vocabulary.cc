#include "adapters/vocabulary.h"

#include <optional>

#include "adapters/kind_tensors.h"
#include "adapters/tensor_names.h"

namespace umbel {
namespace {

// Where a module's whole table may stand: saved whole, or the resized base's own beside other terms.
constexpr const char* kTables[] = {"weight", "base_layer.weight", "token_adapter.base_layer.weight"};

struct Hint {
  std::string name;  // as the file has it
  int64_t rows = 0;
};

class Search {
 public:
  Search(const AdapterSource& source, const TargetTable& targets) : source_(source), targets_(targets) {}

  // Extent `dimension` of a matrix of this name whose other extent is `other` (0: any).
  std::optional<Hint> rows_of(const std::string& path, std::string_view suffix, int dimension, int64_t other) const {
    const auto found = source_.tensors.find(tensor_name(path, suffix));
    if (found == source_.tensors.end() || found->second.shape.size() != 2) return {};
    const Shape& shape = found->second.shape;
    if (other != 0 && shape[1 - dimension] != other) return {};
    const auto spelled = source_.spelled.find(found->first);
    return Hint{spelled == source_.spelled.end() ? found->first : spelled->second, shape[dimension]};
  }

  // The first of kTables that the file has, and how many rows.
  std::optional<Hint> table_of(int32_t index, std::string& name) const {
    const Target& target = targets_[index];
    const int64_t dim = target.kind == TargetKind::kEmbedding ? target.out : target.in;
    for (const char* suffix : kTables) {
      const std::optional<Hint> hint = rows_of(target.path, suffix, 0, dim);
      if (!hint) continue;
      name = tensor_name(target.path, suffix);
      return hint;
    }
    return {};
  }

  // A factor whose rows or columns are tokens.
  std::optional<Hint> factor_of(int32_t index) const {
    const bool embedding = targets_[index].kind == TargetKind::kEmbedding;
    const Extent tokens = embedding ? Extent::kIn : Extent::kOut;
    for (const KindTensor& tensor : kind_tensors()) {
      const bool has_tokens = tensor.rows == tokens || tensor.cols == tokens;
      if (tensor.embedding != embedding || tensor.cols == Extent::kNone || !has_tokens) continue;
      if (const auto hint = rows_of(targets_[index].path, tensor.suffix, tensor.rows == tokens ? 0 : 1, tensor.cols == Extent::kOne ? 1 : 0)) return hint;
    }
    return {};
  }

 private:
  const AdapterSource& source_;
  const TargetTable& targets_;
};

Status resized(const Hint& hint, int64_t vocab, const std::string& what) {
  return failed_precondition("adapter_model.safetensors: " + hint.name + " has the rows of " + std::to_string(hint.rows) +
                             " tokens, the base has " + std::to_string(vocab) +
                             ": the adapter was made with a resized vocabulary, and " + what);
}

}  // namespace

int32_t find_target(const TargetTable& targets, TargetKind kind) {
  for (int32_t index = 0; index < targets.size(); ++index) {
    if (targets[index].kind == kind) return index;
  }
  return -1;
}

Result<ResizedVocabulary> find_resized_vocabulary(const AdapterSource& source, const TargetTable& targets) {
  ResizedVocabulary made;
  const int32_t embedding = find_target(targets, TargetKind::kEmbedding), head = find_target(targets, TargetKind::kHead);
  if (embedding < 0 || head < 0) return made;
  const int64_t vocab = targets[embedding].in;
  const Search search(source, targets);
  const std::optional<Hint> table = search.table_of(embedding, made.embedding), projection = search.table_of(head, made.head);
  std::optional<Hint> first;
  for (const auto& hint : {table, projection, search.factor_of(embedding), search.factor_of(head)}) {
    if (hint && !first && hint->rows != vocab && hint->rows > 0) first = hint;
  }
  if (!first) return ResizedVocabulary{};
  for (const auto& hint : {table, projection, search.factor_of(embedding), search.factor_of(head)}) {
    if (hint && hint->rows != first->rows) {
      return resized(*first, vocab, hint->name + " has " + std::to_string(hint->rows) + "; the two must be of one size");
    }
  }
  const bool tied = targets[embedding].tied && targets[head].tied;
  if ((!table && !projection) || (!tied && (!table || !projection))) {
    const std::string& lacking = table ? targets[head].path : targets[embedding].path;
    return resized(*first, vocab,
                   "the file has no " + lacking +
                       ".weight of that size; save it again with both tables in it (modules_to_save: embed_tokens and lm_head, or "
                       "save_pretrained with save_embedding_layers=True)");
  }
  made.rows = first->rows;
  return made;
}

}  // namespace umbel
