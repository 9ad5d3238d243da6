// The table of config_key.h.
#include <utility>

#include "base/threads.h"
#include "train/config_key.h"

namespace umbel {
namespace {

using V = ConfigValues;
constexpr auto kRun = ConfigSection::kRun;
constexpr auto kJob = ConfigSection::kJob;
constexpr auto kSweep = ConfigSection::kSweep;
constexpr double kBig = 1 << 30;
constexpr double kAny = std::numeric_limits<double>::infinity();

// An enumeration whose values count from 0 and whose name is "" behind the last one.
template <typename E>
FieldSlot choice(E& value, Result<E> (*parse)(const std::string&), std::string (*name)(E)) {
  ChoiceSlot slot;
  for (int i = 0; !name(static_cast<E>(i)).empty(); ++i) slot.names.push_back(name(static_cast<E>(i)));
  slot.set = [&value, parse](const std::string& word) {
    ASSIGN_OR_RETURN(value, parse(word));
    return ok_status();
  };
  slot.get = [&value, name] { return name(value); };
  return slot;
}

const ConfigKey kFields[] = {
    {kRun, "base", "", "", "Hugging Face folder of the base model, or \"seedling\"", [](V& v) -> FieldSlot { return PathSlot{.text = &v.run.base, .name_too = true}; }},
    {kRun, "dtype", "", "", "how the base's weights are held; empty = as in the checkpoint", [](V& v) -> FieldSlot { return &v.run.dtype; }},
    {kRun, "out", "", "", "folder of the run: logs, report, checkpoints; with one job also the adapter's folder", [](V& v) -> FieldSlot { return PathSlot{.path = &v.run.out}; }},
    {kRun, "threads", "", "", "compute threads; 0 = all usable CPUs", [](V& v) -> FieldSlot { return &v.run.threads; }, 0, kThreadsMax},
    {kRun, "pass_rows", "", "", "tokens computed at once, by all threads together: more memory, a little faster", [](V& v) -> FieldSlot { return &v.run.pass_rows; }, 16, 1 << 20},
    {kRun, "recompute", "", "", "compute activations again in the backward pass: less memory, more time", [](V& v) -> FieldSlot { return &v.run.recompute; }},

    {kJob, "name", "", "", "of the adapter; the folder's name when absent", [](V& v) -> FieldSlot { return &v.job.job.name; }},
    {kJob, "out", "", "", "the adapter's folder, or the folder of a sweep's arms; absent: NAME inside the run's folder", [](V& v) -> FieldSlot { return PathSlot{.path = &v.job.out}; }},

    {kJob, "data", "", "", "file of training rows", [](V& v) -> FieldSlot { return PathSlot{.text = &v.job.data}; }},
    {kJob, "eval_data", "", "", "file of held-out rows", [](V& v) -> FieldSlot { return PathSlot{.text = &v.job.eval_data}; }},
    {kJob, "eval_rows", "", "", "hold out the last rows of data; 0 = none", [](V& v) -> FieldSlot { return &v.job.eval_rows; }, 0, kBig},
    {kJob, "length_max", "max_length", "len", "tokens of a row; a longer one is cut at its end", [](V& v) -> FieldSlot { return &v.job.dataset.length_max; }, 2, 1 << 20},
    {kJob, "format", "", "", "shape of the rows; auto = by the fields of the first one", [](V& v) -> FieldSlot { return choice(v.job.dataset.format, parse_row_format, row_format_name); }},
    {kJob, "template", "", "", "prompt of rows with other fields, as \"Question: {question}\"", [](V& v) -> FieldSlot { return &v.job.dataset.prompt_template; }},
    {kJob, "completion", "", "", "with template: what is trained behind it, as \" {answer}\"", [](V& v) -> FieldSlot { return &v.job.dataset.completion_template; }},
    {kJob, "join", "", "", "text rows: joined into windows of length_max tokens", [](V& v) -> FieldSlot { return &v.job.dataset.join; }},
    {kJob, "pack", "", "", "a batch counts rows filled with several examples", [](V& v) -> FieldSlot { return &v.job.dataset.pack; }},

    {kJob, "kind", "", "", "what is trained", [](V& v) -> FieldSlot { return choice(v.job.job.kind, parse_train_kind, train_kind_name); }},
    {kJob, "start_from", "", "", "folder of an adapter of the same kind and shape to go on from", [](V& v) -> FieldSlot { return PathSlot{.text = &v.job.start_from}; }},
    {kJob, "rank", "", "r", "inner size of LoRA kinds, components of FLoRA", [](V& v) -> FieldSlot { return &v.job.job.rank; }},
    {kJob, "alpha", "", "a", "LoRA kinds: scale = alpha / rank (rsLoRA: / square root of rank)", [](V& v) -> FieldSlot { return &v.job.job.alpha; }},
    {kJob, "targets", "", "", "modules by path or its last parts; empty = the kind's usual ones", [](V& v) -> FieldSlot { return &v.job.job.targets; }},
    {kJob, "target_regex", "", "", "modules by a pattern of the whole path, instead of targets", [](V& v) -> FieldSlot { return &v.job.job.target_regex; }},
    {kJob, "all_linear", "", "", "every linear layer except the head, instead of targets", [](V& v) -> FieldSlot { return &v.job.job.all_linear; }},
    {kJob, "exclude", "", "", "modules to leave out", [](V& v) -> FieldSlot { return &v.job.job.exclude; }},
    {kJob, "layers", "", "", "only these layers, counted from 0; empty = all", [](V& v) -> FieldSlot { return &v.job.job.layers; }, 0, kBig},
    {kJob, "feedforward", "", "", "IA3: modules scaled on the input side; empty = down_proj", [](V& v) -> FieldSlot { return &v.job.job.feedforward; }},
    {kJob, "rank_pattern", "", "", "rank by pattern of the module's path", [](V& v) -> FieldSlot { return &v.job.job.rank_pattern; }},
    {kJob, "alpha_pattern", "", "", "alpha by pattern of the module's path", [](V& v) -> FieldSlot { return &v.job.job.alpha_pattern; }},
    {kJob, "dropout", "", "do", "of the adapter's input, in training only; LoRA kinds and VeRA", [](V& v) -> FieldSlot { return &v.job.job.dropout; }},
    {kJob, "lora_plus_ratio", "", "ratio", "learning rate of B over that of A; 0 = 16 for lora-plus, else 1", [](V& v) -> FieldSlot { return &v.job.job.lora_plus_ratio; }},
    {kJob, "flora_init", "", "init", "how FLoRA's factors start", [](V& v) -> FieldSlot { return choice(v.job.job.flora_init, parse_flora_init, flora_init_name); }},
    {kJob, "flora_init_scale", "", "", "standard deviation of flora_init ones_noise", [](V& v) -> FieldSlot { return &v.job.job.flora_init_scale; }},
    {kJob, "vera_d_initial", "", "", "VeRA: lambda_d at the start", [](V& v) -> FieldSlot { return &v.job.job.vera_d_initial; }},
    {kJob, "vera_projection_key", "", "", "VeRA: seed of the frozen projections; jobs with one key share them", [](V& v) -> FieldSlot { return &v.job.job.vera_projection_key; }},

    {kJob, "init", "", "", "full training: where weights start", [](V& v) -> FieldSlot { return choice(v.job.job.full.init, parse_full_init, full_init_name); }},
    {kJob, "random_std", "", "", "full training: standard deviation of random initial weights", [](V& v) -> FieldSlot { return &v.job.job.full.random_std; }},
    {kJob, "decay_vectors", "", "", "full training: weight decay of norm gains and biases too", [](V& v) -> FieldSlot { return &v.job.job.full.decay_vectors; }},
    {kJob, "save_dtype", "", "", "full training: of the written checkpoint: f32, bf16, f16; empty = what the base is held as", [](V& v) -> FieldSlot { return &v.job.job.full.dtype; }},

    {kJob, "learning_rate", "lr", "lr", "peak learning rate", [](V& v) -> FieldSlot { return &v.job.job.learning_rate; }},
    {kJob, "schedule", "", "", "of the learning rate", [](V& v) -> FieldSlot { return choice(v.job.job.schedule, parse_schedule, schedule_name); }},
    {kJob, "schedule_floor", "floor", "floor", "share of the peak that linear and cosine end at", [](V& v) -> FieldSlot { return &v.job.job.schedule_floor; }},
    {kJob, "warmup_share", "warmup", "warmup", "share of the steps with a rising rate", [](V& v) -> FieldSlot { return &v.job.job.warmup_share; }},
    {kJob, "optimizer", "", "", "of the adapter's numbers", [](V& v) -> FieldSlot { return choice(v.job.job.optimizer, parse_optimizer, optimizer_name); }},
    {kJob, "momentum", "", "", "SGD's", [](V& v) -> FieldSlot { return &v.job.job.momentum; }},
    {kJob, "beta1", "", "", "AdamW's first decay", [](V& v) -> FieldSlot { return &v.job.job.beta1; }, 0, 0.999999},
    {kJob, "beta2", "", "", "AdamW's second decay", [](V& v) -> FieldSlot { return &v.job.job.beta2; }, 0, 0.99999999},
    {kJob, "epsilon", "", "", "AdamW's", [](V& v) -> FieldSlot { return &v.job.job.epsilon; }, 0, 1},
    {kJob, "weight_decay", "", "wd", "decoupled, per unit of learning rate", [](V& v) -> FieldSlot { return &v.job.job.weight_decay; }},
    {kJob, "clip", "", "", "largest norm of the gradient; 0 = off", [](V& v) -> FieldSlot { return &v.job.job.clip; }},
    {kJob, "epochs", "", "ep", "times through the data", [](V& v) -> FieldSlot { return &v.job.job.epochs; }, 1, kBig},
    {kJob, "batch", "", "b", "rows of one optimizer step", [](V& v) -> FieldSlot { return &v.job.job.batch; }, 1, kBig},
    {kJob, "shuffle", "", "", "rows in a new order every epoch; false = as they stand in the file", [](V& v) -> FieldSlot { return &v.job.job.shuffle; }},
    {kJob, "seed", "", "s", "of initial values, row order and dropout", [](V& v) -> FieldSlot { return &v.job.job.seed; }},

    {kJob, "eval_every", "", "", "steps between evaluations; 0 = at the end of every epoch", [](V& v) -> FieldSlot { return &v.job.life.eval_every; }, 0, kBig},
    {kJob, "patience", "", "", "evaluations without a better loss before the job stops; 0 = never", [](V& v) -> FieldSlot { return &v.job.life.patience; }, 0, kBig},
    {kJob, "keep_best", "", "", "write the adapter of the best evaluation, not the last", [](V& v) -> FieldSlot { return &v.job.life.keep_best; }},
    {kJob, "checkpoint_every", "", "", "steps between checkpoints; 0 = at the end of every epoch", [](V& v) -> FieldSlot { return &v.job.life.checkpoint_every; }, 0, kBig},
    {kJob, "spike", "", "", "a loss above so many times the mean of the last 20 steps is a spike; three in a row fail the job; 0 = off", [](V& v) -> FieldSlot { return &v.job.life.spike; }, 0, kAny},
    {kJob, "worse_than_base_fails", "", "", "an adapter worse than the base on the eval set is a failure", [](V& v) -> FieldSlot { return &v.job.life.worse_than_base_fails; }},

    {kSweep, "halve_at", "", "", "shares of the steps at which the worse half of the arms stops; [] = never", [](V& v) -> FieldSlot { return &v.sweep.halve_at; }, 0, 1},
    {kSweep, "random", "", "", "draw so many arms instead of taking all; 0 = all", [](V& v) -> FieldSlot { return &v.sweep.random; }, 0, kBig},
    {kSweep, "seed", "", "", "of the draw", [](V& v) -> FieldSlot { return &v.sweep.seed; }},
    {kSweep, "arms_max", "", "", "more arms are refused", [](V& v) -> FieldSlot { return &v.sweep.arms_max; }, 1, 65536},
};

}  // namespace

std::span<const ConfigKey> config_key_table() { return kFields; }

}  // namespace umbel
