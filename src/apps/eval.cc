// umbel eval: how good adapters are.
#include "apps/eval.h"

#include "apps/exit.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel eval seedling --adapters assets/adapters --adapter banking77-lora-r8 --tasks banking77 --limit 100
  umbel eval seedling --adapters assets/adapters --data rows.jsonl --scorer class_accuracy --out exam --json
  umbel eval show exam --diff banking77-lora-r8 banking77-flora-r1
  umbel eval report exam
  umbel eval tasks
  umbel eval score --scorer rouge rows.jsonl
Every adapter and the base answer every row, greedily, all in the same batches. With --out every answer is kept as it comes, and the same
command goes on where a killed one stopped. docs/eval.md says what is counted, and how.)";

}  // namespace

void add_eval(CLI::App& program, Run& run) {
  auto flags = std::make_shared<ExamFlags>();
  CLI::App* verb = program.add_subcommand("eval", "examine adapters on tasks, score answers");
  add_eval_score(*verb, run);
  add_eval_tasks(*verb, run);
  add_eval_show(*verb, run);
  add_eval_report(*verb, run);
  flags->model.declare(*verb);
  flags->engine.declare(*verb);
  verb->add_option("--adapter", flags->adapters, "an adapter inside --adapters, or a folder of its own (may be repeated; default: all of --adapters)");
  verb->add_option("--tasks", flags->tasks, "names of tasks, or files of one's own (NAME.yaml)")->delimiter(',');
  verb->add_option("--task-dir", flags->task_dir, "folder of task files (default: those that come along)");
  verb->add_option("--data-dir", flags->data_dir, "folder of the tasks' data (default: $UMBEL_DATA)");
  verb->add_option("--data", flags->data, "a file of rows, as \"umbel train\" reads them, instead of tasks");
  verb->add_option("--scorer", flags->scorer, "how an answer to a row of --data counts");
  verb->add_option("--option", flags->options, "NAME=VALUE of the scorer (may be repeated)");
  verb->add_option("--format", flags->format, "of --data: auto, prompt-completion, messages, alpaca, sharegpt, template")->capture_default_str();
  verb->add_option("--template", flags->prompt_template, "prompt of rows of --data with other fields");
  verb->add_option("--completion", flags->completion_template, "the answer of such rows");
  verb->add_option("--max-tokens", flags->max_tokens, "longest answer to a row of --data; a task has its own limit")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  verb->add_option("--stop", flags->stop, "end an answer to a row of --data before this text (may be repeated)");
  verb->add_option("--limit", flags->limit, "only the first rows of each task")->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  verb->add_option("--out", flags->out, "folder that keeps every answer (exam.sqlite)");
  verb->add_flag("--json", flags->json, "JSON for machines");
  verb->footer(kFooter);
  verb->callback([flags, verb, &run] {
    if (verb->get_subcommands().empty()) run = [flags] { return finish(run_exam(*flags)); };
  });
}

}  // namespace umbel::apps
