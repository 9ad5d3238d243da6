// umbel serve: the engine behind HTTP, until SIGINT or SIGTERM; then running streams finish.
#include <pthread.h>

#include <csignal>
#include <iostream>

#include "apps/exit.h"
#include "apps/verb.h"
#include "apps/workshop.h"
#include "base/log.h"
#include "serve/server.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel serve seedling --adapters assets/adapters
  umbel serve ./Llama-3.2-1B --adapters ./adapters --port 9000 --api-key secret --dtype bf16
  curl http://127.0.0.1:8080/v1/completions -d '{"model": "banking77-lora-r8", "prompt": "..."}'
`model` is an adapter's name; the base's own name means no adapter. New folders in --adapters are picked up by themselves.)";

struct Flags {
  ModelFlags model;
  EngineFlags engine;
  serve::ServeOptions http;
  std::string name;
  std::string generation_config = "auto";
  double drain_s = 30;
};

serve::SamplingDefaults sampling_defaults(const GenerationConfig& config) {
  return {.do_sample = config.do_sample, .temperature = config.temperature, .top_p = config.top_p, .min_p = config.min_p,
          .typical_p = config.typical_p, .repetition_penalty = config.repetition_penalty, .top_k = config.top_k};
}

serve::ServeParts make_parts(const Workshop& shop, const Flags& flags) {
  const BaseModel& base = shop.base;
  serve::ServeParts parts{.engine = shop.engine.get(), .library = shop.library.get(), .tokenizer = base.tokenizer,
                          .chat_template = base.chat_template};
  parts.model = {.name = flags.name.empty() ? base.name : flags.name,
                 .architecture = base.model->config().architecture,
                 .dtype = std::string(base.model->weight_type()),
                 .isa = std::string(kernels::isa_name(base.choice.isa)),
                 .arithmetic = std::string(kernels::arithmetic_name(base.choice.arithmetic)),
                 .parameters = base.model->parameters(),
                 .eos_ids = base.generation.eos_ids};
  if (flags.generation_config == "auto") parts.defaults = sampling_defaults(base.generation);
  return parts;
}

// Blocks SIGINT and SIGTERM in this thread and all that it starts; wait() takes them.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  int wait() {
    int signal = 0;
    sigwait(&set_, &signal);
    return signal;
  }

 private:
  sigset_t set_;
};

Status run_serve(const Flags& flags) {
  Signals signals;
  ASSIGN_OR_RETURN(Workshop shop, open_workshop(flags.model, flags.engine, /*watch=*/true));
  ASSIGN_OR_RETURN(const auto server, serve::Server::start(make_parts(shop, flags), flags.http));
  std::cout << "umbel serves " << (flags.name.empty() ? shop.base.name : flags.name) << " with "
            << shop.library->list().size() << " adapters at http://" << flags.http.host << ":" << server->port() << " ("
            << kernels::isa_name(shop.base.choice.isa) << ", " << kernels::arithmetic_name(shop.base.choice.arithmetic) << ", "
            << shop.base.threads << " threads; " << shop.plan.to_string() << ")" << std::endl;
  signals.wait();
  LOG_INFO("shutting down: running answers have {} s to finish", flags.drain_s);
  server->shutdown(from_seconds(flags.drain_s));
  return ok_status();
}

}  // namespace

void add_serve(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("serve", "serve a base model with many adapters over HTTP");
  flags->model.log_level = "info";
  flags->model.declare(*verb);
  flags->engine.declare(*verb);
  verb->add_option("--host", flags->http.host, "address to listen on")->capture_default_str();
  verb->add_option("--port", flags->http.port, "port (0 = any free one)")->capture_default_str();
  verb->add_option("--name", flags->name, "the base's name for clients (default: the folder's)");
  verb->add_option("--api-key", flags->http.api_key, "clients must send it as a bearer token")->envname("UMBEL_API_KEY");
  verb->add_option("--http-threads", flags->http.http_threads, "threads for HTTP")->check(CLI::Range(1, 256))->capture_default_str();
  verb->add_option("--generation-config", flags->generation_config,
                   "auto: the checkpoint's sampling defaults apply; none: they don't")
      ->check(CLI::IsMember({"auto", "none"}))
      ->capture_default_str();
  verb->add_option("--drain", flags->drain_s, "seconds that running answers may take after SIGINT or SIGTERM")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_serve(*flags)); }; });
}

}  // namespace umbel::apps
