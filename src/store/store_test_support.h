// What the tests of this room share: adapters of a given size with a mark, and folders that look like adapters.
// Included by *_test.cc only.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>

#include "adapters/adapter.h"
#include "io/file.h"
#include "io/test_folder.h"
#include "store/library.h"
#include "store/peft_dir.h"

namespace umbel::testing {

// An adapter that does nothing, of exactly this many bytes (a multiple of 4, at least 64), with a number to know it by.
inline std::shared_ptr<const Adapter> marked_adapter(size_t bytes, float mark) {
  auto adapter = std::make_shared<Adapter>(1);
  adapter->finish();  // the fixed part
  Tensor tensor(DType::kF32, {static_cast<int64_t>((bytes - adapter->bytes()) / 4)});
  tensor.f32()[0] = mark;
  adapter->set_norm_gain(0, adapter->keep_f32(std::move(tensor)));
  CHECK(adapter->bytes() == bytes, "the adapter has the size that was asked for");
  return adapter;
}

inline float mark_of(const AdapterHandle& handle) { return handle.adapter()->norm_gain(0)[0]; }

// Writes DIR/NAME with a small configuration and tensors whose bytes depend on the mark; configuration last.
inline void write_folder(const Path& dir, const std::string& name, float mark, int rank = 2) {
  Tensor tensor(DType::kF32, {rank, 4});
  tensor.f32()[0] = mark;
  const Json config = {{"peft_type", "LORA"}, {"r", rank}, {"lora_alpha", rank}, {"target_modules", {"q_proj"}}};
  const Status written = write_peft_dir(dir / name, config, {{"mark", tensor.view()}});
  CHECK(written.ok(), written.message().c_str());
}

// The loader that goes with write_folder(): an adapter of the given size with the file's mark.
inline Result<std::shared_ptr<const Adapter>> load_marked(const Path& folder, size_t bytes) {
  ASSIGN_OR_RETURN(const OpenFile opened, OpenFile::open(folder / kAdapterTensorsName));
  ASSIGN_OR_RETURN(const Safetensors file, Safetensors::open_unsteady(opened));
  const TensorView* mark = file.find("mark");
  if (mark == nullptr) return data_loss("no mark in " + folder.string());
  return marked_adapter(bytes, Tensor::widened(*mark).f32()[0]);
}

}  // namespace umbel::testing
