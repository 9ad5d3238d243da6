// umbel adapter diff: what is different between two adapters.
#include <iostream>

#include "adapters/registry.h"
#include "apps/adapter.h"
#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/table.h"
#include "store/adapter_diff.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel adapter diff mine/step-100 mine/step-200
  umbel adapter diff assets/adapters/banking77-lora-r8 assets/adapters/banking77-flora-r1 --base seedling
Columns: the norms of what each adapter does to a module, the norm of the difference over the first one's, and the cosine of
the angle between the two.)";

struct Flags {
  ModelFlags model;
  bool has_base = false;
  std::string first, second;
  bool json = false;
};

Result<AdapterDifference> compare(Flags flags, const AdapterFolder& first, const AdapterFolder& second) {
  if (!flags.has_base) return compare_adapters(first.peft.source(), second.peft.source());
  ASSIGN_OR_RETURN(const BaseModel base, open_base_model(flags.model));
  std::shared_ptr<const Adapter> built[2];
  for (int i = 0; i < 2; ++i) {
    const AdapterFolder& folder = i == 0 ? first : second;
    auto made = build_adapter(folder.peft.source(), base.model->targets(), {.factor_dtype = DType::kF32});
    if (!made.ok()) return made.status().with_context(folder.dir.string());
    built[i] = std::move(made).value();
  }
  return compare_adapters_on(base.model->targets(), *built[0], *built[1]);
}

std::string presence(const ModuleDifference& module) {
  if (module.in_first && module.in_second) return "both";
  return module.in_first ? "first" : "second";
}

void print_json(const std::vector<FieldDifference>& fields, const AdapterDifference& difference) {
  Json config = Json::object(), modules = Json::array();
  for (const FieldDifference& field : fields) config[field.field] = {field.first, field.second};
  for (const ModuleDifference& module : difference.modules) {
    modules.push_back({{"module", module.path}, {"in", presence(module)}, {"first", module.update.first}, {"second", module.update.second},
                       {"difference", module.update.difference}, {"relative", module.relative}, {"cosine", module.update.cosine}});
  }
  std::cout << Json{{"config", config}, {"measure", difference.measure}, {"modules", modules}}.dump(2) << "\n";
}

Status run_diff(const Flags& flags) {
  ASSIGN_OR_RETURN(const AdapterFolder first, open_adapter_folder(flags.first));
  ASSIGN_OR_RETURN(const AdapterFolder second, open_adapter_folder(flags.second));
  const std::vector<FieldDifference> fields = compare_configs(first.config, second.config);
  ASSIGN_OR_RETURN(const AdapterDifference difference, compare(flags, first, second));
  if (flags.json) {
    print_json(fields, difference);
    return ok_status();
  }
  Table config({"field", "first", "second"});
  for (const FieldDifference& field : fields) config.add({field.field, field.first.dump(), field.second.dump()});
  std::cout << (fields.empty() ? "configurations are equal\n" : config.text()) << "\n" << difference.measure << ":\n";
  Table modules({"module", "in", "|first|", "|second|", "difference", "cosine"});
  for (const ModuleDifference& module : difference.modules) {
    modules.add({module.path, presence(module), number(module.update.first), number(module.update.second), number(module.relative), number(module.update.cosine)});
  }
  std::cout << (difference.modules.empty() ? "nothing in common\n" : modules.text());
  return ok_status();
}

}  // namespace

void add_adapter_diff(CLI::App& adapter, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = adapter.add_subcommand("diff", "what is different between two adapters");
  verb->add_option("FIRST", flags->first, "an adapter's folder")->required();
  verb->add_option("SECOND", flags->second, "another one")->required();
  CLI::Option* base = verb->add_option("--base", flags->model.model, "compare what they do to this base's weights: any kinds");
  verb->add_flag("--json", flags->json, "JSON for machines");
  verb->footer(kFooter);
  verb->callback([flags, base, &run] {
    flags->has_base = base->count() > 0;
    run = [flags] { return finish(run_diff(*flags)); };
  });
}

}  // namespace umbel::apps
