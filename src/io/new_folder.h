// NewFolder: a folder that appears whole or not at all. It is filled under a hidden name (".NAME.umbel-XXXXXX") beside its place and
// renamed there by commit(); dropped before that, it leaves nothing behind. What a killed process left is swept by the next
// create() for the same place: a folder of that name whose lock (flock) nobody holds any more. One thread.
#pragma once

#include "base/status.h"
#include "io/file.h"

namespace umbel {

// What to do about something that has the wanted name already.
enum class Existing : uint8_t { kRefuse, kReplace };

// kAlreadyExists when path is there and existing is kRefuse. An empty folder counts as free.
Status check_free(const Path& path, Existing existing);

class NewFolder {
 public:
  // Makes the parent folders too. kReplace only replaces a folder that holds config.json or adapter_config.json, so
  // that a wrong --out never removes anything else.
  static Result<NewFolder> create(const Path& path, Existing existing);
  NewFolder(NewFolder&& other) noexcept;
  NewFolder& operator=(NewFolder&&) = delete;
  ~NewFolder();

  // Where the files go until commit().
  const Path& path() const { return temporary_; }
  // Old and new change places in one step; what was replaced is removed afterwards.
  Status commit();

 private:
  NewFolder(Path final, Path temporary, int lock) : final_(std::move(final)), temporary_(std::move(temporary)), lock_(lock) {}

  Path final_;
  Path temporary_;  // empty once committed or moved from
  int lock_ = -1;   // says that temporary_ has an owner; -1 once moved from
};

}  // namespace umbel
