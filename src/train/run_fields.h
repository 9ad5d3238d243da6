// What a job's result depends on, by name, so that a resumed run can say what has changed.
#pragma once

#include <string>

#include "base/status.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "train/dataset.h"
#include "train/run_spec.h"

namespace umbel {

// Every field of the job's spec, life and data options that its adapter depends on, under the names that errors use. A field
// added to JobSpec must be added here: a resume with another value of it would be accepted otherwise (run_state_test.cc watches).
Json job_fields(const JobPlan& plan);

// sizeof(JobSpec) when job_fields() was last made complete (64-bit libstdc++).
inline constexpr size_t kJobSpecBytes = 544;

// 16 hex digits over all tokens and what of them is trained: equal for equal data, wherever the file lies.
std::string dataset_fingerprint(const Dataset& data);

// 16 hex digits over names, types, shapes and bytes of all tensors, of large ones over sixteen samples of 4 KiB each, evenly
// spread, the last at the end: training moves every matrix, so a base that was trained meanwhile differs. No guard against forgery.
std::string weights_fingerprint(const Safetensors& weights);

// kFailedPrecondition naming the first field that differs, both values, and what to do.
Status same_fields(const std::string& what, const Json& recorded, const Json& now);

}  // namespace umbel
