// Content digests: what an adapter's files contain, as one SHA-256.
#pragma once

#include <span>
#include <string>

#include "base/status.h"
#include "io/file.h"

namespace umbel {

// SHA-256 in hex over the files, in the order given: for each the length of its name, whether it is there, the name, the
// content and its length (numbers as u64 little-endian). An absent file counts as absent: adding it changes the digest.
// Reads in pieces; never maps (the files may change under us).
Result<std::string> digest_files(std::span<const Path> files);

}  // namespace umbel
