// The leaf: all arithmetic of one ISA and its table. A target file includes its intrinsics and vec_*-inl.h, then this.
//
// House habit 7: leaves include plain data only (no containers, no shared inline functions), everything inside the namespace
// of the target; otherwise the linker may hand code with special instructions to the baseline path.
#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/exp-inl.h"
#include "kernels/cpu/row-inl.h"
#include "kernels/cpu/activation-inl.h"
// (order matters: each builds on those above)
#include "kernels/cpu/low_rank-inl.h"
#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/vjp-inl.h"

namespace umbel::kernels::UMBEL_TARGET {

extern const Table kTable;
const Table kTable = {
    .name = UMBEL_TARGET_NAME,
    .lanes = kLanes,
    .scale = scale_row,
    .scale_add = scale_add_row,
    .rms_norm = rms_norm_row,
    .layer_norm = layer_norm_row,
    .multiply = multiply_row,
    .activation = {activation_row<Activation::kSilu>, activation_row<Activation::kGeluTanh>, activation_row<Activation::kGelu>,
                   activation_row<Activation::kRelu>},
    .soft_cap = soft_cap_row,
    .rope = rope_row,
    .widen_bf16 = widen_bf16_row,
    .narrow_bf16 = narrow_bf16_row,
    .argmax = argmax_row,
    .max = max_row,
    .sum_exp = sum_exp_row,
    .shrink_f32 = shrink<float>,
    .shrink_bf16 = shrink<uint16_t>,
    .expand_f32 = expand<float>,
    .expand_bf16 = expand<uint16_t>,
    .kv_write_f32 = kv_write_f32,
    .kv_write_bf16 = kv_write_bf16,
    .attention_f32 = attention<float>,
    .attention_bf16 = attention<uint16_t>,
    .vjp = kVjpTable,
    .matmul = kMatmulTable,
};

}  // namespace umbel::kernels::UMBEL_TARGET
