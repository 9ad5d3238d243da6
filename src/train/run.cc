#include "train/run.h"

namespace umbel {

const char* job_end_name(JobEnd end) {
  switch (end) {
    case JobEnd::kFinished: return "finished";
    case JobEnd::kStoppedEarly: return "stopped early";
    case JobEnd::kLostSweep: return "lost its sweep";
    case JobEnd::kFailed: return "failed";
  }
  return "";
}

}  // namespace umbel
