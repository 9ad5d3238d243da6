// Every family's backward is the mirror of its forward: traced on a small model, the ops of the one are those of the other in reverse,
// each with the same target, nothing left out on either side, with all activations kept and with only the layers' inputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "models/forward_testing.h"
#include "models/random_model.h"

namespace umbel {
namespace {

struct Shape {
  const char* name;
  const char* fields;  // of its config.json, beside the sizes
};

constexpr Shape kShapes[] = {
    {"llama", R"("model_type": "llama")"},
    {"llama_tied_biased", R"("model_type": "llama", "tie_word_embeddings": true, "attention_bias": true, "mlp_bias": true)"},
    {"mistral", R"("model_type": "mistral", "sliding_window": 4)"},
    {"qwen2", R"("model_type": "qwen2")"},
    {"qwen3", R"("model_type": "qwen3", "head_dim": 8)"},
    {"gpt2", R"("model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64)"},
    {"gpt_bigcode", R"("model_type": "gpt_bigcode", "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64)"},
    {"gpt_bigcode_heads", R"("model_type": "gpt_bigcode", "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "multi_query": false)"},
    {"gemma", R"("model_type": "gemma", "head_dim": 8)"},
    {"gemma2", R"("model_type": "gemma2", "head_dim": 8)"},
    {"gemma3", R"("model_type": "gemma3_text", "head_dim": 8, "sliding_window": 4, "sliding_window_pattern": 2)"},
    {"phi", R"("model_type": "phi")"},
    {"phi3", R"("model_type": "phi3")"},
    {"starcoder2", R"("model_type": "starcoder2")"},
    {"gpt_neox", R"("model_type": "gpt_neox", "rotary_pct": 0.5)"},
    {"gpt_neox_serial", R"("model_type": "gpt_neox", "use_parallel_residual": false, "rotary_pct": 1.0)"},
    {"granite", R"("model_type": "granite", "residual_multiplier": 0.5)"},
    {"olmo2", R"("model_type": "olmo2")"},
    {"smollm3", R"("model_type": "smollm3", "no_rope_layer_interval": 2)"},
};

class MirrorTest : public ::testing::TestWithParam<Shape> {
 protected:
  static constexpr int64_t kRows = 6;

  MirrorTest() {
    const std::string text = std::string("{") + GetParam().fields + R"(, "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5})";
    const ModelConfig config = parse_model_config(parse_json(text, "test").value()).value();
    model_ = make_random_model(config, 3, {.dtype = "f32", .choice = choice_}).value();
  }

  // One pass forward and back over one sequence of kRows tokens, as if the module `lowest` were trained.
  OpTrace trace(Keep keep, int32_t lowest = 0) const {  // target 0 is the embedding
    const Training& training = *model_->training().value();
    std::vector<int32_t> places(kRows), ends(kRows);
    std::iota(places.begin(), places.end(), 0);
    std::iota(ends.begin(), ends.end(), 1);
    const std::vector<int32_t> begins(kRows, 0), block = {0};
    const std::vector<kernels::AttentionSpan> spans = {{0, kRows, block.data()}};
    const std::vector<Segment> segments = {{0, kRows, nullptr}};
    const Rows rows{.tokens = places, .positions = places, .rope_lengths = ends, .kv_slots = places, .key_begin = begins,
                    .key_end = ends, .spans = spans, .segments = segments};
    KvShape shape = model_->kv_shape();
    shape.layers = 1;
    const KvCache kv(shape, 1);
    std::vector<float> saved(training.saved_floats(kRows, keep));
    std::vector<std::span<const LinearGrads>> gradients(model_->targets().size());
    const std::vector<LinearGrads> wanted(1);  // of the one segment
    gradients[lowest] = wanted;
    OpTrace trace;
    const TrainPass pass{.rows = rows, .kv = kv, .saved = saved, .gradients = gradients, .keep = keep, .trace = &trace};

    ThreadPool pool(1);
    Arena scratch(training.scratch_bytes({.rows = kRows, .span_rows_max = kRows}));
    kernels::Context context{kernels::table_for(choice_.isa), choice_, pool, scratch};
    std::vector<float> x(kRows * model_->config().hidden_size);
    const MatrixF stream(x.data(), kRows, model_->config().hidden_size);
    training.forward_saving(context, pass, stream);
    forward_ops_ = trace.forward.size();
    training.backward(context, pass, stream);  // any gradient will do
    return trace;
  }

  // The modules of a layer, in the order of the network.
  std::vector<int32_t> of_layer(int layer, TargetKind kind) const {
    std::vector<int32_t> found;
    for (int32_t i = 0; i < model_->targets().size(); ++i) {
      const Target& target = model_->targets()[i];
      if (target.kind == kind && target.path.find("." + std::to_string(layer) + ".") != std::string::npos) found.push_back(i);
    }
    return found;
  }
  int32_t first_linear(int layer) const { return of_layer(layer, TargetKind::kLinear).front(); }  // q, or q, k and v in one
  int32_t last_linear(int layer) const { return of_layer(layer, TargetKind::kLinear).back(); }    // the feed-forward's last

  kernels::Choice choice_ = testing::test_choice();
  std::shared_ptr<const Model> model_;
  mutable size_t forward_ops_ = 0;  // without what the mirror computes again
};

TEST_P(MirrorTest, BackwardIsForwardReversed) {
  for (const Keep keep : {Keep::kAll, Keep::kLayerInputs}) {
    OpTrace ran = trace(keep);
    ran.forward.resize(forward_ops_);
    std::reverse(ran.mirror.begin(), ran.mirror.end());
    EXPECT_EQ(ran.mirror.size(), ran.forward.size());
    for (size_t i = 0; i < std::min(ran.mirror.size(), ran.forward.size()); ++i) {
      EXPECT_TRUE(ran.mirror[i] == ran.forward[i])
          << "op " << i << ": forward " << static_cast<int>(ran.forward[i].op) << " at target " << ran.forward[i].target << ", mirror "
          << static_cast<int>(ran.mirror[i].op) << " at " << ran.mirror[i].target;
    }
  }
}

TEST_P(MirrorTest, EveryModuleBelowTheHeadIsPassedOnce) {
  const OpTrace ran = trace(Keep::kAll);
  const Head& head = model_->training().value()->head();
  for (int32_t target = 0; target < model_->targets().size(); ++target) {
    if (target == head.norm.target || target == head.projection) continue;  // their mirror runs with the loss
    const auto here = [target](const TracedOp& op) {
      return op.target == target && (op.op == Op::kEmbedding || op.op == Op::kPositions || op.op == Op::kNorm || op.op == Op::kLinear);
    };
    EXPECT_EQ(std::count_if(ran.mirror.begin(), ran.mirror.end(), here), 1) << model_->targets()[target].path;
  }
}

TEST_P(MirrorTest, LayersBelowTheLowestTrainedOneAreNotWalked) {
  const OpTrace all = trace(Keep::kAll);
  const OpTrace some = trace(Keep::kAll, last_linear(1));
  ASSERT_LT(some.mirror.size(), all.mirror.size());
  size_t seen = 0;  // in the order of the whole mirror
  for (const TracedOp& op : all.mirror) seen += seen < some.mirror.size() && some.mirror[seen] == op ? 1 : 0;
  EXPECT_EQ(seen, some.mirror.size());
  EXPECT_EQ(std::count(some.mirror.begin(), some.mirror.end(), TracedOp{Op::kLinear, last_linear(0)}), 0);
  EXPECT_EQ(std::count(some.mirror.begin(), some.mirror.end(), TracedOp{Op::kLinear, first_linear(1)}), 1);
}

TEST_P(MirrorTest, TheLowestTrainedLayersInputHasNoGradient) {
  if (model_->config().model_type == "olmo2") return;  // it norms no input
  const int32_t norm = of_layer(1, TargetKind::kNorm).front();
  const auto norms = [norm](const OpTrace& trace) { return std::count(trace.mirror.begin(), trace.mirror.end(), TracedOp{Op::kNorm, norm}); };
  EXPECT_EQ(norms(trace(Keep::kAll, first_linear(1))), 0);
  EXPECT_EQ(norms(trace(Keep::kAll, norm)), 1);
  EXPECT_EQ(norms(trace(Keep::kAll, last_linear(0))), 1);
}

INSTANTIATE_TEST_SUITE_P(Families, MirrorTest, ::testing::ValuesIn(kShapes), [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace umbel
