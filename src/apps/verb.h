// A verb of the program: one file, one add_*() that declares its flags and leaves what to run when it is chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace umbel::apps {

// Set by the verb that the command line chose; main calls it once and exits with its value.
using Run = std::function<int()>;

void add_serve(CLI::App& program, Run& run);
void add_generate(CLI::App& program, Run& run);
void add_chat(CLI::App& program, Run& run);
void add_inspect(CLI::App& program, Run& run);
void add_tokenize(CLI::App& program, Run& run);
void add_tokenizer(CLI::App& program, Run& run);
void add_template(CLI::App& program, Run& run);
void add_score(CLI::App& program, Run& run);
void add_eval(CLI::App& program, Run& run);
void add_land(CLI::App& program, Run& run);
void add_train(CLI::App& program, Run& run);
void add_adapter(CLI::App& program, Run& run);
void add_data(CLI::App& program, Run& run);
void add_bench(CLI::App& program, Run& run);
void add_bench_train(CLI::App& program, Run& run);
void add_measure(CLI::App& program, Run& run);
void add_demo(CLI::App& program, Run& run);
void add_keys(CLI::App& program, Run& run);

}  // namespace umbel::apps
