#include "apps/adapter_sum.h"

#include "adapters/registry.h"
#include "store/adapter_files.h"
#include "store/peft_dir.h"

namespace umbel::apps {
namespace {

Status measure(const BaseModel& base, const FoundFolder& found, AdapterSize& size) {
  RETURN_IF_ERROR(found.status);
  RETURN_IF_ERROR(check_adapter_name(size.name));
  ASSIGN_OR_RETURN(const AdapterFiles files, AdapterFiles::open(found.place));
  ASSIGN_OR_RETURN(const PeftDir folder, PeftDir::read(files));
  size.kind = kind_name(folder.spec().peft_type);
  ASSIGN_OR_RETURN(const auto adapter, build_adapter(folder.source(), base.model->targets(),
                                                     {.factor_dtype = base.model->factor_dtype()}));
  size.rank_max = folder.spec().rank_max();
  size.row_cost = adapter->cost();
  size.resident_bytes = adapter->bytes();
  return ok_status();
}

}  // namespace

Result<AdapterSum> sum_adapters(const BaseModel& base, const Path& dir) {
  using Folders = std::map<std::string, FoundFolder>;
  ASSIGN_OR_RETURN(const Folders folders, scan_folders(dir));
  AdapterSum sum;
  for (const auto& [name, found] : folders) {
    AdapterSize size{.name = name, .file_bytes = found.stamp.tensor_bytes()};
    size.error = measure(base, found, size).message();
    if (size.error.empty()) {
      ++sum.usable;
      sum.resident_bytes += size.resident_bytes;
      sum.largest_bytes = std::max(sum.largest_bytes, size.resident_bytes);
    }
    sum.adapters.push_back(std::move(size));
  }
  return sum;
}

bool holds_adapters(const Path& dir) {
  const auto folders = scan_folders(dir);
  return folders.ok() && !folders->empty();
}

}  // namespace umbel::apps
