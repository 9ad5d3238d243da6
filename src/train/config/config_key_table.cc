// The table of config_key.h.
#include <utility>

#include "base/threads.h"
#include "train/config/config_key.h"

namespace umbel::train {
namespace {

using V = ConfigValues;
constexpr auto kRun = ConfigSection::kRun;
constexpr auto kJob = ConfigSection::kJob;
constexpr auto kSweep = ConfigSection::kSweep;
constexpr uint8_t kQuiet = 0, kResult = ConfigKey::kResult, kCard = ConfigKey::kCard, kCardIfSet = ConfigKey::kCardIfSet;
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
    {kRun, kQuiet, "base", "", "", "Hugging Face folder of the base model, or \"seedling\"", [](V& v) -> FieldSlot { return PathSlot{.text = &v.run.base, .name_too = true}; }},
    {kRun, kQuiet, "dtype", "", "", "how the base's weights are held; empty = as in the checkpoint", [](V& v) -> FieldSlot { return &v.run.dtype; }},
    {kRun, kQuiet, "out", "", "", "folder of the run: logs, report, checkpoints; with one job also the adapter's folder", [](V& v) -> FieldSlot { return PathSlot{.path = &v.run.out}; }},
    {kRun, kQuiet, "threads", "", "", "compute threads; 0 = all usable CPUs", [](V& v) -> FieldSlot { return &v.run.threads; }, 0, kThreadsMax},
    {kRun, kQuiet, "pass_rows", "", "", "tokens computed at once, by all threads together: more memory, a little faster", [](V& v) -> FieldSlot { return &v.run.pass_rows; }, 16, 1 << 20},
    {kRun, kQuiet, "recompute", "", "", "compute activations again in the backward pass: less memory, more time", [](V& v) -> FieldSlot { return &v.run.recompute; }},

    {kJob, kResult, "name", "", "", "of the adapter; the folder's name when absent", [](V& v) -> FieldSlot { return &v.job.job.name; }},
    {kJob, kQuiet, "out", "", "", "the adapter's folder, or the folder of a sweep's arms; absent: NAME inside the run's folder", [](V& v) -> FieldSlot { return PathSlot{.path = &v.job.out}; }},

    {kJob, kQuiet, "data", "", "", "file of training rows", [](V& v) -> FieldSlot { return PathSlot{.text = &v.job.data}; }},
    {kJob, kQuiet, "eval_data", "", "", "file of held-out rows", [](V& v) -> FieldSlot { return PathSlot{.text = &v.job.eval_data}; }},
    {kJob, kResult, "eval_rows", "", "", "hold out so many rows of data, drawn by a fixed seed, of every answer its share; 0 = none", [](V& v) -> FieldSlot { return &v.job.eval_rows; }, 0, kBig},
    {kJob, kResult | kCardIfSet, "length_max", "max_length", "len", "tokens of a row; a longer one is cut at its end", [](V& v) -> FieldSlot { return &v.job.dataset.length_max; }, 2, 1 << 20},
    {kJob, kResult, "format", "", "", "shape of the rows; auto = by the fields of the first one", [](V& v) -> FieldSlot { return choice(v.job.dataset.format, data::parse_row_format, data::row_format_name); }},
    {kJob, kResult, "template", "", "", "prompt of rows with other fields, as \"Question: {question}\"", [](V& v) -> FieldSlot { return &v.job.dataset.prompt_template; }},
    {kJob, kResult, "completion", "", "", "with template: what is trained behind it, as \" {answer}\"", [](V& v) -> FieldSlot { return &v.job.dataset.completion_template; }},
    {kJob, kResult, "columns", "", "", "names of the columns of a .csv or .tsv file without a header", [](V& v) -> FieldSlot { return &v.job.dataset.columns; }},
    {kJob, kResult | kCardIfSet, "join", "", "", "text rows: joined into windows of length_max tokens", [](V& v) -> FieldSlot { return &v.job.dataset.join; }},
    {kJob, kResult | kCardIfSet, "pack", "", "", "a batch counts rows filled with several examples", [](V& v) -> FieldSlot { return &v.job.dataset.pack; }},

    {kJob, kResult | kCard, "kind", "", "", "what is trained", [](V& v) -> FieldSlot { return choice(v.job.job.kind, parse_train_kind, train_kind_name); }},
    {kJob, kResult, "start_from", "", "", "folder of an adapter of the same kind and shape to go on from", [](V& v) -> FieldSlot { return PathSlot{.text = &v.job.start_from}; }},
    {kJob, kResult | kCard, "rank", "", "r", "inner size of LoRA kinds and of both of LoHa's products (64 at most), rows of MiSS's block, components of FLoRA", [](V& v) -> FieldSlot { return &v.job.job.rank; }},
    {kJob, kResult | kCard, "alpha", "", "a", "LoRA kinds and LoHa: scale = alpha / rank (rsLoRA: / square root of rank)", [](V& v) -> FieldSlot { return &v.job.job.alpha; }},
    {kJob, kResult | kCard, "targets", "", "", "modules by path or its last parts; empty = the kind's usual ones", [](V& v) -> FieldSlot { return &v.job.job.targets; }},
    {kJob, kResult | kCardIfSet, "target_regex", "", "", "modules by a pattern of the whole path, instead of targets", [](V& v) -> FieldSlot { return &v.job.job.target_regex; }},
    {kJob, kResult | kCardIfSet, "all_linear", "", "", "every linear layer except the head, instead of targets", [](V& v) -> FieldSlot { return &v.job.job.all_linear; }},
    {kJob, kResult | kCardIfSet, "exclude", "", "", "modules to leave out", [](V& v) -> FieldSlot { return &v.job.job.exclude; }},
    {kJob, kResult | kCardIfSet, "layers", "", "", "only these layers, counted from 0; empty = all", [](V& v) -> FieldSlot { return &v.job.job.layers; }, 0, kBig},
    {kJob, kResult | kCardIfSet, "feedforward", "", "", "IA3: modules scaled on the input side; empty = the family's (down_proj)", [](V& v) -> FieldSlot { return &v.job.job.feedforward; }},
    {kJob, kResult | kCardIfSet, "rank_pattern", "", "", "rank by pattern of the module's path", [](V& v) -> FieldSlot { return &v.job.job.rank_pattern; }},
    {kJob, kResult | kCardIfSet, "alpha_pattern", "", "", "alpha by pattern of the module's path", [](V& v) -> FieldSlot { return &v.job.job.alpha_pattern; }},
    {kJob, kResult | kCardIfSet, "dropout", "", "do", "of the adapter's input, in training only; LoRA kinds, VeRA and MiSS", [](V& v) -> FieldSlot { return &v.job.job.dropout; }},
    {kJob, kResult | kCardIfSet, "lora_plus_ratio", "", "ratio", "learning rate of B over that of A; 0 = 16 for lora-plus, else 1", [](V& v) -> FieldSlot { return &v.job.job.lora_plus_ratio; }},
    {kJob, kResult | kCardIfSet, "flora_init", "", "init", "how FLoRA's factors start", [](V& v) -> FieldSlot { return choice(v.job.job.flora_init, parse_flora_init, flora_init_name); }},
    {kJob, kResult | kCardIfSet, "flora_init_scale", "", "", "standard deviation of flora_init ones_noise", [](V& v) -> FieldSlot { return &v.job.job.flora_init_scale; }},
    {kJob, kResult | kCardIfSet, "vera_d_initial", "", "", "VeRA: lambda_d at the start", [](V& v) -> FieldSlot { return &v.job.job.vera_d_initial; }},
    {kJob, kResult | kCardIfSet, "vera_projection_key", "", "", "VeRA: seed of the frozen projections; jobs with one key share them", [](V& v) -> FieldSlot { return &v.job.job.vera_projection_key; }},

    {kJob, kResult | kCardIfSet, "init", "", "", "full training: where weights start", [](V& v) -> FieldSlot { return choice(v.job.job.full.init, parse_full_init, full_init_name); }},
    {kJob, kResult | kCardIfSet, "random_std", "", "", "full training: standard deviation of random initial weights", [](V& v) -> FieldSlot { return &v.job.job.full.random_std; }},
    {kJob, kResult | kCardIfSet, "decay_vectors", "", "", "full training: weight decay of norm gains and biases too", [](V& v) -> FieldSlot { return &v.job.job.full.decay_vectors; }},
    {kJob, kResult | kCardIfSet, "save_dtype", "", "", "full training: of the written checkpoint: f32, bf16, f16; empty = what the base is held as", [](V& v) -> FieldSlot { return &v.job.job.full.dtype; }},

    {kJob, kResult | kCard, "learning_rate", "lr", "lr", "peak learning rate; when nobody sets it: 0.3 for ia3, 0.1 for flora and flora-residual, 0.02 for vera and loha, 0.001 for rslora and lora-plus, else this", [](V& v) -> FieldSlot { return &v.job.job.learning_rate; }},
    {kJob, kResult | kCard, "schedule", "", "", "of the learning rate", [](V& v) -> FieldSlot { return choice(v.job.job.schedule, parse_schedule, schedule_name); }},
    {kJob, kResult | kCard, "schedule_floor", "floor", "floor", "share of the peak that linear and cosine end at", [](V& v) -> FieldSlot { return &v.job.job.schedule_floor; }},
    {kJob, kResult | kCard, "warmup_share", "warmup", "warmup", "share of the steps with a rising rate", [](V& v) -> FieldSlot { return &v.job.job.warmup_share; }},
    {kJob, kResult | kCard, "optimizer", "", "", "of the adapter's numbers", [](V& v) -> FieldSlot { return choice(v.job.job.optimizer, parse_optimizer, optimizer_name); }},
    {kJob, kResult | kCardIfSet, "momentum", "", "", "SGD's", [](V& v) -> FieldSlot { return &v.job.job.momentum; }},
    {kJob, kResult | kCardIfSet, "beta1", "", "", "AdamW's first decay", [](V& v) -> FieldSlot { return &v.job.job.beta1; }, 0, 0.999999},
    {kJob, kResult | kCardIfSet, "beta2", "", "", "AdamW's second decay", [](V& v) -> FieldSlot { return &v.job.job.beta2; }, 0, 0.99999999},
    {kJob, kResult | kCardIfSet, "epsilon", "", "", "AdamW's", [](V& v) -> FieldSlot { return &v.job.job.epsilon; }, 0, 1},
    {kJob, kResult | kCard, "weight_decay", "", "wd", "decoupled, per unit of learning rate", [](V& v) -> FieldSlot { return &v.job.job.weight_decay; }},
    {kJob, kResult | kCard, "clip", "", "", "largest norm of the gradient; 0 = off", [](V& v) -> FieldSlot { return &v.job.job.clip; }},
    {kJob, kResult | kCard, "epochs", "", "ep", "times through the data", [](V& v) -> FieldSlot { return &v.job.job.epochs; }, 1, kBig},
    {kJob, kResult | kCard, "batch", "", "b", "rows of one optimizer step", [](V& v) -> FieldSlot { return &v.job.job.batch; }, 1, kBig},
    {kJob, kResult | kCardIfSet, "shuffle", "", "", "rows in a new order every epoch; false = as they stand in the file", [](V& v) -> FieldSlot { return &v.job.job.shuffle; }},
    {kJob, kResult | kCard, "seed", "", "s", "of initial values, row order and dropout", [](V& v) -> FieldSlot { return &v.job.job.seed; }},

    {kJob, kResult, "eval_every", "", "", "steps between evaluations; 0 = at the end of every epoch", [](V& v) -> FieldSlot { return &v.job.life.eval_every; }, 0, kBig},
    {kJob, kResult | kCardIfSet, "patience", "", "", "evaluations without a better one before the job stops; 0 = never", [](V& v) -> FieldSlot { return &v.job.life.patience; }, 0, kBig},
    {kJob, kResult | kCardIfSet, "best_by", "", "", "what makes one evaluation better than another: its loss, or how many rows are right as a whole", [](V& v) -> FieldSlot { return choice(v.job.life.best_by, parse_best_by, best_by_name); }},
    {kJob, kResult, "keep_best", "", "", "write the adapter of the best evaluation, not the last", [](V& v) -> FieldSlot { return &v.job.life.keep_best; }},
    {kJob, kQuiet, "checkpoint_every", "", "", "steps between checkpoints; 0 = at the end of every epoch", [](V& v) -> FieldSlot { return &v.job.life.checkpoint_every; }, 0, kBig},
    {kJob, kResult, "spike", "", "", "a loss above so many times the mean of the last 20 steps is a spike; three in a row fail the job; 0 = off", [](V& v) -> FieldSlot { return &v.job.life.spike; }, 0, kAny},
    {kJob, kResult, "worse_than_base_fails", "", "", "an adapter worse than the base on the eval set is a failure", [](V& v) -> FieldSlot { return &v.job.life.worse_than_base_fails; }},

    {kSweep, kQuiet, "halve_at", "", "", "shares of the steps at which the worse half of the arms stops; [] = never", [](V& v) -> FieldSlot { return &v.sweep.halve_at; }, 0, 1},
    {kSweep, kQuiet, "random", "", "", "draw so many arms instead of taking all; 0 = all", [](V& v) -> FieldSlot { return &v.sweep.random; }, 0, kBig},
    {kSweep, kQuiet, "seed", "", "", "of the draw", [](V& v) -> FieldSlot { return &v.sweep.seed; }},
    {kSweep, kQuiet, "keep", "", "", "winner: the best arm alone is written, under the job's name; all: every arm that did not fail is written, too", [](V& v) -> FieldSlot { return choice(v.sweep.keep, parse_sweep_keep, sweep_keep_name); }},
    {kSweep, kQuiet, "arms_max", "", "", "more arms are refused", [](V& v) -> FieldSlot { return &v.sweep.arms_max; }, 1, 65536},
};

}  // namespace

std::span<const ConfigKey> config_key_table() { return kFields; }

}  // namespace umbel::train
