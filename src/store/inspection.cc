#include "store/inspection.h"

#include <algorithm>

#include "adapters/registry.h"
#include "adapters/served_rank.h"
#include "base/printable.h"
#include "store/adapter_files.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

// While an adapter is built, its header is held parsed, and its largest tensor three times: widened to f32, turned, converted.
constexpr size_t kParsedBytesPerHeaderByte = 8;
constexpr size_t kBuildBytesPerElement = 12;

constexpr size_t kReasonBytesMax = 1000;

Status too_large(const OpenFile& file, size_t limit, const char* whose) {
  return Status(Code::kTooLong, file.path().filename().string() + " has " + std::to_string(file.size()) + " bytes, over the limit of " +
                                    std::to_string(limit) + whose);
}

Status check_sizes(const AdapterFiles& files, const InspectionLimits& limits, EntryFacts* facts) {
  const OpenFile* chat_template = files.find(kAdapterTemplateName);
  if (chat_template != nullptr && chat_template->size() > kAdapterTemplateBytesMax) {
    return too_large(*chat_template, kAdapterTemplateBytesMax, "");
  }
  ASSIGN_OR_RETURN(const OpenFile* const tensors, PeftDir::tensors_of(files));
  if (tensors->size() > limits.budget_bytes) return too_large(*tensors, limits.budget_bytes, " for all adapters together (--adapter-bytes)");
  ASSIGN_OR_RETURN(const SafetensorsSummary summary, summarise_safetensors(*tensors, kAdapterHeaderBytesMax));
  facts->file_bytes = tensors->size();
  if (limits.building == Building::kElsewhere) return ok_status();
  facts->build_bytes = kParsedBytesPerHeaderByte * summary.header_bytes + kBuildBytesPerElement * summary.elements_max;
  return ok_status();
}

Status read_facts(const FoundFolder& found, const InspectionLimits& limits, const std::stop_token& stop, EntryFacts* facts) {
  RETURN_IF_ERROR(found.status);
  ASSIGN_OR_RETURN(const AdapterFiles files, AdapterFiles::open(found.place));
  ASSIGN_OR_RETURN(const AdapterSpec spec, PeftDir::read_spec(files));
  facts->kind = kind_name(spec.peft_type);
  facts->rank_max = static_cast<int32_t>(std::min<int64_t>(spec.rank_max(), INT32_MAX));
  if (facts->kind.empty()) return unsupported("peft_type \"" + spec.peft_type + "\" is not computed here");
  const int64_t rank = std::max(spec.rank_max(), spec.rank ? int64_t{0} : default_rank(spec.peft_type));
  const int64_t served = served_rank(spec.peft_type, rank);
  RETURN_IF_ERROR(check_rank(limits.ranks, facts->kind, served));
  RETURN_IF_ERROR(check_sizes(files, limits, facts));
  if (served > rank) facts->build_bytes *= static_cast<size_t>(served / rank);  // its factors are multiplied out
  ASSIGN_OR_RETURN(facts->id.digest, files.digest(stop));
  return ok_status();
}

}  // namespace

EntryFacts inspect_folder(const std::string& name, const FoundFolder& found, const InspectionLimits& limits, std::stop_token stop) {
  EntryFacts facts;
  facts.id.name = name;
  facts.place = found.place;
  const Status read = read_facts(found, limits, stop, &facts);
  if (!read.ok()) facts.broken = Status(read.code(), printable(read.message(), kReasonBytesMax));
  if (found.stamp.has_text()) facts.chat_template_dir = found.place.folder.string();
  return facts;
}

}  // namespace umbel
