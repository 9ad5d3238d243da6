#include "apps/suggestion.h"

#include <algorithm>
#include <vector>

#include "base/nearest.h"

namespace umbel::apps {
namespace {

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) names.push_back(verb->get_name());
  return names;
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string line(const std::string& what, const std::string& word, const std::vector<std::string>& known) {
  const std::string nearest = nearest_name(word, known);
  if (nearest.empty()) return "";
  return "there is no " + what + " \"" + word + "\"; did you mean \"" + nearest + "\"?";
}

}  // namespace

std::string suggestion(const CLI::App& program, std::span<const std::string> words) {
  const CLI::App* verb = &program;
  for (const std::string& given : words) {
    if (given == "--") break;
    if (given.starts_with("--")) {
      const std::string word = given.substr(0, given.find('='));
      const std::vector<std::string> flags = flags_of(*verb);
      if (std::ranges::find(flags, word) == flags.end()) {
        return line(verb == &program ? "flag" : "flag of " + verb->get_name(), word, flags);
      }
    } else if (const std::vector<std::string> verbs = verbs_of(*verb); !given.starts_with('-') && !verbs.empty()) {
      if (std::ranges::find(verbs, given) == verbs.end()) return line("verb", given, verbs);
      verb = verb->get_subcommand(given);
    }
  }
  return "";
}

}  // namespace umbel::apps
