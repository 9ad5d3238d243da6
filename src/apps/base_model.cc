#include "apps/base_model.h"

#include <cstdlib>
#include <system_error>

#include "base/log.h"
#include "base/threads.h"
#include "io/safetensors.h"
#include "io/stray.h"
#include "models/random_model.h"
#include "train/run/run_fields.h"

namespace umbel::apps {

void ModelFlags::declare(CLI::App& verb, const std::string& option) {
  verb.add_option(option, model, "Hugging Face folder of the base model, or \"seedling\"")->capture_default_str();
  verb.add_option("--dtype", dtype, "how weights are stored: auto (as in the checkpoint), f32, bf16, f16; int8, nf4, nf4-dq: linear layers quantised")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16", "int8", "nf4", "nf4-dq"}))
      ->capture_default_str();
  verb.add_option("--isa", isa, "instruction set: auto, generic, avx2, avx512, amx")->capture_default_str();
  verb.add_option("--arithmetic", arithmetic, "arithmetic of 16-bit weights: auto (measured), f32-fma, bf16-dot, amx-bf16")
      ->capture_default_str();
  verb.add_option("--threads", threads, "compute threads (0 = all usable CPUs)")
      ->check(CLI::Range(0, kThreadsMax))
      ->capture_default_str();
  verb.add_option("--log-level", log_level, "trace, debug, info, warn, error, off")->capture_default_str();
}

Result<Path> find_assets() {
  std::error_code error;
  if (const char* env = std::getenv("UMBEL_ASSETS"); env && std::filesystem::is_directory(env, error)) return Path(env);
  const Path program = std::filesystem::read_symlink("/proc/self/exe", error);
  Path folder = program.parent_path();
  for (int level = 0; level < 4 && !folder.empty(); ++level, folder = folder.parent_path()) {
    for (const char* place : {"assets", "share/umbel"}) {
      if (std::filesystem::exists(folder / place / "seedling/config.json", error)) return folder / place;
    }
  }
  return not_found("the folder assets/ that comes with umbel was not found near the program; set UMBEL_ASSETS to it");
}

Result<Path> find_model(const std::string& name) {
  std::error_code error;
  if (std::filesystem::is_directory(name, error)) return hub_snapshot(Path(name));
  if (name == "seedling") {
    ASSIGN_OR_RETURN(const Path assets, find_assets());
    return assets / "seedling";
  }
  return not_found("there is no model folder \"" + name +
                   "\"; give a folder with config.json, tokenizer.json and model.safetensors (models are not downloaded), "
                   "or \"seedling\"");
}

namespace {

std::string folder_name(const Path& dir) {
  std::error_code error;
  const Path full = std::filesystem::canonical(dir, error);
  const Path& path = error ? dir : full;
  if (path.parent_path().filename() != "snapshots") return path.filename().string();
  const std::string cached = path.parent_path().parent_path().filename().string();  // models--ORG--NAME
  const size_t name = cached.rfind("--");
  return name == std::string::npos ? path.filename().string() : cached.substr(name + 2);
}

}  // namespace

Result<BaseModel> open_base_model(const ModelFlags& flags) {
  if (!set_log_level(flags.log_level)) {
    return invalid_argument("--log-level: unknown level \"" + flags.log_level + "\"");
  }
  BaseModel base;
  ASSIGN_OR_RETURN(base.dir, find_model(flags.model));
  base.name = folder_name(base.dir);
  kernels::ChoiceOptions choice{.isa = flags.isa, .arithmetic = flags.arithmetic,
                                .cache_dir = kernels::default_cache_dir()};
  ASSIGN_OR_RETURN(base.choice, kernels::choose(choice));
  base.threads = flags.threads > 0 ? flags.threads : usable_cpus();
  RETURN_IF_ERROR(load_model_config(base.dir).status());  // says what the folder is, where it is no model
  ASSIGN_OR_RETURN(base.tokenizer, Tokenizer::load(base.dir));
  auto chat_template = ChatTemplate::load(base.dir);
  if (chat_template.ok()) {
    base.chat_template = std::move(chat_template).value();
  } else if (chat_template.status().code() != Code::kNotFound) {
    return chat_template.status();
  }
  const ModelOptions options{.dtype = flags.dtype, .choice = base.choice, .threads = base.threads};
  if (flags.random_weights) {
    ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(base.dir));
    ASSIGN_OR_RETURN(base.model, make_random_model(config, 0, options));
  } else {
    ASSIGN_OR_RETURN(base.model, load_model(base.dir, options));
  }
  ASSIGN_OR_RETURN(base.generation, load_generation_config(base.dir, base.model->config()));
  LOG_INFO("{}: {} parameters, weights {}, isa {}, arithmetic {} ({}), {} threads", base.name, base.model->parameters(),
           base.model->weight_type(), kernels::isa_name(base.choice.isa),
           kernels::arithmetic_name(base.model->arithmetic()), base.choice.reason, base.threads);
  return base;
}

Result<std::string> base_fingerprint(const BaseModel& base) {
  ASSIGN_OR_RETURN(const Safetensors weights, Safetensors::open_model(base.dir));
  return train::weights_fingerprint(weights);
}

}  // namespace umbel::apps
