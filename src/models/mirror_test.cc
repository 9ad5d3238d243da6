// Every family's backward is the mirror of its forward: traced on a small model, the ops of the one are those of the other in reverse,
// each with the same target, nothing left out on either side, with all activations kept and with only the layers' inputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "models/forward_testing.h"
#include "models/random_model.h"

namespace umbel {
namespace {

struct Family {
  const char* name;
  const char* fields;  // of its config.json, beside the sizes
};

constexpr Family kFamilies[] = {
    {"llama", R"("model_type": "llama")"},
    {"llama_tied_biased", R"("model_type": "llama", "tie_word_embeddings": true, "attention_bias": true, "mlp_bias": true)"},
    {"mistral", R"("model_type": "mistral", "sliding_window": 4)"},
    {"qwen2", R"("model_type": "qwen2")"},
    {"qwen3", R"("model_type": "qwen3", "head_dim": 8)"},
};

class MirrorTest : public ::testing::TestWithParam<Family> {
 protected:
  static constexpr int64_t kRows = 6;

  MirrorTest() {
    const std::string text = std::string("{") + GetParam().fields + R"(, "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5})";
    const ModelConfig config = parse_model_config(parse_json(text, "test").value()).value();
    model_ = make_random_model(config, 3, {.dtype = "f32", .choice = choice_}).value();
  }

  // One pass forward and back over one sequence of kRows tokens, as if the module `lowest` were trained.
  OpTrace trace(Keep keep, const std::string& lowest = "model.embed_tokens") const {
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
    gradients[model_->targets().find(lowest)] = wanted;
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
    if (target == head.norm || target == head.projection) continue;  // their mirror is train/loss.cc
    const auto here = [target](const TracedOp& op) {
      return op.target == target && (op.op == Op::kEmbedding || op.op == Op::kNorm || op.op == Op::kLinear);
    };
    EXPECT_EQ(std::count_if(ran.mirror.begin(), ran.mirror.end(), here), 1) << model_->targets()[target].path;
  }
}

TEST_P(MirrorTest, LayersBelowTheLowestTrainedOneAreNotWalked) {
  const OpTrace all = trace(Keep::kAll);
  OpTrace some = trace(Keep::kAll, "model.layers.1.mlp.up_proj");
  ASSERT_LT(some.mirror.size(), all.mirror.size());
  EXPECT_TRUE(std::equal(some.mirror.begin(), some.mirror.end(), all.mirror.begin()));
  const int32_t below = model_->targets().find("model.layers.0.mlp.down_proj");
  const int32_t at = model_->targets().find("model.layers.1.self_attn.q_proj");
  EXPECT_EQ(std::count(some.mirror.begin(), some.mirror.end(), TracedOp{Op::kLinear, below}), 0);
  EXPECT_EQ(std::count(some.mirror.begin(), some.mirror.end(), TracedOp{Op::kLinear, at}), 1);
}

TEST_P(MirrorTest, TheLowestTrainedLayersInputHasNoGradient) {
  const auto norms = [this](const OpTrace& trace) {
    const TracedOp norm{Op::kNorm, model_->targets().find("model.layers.1.input_layernorm")};
    return std::count(trace.mirror.begin(), trace.mirror.end(), norm);
  };
  EXPECT_EQ(norms(trace(Keep::kAll, "model.layers.1.self_attn.q_proj")), 0);
  EXPECT_EQ(norms(trace(Keep::kAll, "model.layers.1.input_layernorm")), 1);
  EXPECT_EQ(norms(trace(Keep::kAll, "model.layers.0.mlp.up_proj")), 1);
}

INSTANTIATE_TEST_SUITE_P(Families, MirrorTest, ::testing::ValuesIn(kFamilies), [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace umbel
