#include "train/kinds/base_checkpoint.h"

#include <system_error>
#include <vector>

#include "io/json.h"
#include "io/safetensors.h"

namespace umbel::train {
namespace {

// What transformers keeps beside the weights; each is copied where the base has it.
constexpr const char* kCompanions[] = {"generation_config.json", "tokenizer.json",      "tokenizer_config.json",
                                       "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
                                       "vocab.json",             "merges.txt",          "chat_template.jinja",
                                       "chat_template.json"};

const char* torch_name(DType dtype) {
  if (dtype == DType::kBF16) return "bfloat16";
  return dtype == DType::kF16 ? "float16" : "float32";
}

Status copy_companions(const Path& from, const Path& to) {
  for (const char* name : kCompanions) {
    std::error_code error;
    if (!std::filesystem::exists(from / name, error)) continue;
    ASSIGN_OR_RETURN(const std::string bytes, read_file(from / name));
    RETURN_IF_ERROR(write_file_atomic(to / name, bytes));
  }
  return ok_status();
}

// Old files that would be read in place of the new ones: shards and their index, the completeness mark.
Status remove_old(const Path& dir) {
  for (const char* name : {"config.json", "model.safetensors.index.json"}) {
    std::error_code error;
    std::filesystem::remove(dir / name, error);
    if (error) return failed_precondition("cannot replace " + (dir / name).string() + ": " + error.message());
  }
  return ok_status();
}

}  // namespace

Status write_base_checkpoint(const Path& dir, const BaseCheckpoint& checkpoint, const std::map<std::string, TensorView>& tensors) {
  std::error_code error;
  if (std::filesystem::equivalent(dir, checkpoint.base_dir, error)) {
    return failed_precondition(dir.string() + " is the base that training started from; write the trained model into a folder of its own");
  }
  ASSIGN_OR_RETURN(Json config, read_json(checkpoint.base_dir / "config.json"));
  config.erase("torch_dtype");  // the old name of dtype
  config["dtype"] = torch_name(checkpoint.dtype);
  config.erase("quantization_config");
  std::filesystem::create_directories(dir, error);
  if (error) return failed_precondition("cannot make the folder " + dir.string() + ": " + error.message());
  RETURN_IF_ERROR(remove_old(dir));
  std::map<std::string, TensorView> views = tensors;
  std::vector<Tensor> narrow;
  narrow.reserve(tensors.size());
  for (auto& [name, view] : views) {
    if (view.dtype != checkpoint.dtype) view = narrow.emplace_back(Tensor::converted(view, checkpoint.dtype)).view();
  }
  RETURN_IF_ERROR(write_safetensors(dir / "model.safetensors", views));
  RETURN_IF_ERROR(copy_companions(checkpoint.base_dir, dir));
  return write_file_atomic(dir / "config.json", config.dump(2) + "\n");
}

}  // namespace umbel::train
