// umbel serve: the engine behind HTTP, until SIGINT, SIGTERM or SIGHUP; then running streams finish.
#include <cstdlib>
#include <iostream>

#include "apps/exit.h"
#include "apps/interrupt.h"
#include "apps/verb.h"
#include "apps/workshop.h"
#include "base/log.h"
#include "base/log_format.h"
#include "serve/keys/key_file.h"
#include "serve/loading.h"
#include "serve/server.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel serve seedling --adapters assets/adapters
  umbel serve ./Llama-3.2-1B --adapters ./adapters --port 9000 --api-key secret --dtype bf16
  umbel serve seedling --adapters assets/adapters --keys keys.json --audit audit.jsonl
  curl http://127.0.0.1:8080/v1/completions -d '{"model": "banking77-lora-r8", "prompt": "..."}'
`model` is an adapter's name; the base's own name means no adapter. New folders in --adapters are picked up by themselves.)";

// What shutting down may take when all answers are finished or cut off.
constexpr double kEndAfterDrainSeconds = 10;

struct Flags {
  ModelFlags model;
  EngineFlags engine;
  serve::ServeOptions http;
  std::string api_key, keys, audit;
  std::vector<std::string> names;
  std::string generation_config = "auto";
  std::string adapter_templates = "own";
  std::string log_format = "text";
  std::string metric_names = "all";
  bool log_utc = false;
  double drain_s = 30;
};

Result<serve::ServeParts> make_parts(const Workshop& shop, const Flags& flags) {
  const BaseModel& base = shop.base;
  serve::ServeParts parts{.engine = shop.engine.get(), .library = shop.library.get(), .tokenizer = base.tokenizer,
                          .chat_template = base.chat_template};
  std::string digest;
  if (!flags.model.random_weights) {
    ASSIGN_OR_RETURN(digest, base_fingerprint(base));
  }
  parts.model = {.name = flags.names.empty() ? base.name : flags.names.front(),
                 .architecture = base.model->config().architecture,
                 .dtype = std::string(base.model->weight_type()),
                 .isa = std::string(kernels::isa_name(base.choice.isa)),
                 .arithmetic = std::string(kernels::arithmetic_name(base.model->arithmetic())),
                 .version = UMBEL_VERSION,
                 .digest = std::move(digest),
                 .parameters = base.model->parameters(),
                 .rows_max = base.model->config().vocab_size + flags.engine.adapter_vocab_extra,
                 .eos_ids = base.generation.eos_ids};
  if (flags.names.size() > 1) parts.model.aliases.assign(flags.names.begin() + 1, flags.names.end());
  std::error_code ignored;
  for (const Path& folder : {Path(flags.engine.adapters), base.dir}) {
    if (folder.empty()) continue;
    // The longer one first: what is left of it is no path.
    parts.hidden_folders.push_back(std::filesystem::weakly_canonical(folder, ignored).string());
    parts.hidden_folders.push_back(folder.string());
  }
  if (flags.adapter_templates == "own") {
    parts.template_workers = TemplateWorkers::create({});
  } else {
    LOG_INFO("adapters' own chat templates are not used: all chats get the base's");
  }
  if (flags.generation_config == "auto") parts.defaults = base.generation;
  return parts;
}

Status run_serve(const Flags& flags) {
  set_log_format({.shape = flags.log_format == "json" ? LogFormat::Shape::kJson : LogFormat::Shape::kText,
                  .zone = flags.log_utc ? LogFormat::Zone::kUtc : LogFormat::Zone::kLocal});
  Interrupt interrupt("");
  if (!flags.http.keys_file.empty()) RETURN_IF_ERROR(serve::read_key_file(flags.http.keys_file).status());  // before the model
  ASSIGN_OR_RETURN(const auto loading, serve::LoadingServer::start(flags.http));
  EngineFlags engine = flags.engine;
  engine.base_names = flags.names;
  ASSIGN_OR_RETURN(Workshop shop, open_workshop(flags.model, engine, /*watch=*/true));
  ASSIGN_OR_RETURN(serve::ServeParts parts, make_parts(shop, flags));
  const std::string name = parts.model.name;
  serve::ServeOptions http = flags.http;
  http.listener = loading->finish();
  if (flags.metric_names == "own") http.metric_names = serve::ServeOptions::MetricNames::kOwn;
  ASSIGN_OR_RETURN(const auto server, serve::Server::start(std::move(parts), std::move(http)));
  std::cout << "umbel serves " << name << " with "
            << shop.library->list().size() << " adapters at " << (flags.http.tls_files.empty() ? "http" : "https") << "://" << flags.http.host << ":" << server->port() << " ("
            << kernels::isa_name(shop.base.choice.isa) << ", " << kernels::arithmetic_name(shop.base.model->arithmetic()) << ", "
            << shop.base.threads << " threads; " << shop.plan.to_string() << ")" << std::endl;
  interrupt.arm();
  interrupt.wait_requested();
  interrupt.end_within(from_seconds(flags.drain_s + kEndAfterDrainSeconds));
  shop.library->stop_reading();
  LOG_WARN("shutting down: running answers have {} s to finish; a second signal ends it at once", flags.drain_s);
  server->shutdown(from_seconds(flags.drain_s));
  return ok_status();
}

void add_log_flags(CLI::App& verb, Flags& flags) {
  verb.add_option("--metrics-names", flags.metric_names, "all: vLLM's and LoRAX's names beside ours; own: ours alone (promtool check metrics is clean)")
      ->check(CLI::IsMember({"all", "own"}))
      ->capture_default_str();
  verb.add_option("--log-format", flags.log_format, "of log lines: text, or json (one object a line)")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  verb.add_flag("--log-utc", flags.log_utc, "times of log lines in UTC");
}

}  // namespace

void add_serve(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("serve", "serve a base model with many adapters over HTTP");
  flags->model.log_level = "info";
  flags->model.declare(*verb);
  flags->engine.declare(*verb);
  flags->engine.declare_caps(*verb);
  flags->engine.keep_versions = 1;
  verb->add_option("--keep-versions", flags->engine.keep_versions,
                   "earlier versions of an adapter that stay in memory: they answer as NAME@VERSION, and a rollback finds them")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  verb->add_option("--host", flags->http.host, "address to listen on")->capture_default_str();
  verb->add_option("--port", flags->http.port, "port (0 = any free one)")->capture_default_str();
  verb->add_option("--name", flags->names, "the base's name for clients (default: the folder's); again for further names")
      ->allow_extra_args(false);
  const CLI::Option* key = verb->add_option("--api-key", flags->api_key, "clients must send it as a bearer token (also UMBEL_API_KEY)");
  verb->add_option("--keys", flags->keys, "file of keys with scopes, adapters and limits (umbel keys); read again when it changes");
  verb->add_option("--audit", flags->audit, "append one JSON line per request to this file");
  verb->add_flag("--audit-prompts", flags->http.audit_prompts, "prompts stand in the audit log")->needs("--audit");
  verb->add_option("--body-bytes-total", flags->http.body_bytes_total, "memory for all request bodies at once; past it they wait, then get 503")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  verb->add_option("--connections", flags->http.connections_max, "connections at once; past it those that wait for their client give way")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb->add_option("--connections-per-address", flags->http.connections_per_address,
                   "of one client address, this machine's own apart (default: half of --connections; 0 = no limit)")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--tls", flags->http.tls_files, "certificate chain and key (PEM files, read again when they change): serve HTTPS")
      ->expected(2)
      ->type_name("CERT KEY");
  verb->add_option("--cors", flags->http.cors, "origins of web pages that may read answers, or * (default: pages of this machine)");
  verb->add_option("--allow-host", flags->http.allowed_hosts, "public names under which a server without a key answers on this machine");
  verb->add_option("--http-threads", flags->http.http_threads, "threads for HTTP")->check(CLI::Range(1, 256))->capture_default_str();
  verb->add_option("--metrics-adapters", flags->http.adapter_labels_max, "adapters with labels of their own in /metrics; the rest is \"other\"")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  verb->add_option("--work-threads", flags->http.work_threads, "threads that read bodies, tokenize and write answers for clients")
      ->check(CLI::Range(2, 256))
      ->capture_default_str();
  verb->add_option("--generation-config", flags->generation_config,
                   "auto: the checkpoint's sampling defaults apply; none: they don't")
      ->check(CLI::IsMember({"auto", "none"}))
      ->capture_default_str();
  verb->add_flag("--show-cached-tokens", flags->http.show_cached_tokens,
                 "usage tells how many prompt tokens came from the prefix cache (and so what others asked before)");
  verb->add_option("--adapter-templates", flags->adapter_templates,
                   "own: an adapter's own chat template is used, rendered in a helper process; off: the base's for all")
      ->check(CLI::IsMember({"own", "off"}))
      ->capture_default_str();
  add_log_flags(*verb, *flags);
  verb->add_option("--drain", flags->drain_s, "seconds that running answers may take after SIGINT, SIGTERM or SIGHUP")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb->footer(kFooter);
  verb->callback([flags, key, &run] {
    // An empty key is a key that was given (and is refused at start), not none.
    const char* from_environment = std::getenv("UMBEL_API_KEY");
    if (key->count() > 0) {
      flags->http.api_key = flags->api_key;
    } else if (from_environment != nullptr) {
      flags->http.api_key = from_environment;
    }
    flags->http.keys_file = flags->keys;
    flags->http.audit_file = flags->audit;
    run = [flags] { return finish(run_serve(*flags)); };
  });
}

}  // namespace umbel::apps
