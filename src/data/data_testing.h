// What the tests of rows share: tokenizers and templates at hand, the bundled ones always. Included by tests only.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "io/file.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace umbel::testing {

inline Path source_dir_of_rows() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return dir != nullptr ? Path(dir) : Path(".");
}

inline Path real_inputs() {
  const char* given = std::getenv("UMBEL_DATA");
  return given != nullptr ? Path(given) : source_dir_of_rows() / "../shared/data";
}

// The bundled tokenizer, the small ones of every construction, and every folder of real ones that has a tokenizer.json.
inline std::map<std::string, std::shared_ptr<const Tokenizer>> tokenizers_at_hand() {
  std::map<std::string, std::shared_ptr<const Tokenizer>> all;
  all["seedling"] = Tokenizer::load(source_dir_of_rows() / "assets/seedling").value();
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(source_dir_of_rows() / "tests/goldens/text/tokenizers", error)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".json") || name.ends_with(".config.json")) continue;
    all["tiny " + entry.path().stem().string()] = Tokenizer::from_json(read_file(entry.path()).value()).value();
  }
  for (const auto& entry : std::filesystem::directory_iterator(real_inputs() / "tokenizers", error)) {
    if (!std::filesystem::exists(entry.path() / "tokenizer.json", error)) continue;
    all[entry.path().filename().string()] = Tokenizer::load(entry.path()).value();
  }
  return all;
}

// Templates by name: some made here, of the kinds that differ at a turn's border, the committed ones, and real ones at hand, as far as they compile.
inline std::map<std::string, std::shared_ptr<const ChatTemplate>> templates_at_hand() {
  std::map<std::string, std::shared_ptr<const ChatTemplate>> all;
  const std::pair<const char*, const char*> own[] = {
      {"own: a blank before the answer", "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content }}{{ eos_token if m.role == 'assistant' else '\n' }}{% endfor %}"
                                         "{% if add_generation_prompt %}Assistant: {% endif %}"},
      {"own: no generation prompt", "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}{{ eos_token }}{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"},
      {"own: contents are trimmed", "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content | trim }}</turn>\n{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}"},
  };
  for (const auto& [name, source] : own) all[name] = ChatTemplate::from_source(source, {{"bos_token", "<s>"}, {"eos_token", "</s>"}}).value();
  for (const Path& folder : {source_dir_of_rows() / "tests/goldens/text/templates", real_inputs() / "templates"}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      const std::string name = entry.path().stem().string();
      const bool of_functions = name == "methods" || name == "tools" || name == "whitespace" || name == "today";  // these write no turns
      if (entry.path().extension() != ".jinja" || of_functions) continue;
      auto made = ChatTemplate::from_source(read_file(entry.path()).value(), {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
      if (made.ok()) all[name] = *made;
    }
  }
  return all;
}

inline std::vector<TokenId> ids_of(const std::vector<TokenSpan>& tokens) {
  std::vector<TokenId> ids;
  for (const TokenSpan& token : tokens) ids.push_back(token.id);
  return ids;
}

}  // namespace umbel::testing
