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
extern const Table kTable;
}

const Table& table_for(Isa isa) {
  switch (isa) {
    case Isa::kGeneric: return generic::kTable;
    case Isa::kAvx2: return avx2::kTable;
    case Isa::kAvx512: return avx512::kTable;
    case Isa::kAmx: return amx::kTable;
  }
  CHECK(false, "an ISA without a table");
}

}  // namespace umbel::kernels
