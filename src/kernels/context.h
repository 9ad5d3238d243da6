// Context: what every kernel call is given: the chosen function table, the compute pool and step memory.
#pragma once

#include "base/arena.h"
#include "base/threads.h"
#include "kernels/choice.h"

namespace umbel::kernels {

struct Table;  // the leaf functions of one ISA (kernels/table.h)

// Plain references; owned by whoever owns the engine or the trainer. One thread at a time.
struct Context {
  const Table& table;
  const Choice& choice;
  ThreadPool& pool;
  Arena& scratch;
};

// The table of an ISA that available_isas() lists.
const Table& table_for(Isa isa);

}  // namespace umbel::kernels
