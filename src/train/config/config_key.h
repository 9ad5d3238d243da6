// The keys of a training configuration: one table. Reading a file, flags of the command line, suggestions for mistyped keys,
// the help, the reference in docs/training.md, what a resume compares and what a card shows all come from it, so that a key is declared once.
#pragma once

#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "io/yaml.h"
#include "train/job/run_spec.h"

namespace umbel::train {

// How the arms of a job with lists in its fields are chosen and thinned.
struct SweepPlan {
  std::vector<double> halve_at = {0.25, 0.5};
  int64_t random = 0;      // so many arms drawn from all of them; 0 = all
  uint64_t seed = 1;       // of the draw
  int64_t arms_max = 256;  // more are refused
  SweepKeep keep = SweepKeep::kWinner;
};

// Everything that the keys set, with its defaults.
struct ConfigValues {
  RunSpec run;
  JobPlan job;
  SweepPlan sweep;
};

enum class ConfigSection : uint8_t { kRun, kJob, kSweep };

// One of a few words.
struct ChoiceSlot {
  std::vector<std::string> names;
  std::function<Status(const std::string&)> set;
  std::function<std::string()> get;
};
// A file or folder: one of the two. A relative one that stands in a file starts from that file's folder.
struct PathSlot {
  std::string* text = nullptr;
  Path* path = nullptr;
  bool name_too = false;  // a word without "/" is a name and stays as it is
};
using FieldSlot = std::variant<std::string*, PathSlot, ChoiceSlot, int64_t*, uint64_t*, double*, bool*, std::vector<std::string>*,
                               std::vector<int64_t>*, std::vector<double>*, std::map<std::string, int64_t>*, std::map<std::string, double>*>;

struct ConfigKey {
  // Who else reads it: a resume compares it (a job's adapter depends on it), the card shows it, the card shows it when it is not its default.
  enum Use : uint8_t { kResult = 1, kCard = 2, kCardIfSet = 4 };

  ConfigSection section;
  uint8_t use;
  const char* name;
  const char* alias;  // a second name; "" = none
  const char* tag;    // its name in the names of a sweep's arms; "" = name
  const char* help;
  FieldSlot (*slot)(ConfigValues&);
  double min = -std::numeric_limits<double>::infinity();  // of numbers
  double max = std::numeric_limits<double>::infinity();
};

std::span<const ConfigKey> config_key_table();
// By name or alias; null when there is none.
const ConfigKey* find_config_key(ConfigSection section, std::string_view key);
// Names and aliases of a section.
std::vector<std::string> config_keys(ConfigSection section);

// Reads the node into the field. folder: where relative paths of a file start. The failure says what is wrong, without the place.
Status set_config_key(const ConfigKey& field, ConfigValues& values, const Yaml& node, const Path& folder);
// "number", "list of words", "one of: lora, rslora, ...": for help and docs.
std::string config_key_type(const ConfigKey& field);
// What it is when nobody sets it, as it would be written; "" for empty.
std::string config_key_default(const ConfigKey& field);
// What it is set to: as JSON, and as it would be written.
Json config_key_value(const ConfigKey& field, const ConfigValues& values);
std::string config_key_text(const ConfigKey& field, const ConfigValues& values);
// Holds several values anyway, so that only a list of lists is a sweep over it.
bool is_list_field(const ConfigKey& field);
// A value in the name of an arm: "0.003", "q_proj+v_proj", the stem of a file.
std::string config_value_tag(const ConfigKey& field, const Yaml& node);

// All keys with type, default and meaning: as text for the terminal, and as the tables of docs/training.md.
std::string config_help_text();
std::string config_help_markdown();

}  // namespace umbel::train
