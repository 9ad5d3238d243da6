#include "engine/model_runner.h"

#include "base/check.h"

namespace umbel {

ModelRunner::ModelRunner(std::shared_ptr<const Model> model, const kernels::Choice& choice, ThreadPool& pool,
                         const Limits& limits)
    : model_(std::move(model)),
      choice_(choice),
      scratch_(model_->scratch_bytes(step_rows_max(limits), step_logit_rows_max(limits), limits.adapter_rank_max)),
      context_{kernels::table_for(choice_.isa), choice_, pool, scratch_},
      kv_(model_->kv_shape(), limits.kv_blocks),
      batch_(limits),
      logits_width_(model_->config().vocab_size + limits.adapter_vocab_extra),
      logits_(static_cast<size_t>(step_logit_rows_max(limits)) * logits_width_) {}

Ticket ModelRunner::launch(const Plan& plan) {
  const Rows& rows = batch_.build(plan);
  wanted_ = MatrixF(logits_.data(), static_cast<int64_t>(rows.logit_rows.size()), logits_width_);
  scratch_.reset();
  model_->forward(context_, rows, kv_, wanted_);
  return {++launched_};
}

ConstMatrixF ModelRunner::collect(Ticket ticket) {
  CHECK(ticket.number == launched_, "tickets are collected in order, one at a time");
  return wanted_;
}

}  // namespace umbel
