#include "store/gguf_lora.h"

#include <algorithm>
#include <cstring>

#include "io/gguf.h"
#include "store/peft_files.h"

namespace umbel {
namespace {

// A module's name in llama.cpp, and what the base says of its size.
struct GgufName {
  std::string name;
  int64_t in = 0, out = 0;
  int64_t reordered_heads = 0;  // of q and k; 0: rows stay
};

struct LayerPart {
  std::string_view suffix;
  const char* name;
};

constexpr LayerPart kLayerParts[] = {
    {"self_attn.q_proj", "attn_q"},   {"self_attn.k_proj", "attn_k"}, {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"}, {"mlp.up_proj", "ffn_up"},   {"mlp.down_proj", "ffn_down"},
};

// Sizes of a layer's part, in the order of kLayerParts.
void fill_sizes(size_t part, const GgufBase& base, GgufName& made) {
  const int64_t q = base.heads * base.head_dim, kv = base.kv_heads * base.head_dim;
  const std::pair<int64_t, int64_t> sizes[] = {{base.hidden, q}, {base.hidden, kv}, {base.hidden, kv}, {q, base.hidden},
                                               {base.hidden, base.ffn}, {base.hidden, base.ffn}, {base.ffn, base.hidden}};
  made.in = sizes[part].first;
  made.out = sizes[part].second;
  if (base.pairs_reordered && part < 2) made.reordered_heads = part == 0 ? base.heads : base.kv_heads;
}

Result<GgufName> find_name(const std::string& path, const GgufBase& base) {
  if (path == "model.embed_tokens") return GgufName{.name = "token_embd.weight", .in = base.vocab, .out = base.hidden};
  if (path == "lm_head") {
    if (base.tied) return unsupported("lm_head: the base ties its head to the embedding, and llama.cpp has no tensor of that name then");
    return GgufName{.name = "output.weight", .in = base.hidden, .out = base.vocab};
  }
  constexpr std::string_view kLayers = "model.layers.";
  const size_t dot = path.find('.', kLayers.size());
  if (path.starts_with(kLayers) && dot != std::string::npos) {
    const std::string layer = path.substr(kLayers.size(), dot - kLayers.size());
    const bool digits = !layer.empty() && std::all_of(layer.begin(), layer.end(), [](char c) { return c >= '0' && c <= '9'; });
    for (size_t part = 0; digits && part < std::size(kLayerParts); ++part) {
      if (std::string_view(path).substr(dot + 1) != kLayerParts[part].suffix) continue;
      GgufName made{.name = "blk." + layer + "." + kLayerParts[part].name + ".weight"};
      fill_sizes(part, base, made);
      return made;
    }
  }
  return unsupported(path + ": llama.cpp applies no LoRA to a module of this name");
}

// Row t * dim/2 + j of every head, for t = 0, 1, becomes row 2 j + t.
void reorder_pairs(Tensor& b, int64_t heads) {
  const int64_t rank = b.shape()[1], dim = b.shape()[0] / heads;
  Tensor made(DType::kF32, b.shape());
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t t = 0; t < 2; ++t) {
      for (int64_t j = 0; j < dim / 2; ++j) {
        std::copy_n(b.f32() + (head * dim + t * (dim / 2) + j) * rank, rank, made.f32() + (head * dim + 2 * j + t) * rank);
      }
    }
  }
  b = std::move(made);
}

Tensor transposed_matrix(const Tensor& from) {
  const int64_t rows = from.shape()[0], cols = from.shape()[1];
  Tensor made(DType::kF32, {cols, rows});
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; ++col) made.f32()[col * rows + row] = from.f32()[row * cols + col];
  }
  return made;
}

}  // namespace

Result<GgufLora> to_gguf_lora(const LoraModules& modules, const GgufBase& base) {
  GgufLora lora;
  for (const auto& [path, module] : modules) {
    ASSIGN_OR_RETURN(const GgufName found, find_name(path, base));
    if (module.in() != found.in || module.out() != found.out) {
      return failed_precondition(path + " goes from " + std::to_string(module.in()) + " to " + std::to_string(module.out()) +
                                 ", the base's from " + std::to_string(found.in) + " to " + std::to_string(found.out) +
                                 "; is the adapter made for another base model?");
    }
    const auto rank = static_cast<float>(module.rank());
    if (lora.alpha == 0) lora.alpha = module.scale * rank;
    if (lora.alpha == 0) lora.alpha = rank;  // llama.cpp takes 0 for "no alpha"
    const float factor = module.scale / (lora.alpha / rank);
    Tensor b = Tensor::widened(module.b.view());
    for (int64_t i = 0; i < b.elements() && factor != 1.0f; ++i) b.f32()[i] *= factor;
    if (found.reordered_heads > 0) reorder_pairs(b, found.reordered_heads);
    lora.tensors[found.name + ".lora_a"] = module.embedding ? transposed_matrix(module.a) : Tensor::widened(module.a.view());
    lora.tensors[found.name + ".lora_b"] = std::move(b);
  }
  return lora;
}

Status write_gguf_lora(const Path& file, const GgufLora& lora, const GgufBase& base, const std::string& name, DType dtype) {
  std::map<std::string, Tensor> rounded;
  std::map<std::string, TensorView> views;
  for (const auto& [tensor_name, tensor] : lora.tensors) {
    ASSIGN_OR_RETURN(rounded[tensor_name], rounded_tensor(tensor_name, tensor.view(), dtype));
    views[tensor_name] = rounded[tensor_name].view();
  }
  return write_gguf(file,
                    {{"general.architecture", base.architecture},
                     {"general.type", std::string("adapter")},
                     {"general.name", name},
                     {"adapter.type", std::string("lora")},
                     {"adapter.lora.alpha", lora.alpha}},
                    views);
}

}  // namespace umbel
