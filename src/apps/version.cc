#include "apps/version.h"

#include "kernels/choice.h"
#include "umbel_commit.h"

namespace umbel::apps {

std::string version_text() {
  std::string text = "umbel " UMBEL_VERSION "\ncommit " UMBEL_COMMIT;
  const auto choice = kernels::choose({.cache_dir = kernels::default_cache_dir()});
  if (!choice.ok()) return text + "\ninstruction set unknown: " + choice.status().message();
  std::string all;
  for (const kernels::Isa isa : kernels::available_isas()) all += (all.empty() ? "" : ", ") + std::string(kernels::isa_name(isa));
  text += "\ninstruction set " + std::string(kernels::isa_name(choice->isa)) + " (this machine has " + all + ")";
  return text + "\narithmetic of 16-bit weights " + std::string(kernels::arithmetic_name(choice->arithmetic)) + " (" + choice->reason + "), of int8 weights " +
         std::string(kernels::arithmetic_name(choice->int8));
}

}  // namespace umbel::apps
