#include "apps/adapter.h"

#include "store/folder.h"

namespace umbel::apps {

Result<AdapterFolder> open_adapter_folder(const std::string& dir) {
  ASSIGN_OR_RETURN(OrderedJson config, PeftDir::read_config(dir));
  Result<PeftDir> peft = PeftDir::read(dir);
  if (!peft.ok()) return peft.status();
  return AdapterFolder{dir, std::move(config), std::move(peft).value()};
}

std::string adapter_name(const Path& dir) {
  const std::string name = dir.filename().string();
  return name.empty() ? dir.parent_path().filename().string() : name;
}

std::string own_chat_template(const Path& dir) {
  const auto folder = FolderReader::open({.folder = dir, .links_root = hub_links_root(dir)});
  if (!folder.ok()) return {};
  auto text = folder->read(kAdapterTemplateName, kAdapterTemplateBytesMax);
  return text.ok() ? std::move(text).value() : std::string();
}

void add_adapter(CLI::App& program, Run& run) {
  CLI::App* verb = program.add_subcommand("adapter", "merge, compare, convert and export adapters");
  verb->require_subcommand(1);
  verb->footer("\nExamples: umbel adapter merge --help, and the same for every sub-verb.");
  add_adapter_merge(*verb, run);
  add_adapter_diff(*verb, run);
  add_adapter_convert(*verb, run);
  add_adapter_export(*verb, run);
}

}  // namespace umbel::apps
