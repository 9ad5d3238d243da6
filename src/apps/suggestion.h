// What a command line with a misspelt verb or flag was probably meant to be.
#pragma once

#include <CLI/CLI.hpp>
#include <span>
#include <string>

namespace umbel::apps {

// One line about the first verb or flag that does not exist, with the nearest one that does: 'there is no verb "trian"; did
// you mean "train"?'. "" where every verb and flag exists, or none is near. words: as given, without the program.
std::string suggestion(const CLI::App& program, std::span<const std::string> words);

}  // namespace umbel::apps
