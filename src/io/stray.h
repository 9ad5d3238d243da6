// Stray files: what is in a folder, or in a file, instead of what was looked for; for the sentence that tells it and its
// remedy. Looks at names and at the first bytes only, at most at kStrayEntriesMax names of a folder.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "io/file.h"

namespace umbel {

inline constexpr size_t kStrayHeadBytes = 512;
inline constexpr int kStrayEntriesMax = 2000;

// What a file with these first bytes is, where that is no safetensors and no JSON: "a Git LFS pointer, not the file itself:
// run git lfs pull in its folder"; an empty file, a web page, an archive, a pickle, a GGUF file, an error message. "" when
// the bytes say nothing.
std::string stray_content(std::string_view head);

// Of a folder without the file `name`: where else it is (" (it is in the sub-folder checkpoint-500)"), one or two levels
// down, with at most three of them; or that it is a link to nothing. "" when nowhere.
std::string stray_place(const Path& dir, const std::string& name);

// Of a folder without safetensors weights: what weights it has in other forms, and what to do; "" when none.
std::string stray_weights(const Path& dir);

// The folder itself; of a hub's cache folder (models--ORG--NAME with refs/ and snapshots/) the snapshot that refs/main names,
// or the only one. kInvalidArgument names the snapshots when there are several and none is meant.
Result<Path> hub_snapshot(const Path& dir);

}  // namespace umbel
