#include "kernels/table.h"

#include "kernels/context.h"

namespace umbel::kernels {

namespace generic {
extern const Table kTable;
}
namespace avx2 {
extern const Table kTable;
}
namespace avx512 {
extern const Table kTable;
}
namespace amx {
extern const MatmulTable kMatmul;
}

namespace {

// A machine with AMX has AVX-512; only the matmul knows the tiles.
Table amx_table() {
  Table table = avx512::kTable;
  table.name = "amx";
  table.matmul = amx::kMatmul;
  return table;
}

}  // namespace

const Table& table_for(Isa isa) {
  switch (isa) {
    case Isa::kGeneric: return generic::kTable;
    case Isa::kAvx2: return avx2::kTable;
    case Isa::kAvx512: return avx512::kTable;
    case Isa::kAmx: {
      static const Table table = amx_table();
      return table;
    }
  }
  CHECK(false, "an ISA without a table");
}

}  // namespace umbel::kernels
