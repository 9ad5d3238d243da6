// What a job's result depends on, by name, so that a resumed run can say what has changed.
#pragma once

#include <string>

#include "base/status.h"
#include "data/dataset.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "train/job/run_spec.h"

namespace umbel::train {

// Every key of a job that its adapter depends on (ConfigKey::kResult), by name, and its sweep.
Json job_fields(const JobPlan& plan);

// 16 hex digits over all tokens and what of them is trained: equal for equal data, wherever the file lies.
std::string dataset_fingerprint(const data::Dataset& data);

// 16 hex digits over names, types, shapes and bytes of all tensors, of large ones over sixteen samples of 4 KiB each, evenly
// spread, the last at the end: training moves every matrix, so a base that was trained meanwhile differs. No guard against forgery.
std::string weights_fingerprint(const Safetensors& weights);

// kFailedPrecondition naming the first field that differs, both values, and what to do.
Status same_fields(const std::string& what, const Json& recorded, const Json& now);

}  // namespace umbel::train
