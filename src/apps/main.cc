// umbel: one program, many verbs. The only place where the rooms are introduced to each other is this folder.
#include <csignal>
#include <exception>
#include <string_view>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "apps/exit.h"
#include "apps/suggestion.h"
#include "apps/verb.h"
#include "apps/version.h"
#include "base/log.h"
#include "data/parquet_worker.h"
#include "text/template_worker.h"
#include "base/printable.h"

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
  // Started by this program itself, for what strangers wrote; no verb for people.
  if (argc == 2 && std::string_view(argv[1]) == umbel::kTemplateWorkerVerb) return umbel::run_template_worker();
  if (argc == 2 && std::string_view(argv[1]) == umbel::data::kParquetWorkerVerb) return umbel::data::run_parquet_worker();
  std::signal(SIGPIPE, SIG_IGN);
  umbel::init_log();
  CLI::App program("umbel serves many small adapters over one base language model.", "umbel");
  program.footer(kFooter);
  program.require_subcommand(1);
  program.set_version_flag("--version", [] { return umbel::apps::version_text(); });
  umbel::apps::Run run;
  umbel::apps::add_serve(program, run);
  umbel::apps::add_keys(program, run);
  umbel::apps::add_generate(program, run);
  umbel::apps::add_chat(program, run);
  umbel::apps::add_score(program, run);
  umbel::apps::add_eval(program, run);
  umbel::apps::add_land(program, run);
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
    const std::string meant = umbel::apps::suggestion(program, std::vector<std::string>(argv + 1, argv + argc));
    // --help and --version come here as well; they are no failure.
    if (error.get_exit_code() != 0 && !meant.empty()) return umbel::apps::finish(umbel::invalid_argument(meant));
    std::ostringstream complaint;
    if (program.exit(error, std::cout, complaint) == 0) return umbel::apps::kExitOk;
    std::cerr << umbel::printable(complaint.str(), umbel::kPrintableReportMax, umbel::LineBreaks::kKept);
    return umbel::apps::kExitFailed;
  }
  try {
    return run();
  } catch (const std::bad_alloc&) {
    return umbel::apps::finish(umbel::Status(umbel::Code::kOutOfMemory, "out of memory; try a smaller --kv-bytes, "
                                             "--adapter-bytes or --dtype bf16"));
  }
}
