// umbel: one program, many verbs. The only place where the rooms are introduced to each other is this folder.
#include <csignal>
#include <exception>

#include "apps/exit.h"
#include "apps/verb.h"
#include "base/log.h"

namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel serve seedling --adapters assets/adapters
  umbel generate seedling --adapter assets/adapters/banking77-lora-r8 --prompt "Customer: my card is lost
Intent:"
  umbel inspect seedling
Every verb has --help with examples. MODEL is a Hugging Face folder, or "seedling" for the base that comes along.)";

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  umbel::init_log();
  CLI::App program("umbel serves many small adapters over one base language model.", "umbel");
  program.footer(kFooter);
  program.require_subcommand(1);
  program.set_version_flag("--version", "umbel " UMBEL_VERSION);
  umbel::apps::Run run;
  umbel::apps::add_serve(program, run);
  umbel::apps::add_generate(program, run);
  umbel::apps::add_chat(program, run);
  umbel::apps::add_score(program, run);
  umbel::apps::add_train(program, run);
  umbel::apps::add_adapter(program, run);
  umbel::apps::add_data(program, run);
  umbel::apps::add_bench(program, run);
  umbel::apps::add_bench_train(program, run);
  umbel::apps::add_measure(program, run);
  umbel::apps::add_demo(program, run);
  umbel::apps::add_inspect(program, run);
  umbel::apps::add_tokenize(program, run);
  umbel::apps::add_tokenizer(program, run);
  umbel::apps::add_template(program, run);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // --help and --version come here as well; they are no failure.
    return program.exit(error) == 0 ? umbel::apps::kExitOk : umbel::apps::kExitFailed;
  }
  try {
    return run();
  } catch (const std::bad_alloc&) {
    return umbel::apps::finish(umbel::Status(umbel::Code::kOutOfMemory, "out of memory; try a smaller --kv-bytes, "
                                             "--adapter-bytes or --dtype bf16"));
  }
}
