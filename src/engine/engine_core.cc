#include "engine/engine_core.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "engine/room.h"

namespace umbel {
namespace {

bool contains(std::span<const int32_t> ids, int32_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

Status bad_token(const char* what, int32_t id, int64_t vocab) {
  return invalid_argument(std::string(what) + " token " + std::to_string(id) + " is outside the vocabulary of " +
                          std::to_string(vocab) + " tokens");
}

}  // namespace

Status validate_request(const Request& request, const ModelFacts& facts, const Limits& limits) {
  if (request.prompt.empty()) return invalid_argument("the prompt is empty: it needs at least one token");
  // An adapter may have a vocabulary of its own, which is known once it is in memory: the request is looked at again then.
  const int64_t vocab = facts.vocab + (request.adapter == nullptr ? 0 : limits.adapter_vocab_extra);
  for (int32_t id : request.prompt) {
    if (id < 0 || id >= vocab) return bad_token("prompt", id, facts.vocab);
  }
  if (request.max_tokens < 0) return invalid_argument("max_tokens must be at least 0");
  if (request.min_tokens < 0) return invalid_argument("min_tokens must be at least 0");
  if (request.min_tokens > request.max_tokens) {
    return invalid_argument("min_tokens (" + std::to_string(request.min_tokens) + ") is larger than max_tokens (" +
                            std::to_string(request.max_tokens) + ")");
  }
  RETURN_IF_ERROR(check_room(limits, static_cast<int64_t>(request.prompt.size()), request.max_tokens));
  if (request.cache_salt.size() > kCacheSaltBytesMax) {
    return invalid_argument("cache_salt has " + std::to_string(request.cache_salt.size()) + " bytes; at most " +
                            std::to_string(kCacheSaltBytesMax) + " are allowed");
  }
  return validate_sampling(request.sampling, vocab);
}

// With its adapter, which may have more or fewer tokens than the base.
Status EngineCore::validate_vocabulary(const Sequence& sequence) const {
  if (sequence.adapter() == nullptr) return ok_status();
  const int64_t vocab = vocabulary_of(sequence);
  for (const int32_t id : sequence.tokens().first(sequence.prompt_tokens())) {
    if (id >= vocab) return bad_token("prompt", id, vocab);
  }
  return validate_sampling(sequence.request().sampling, vocab);
}

int64_t EngineCore::vocabulary_of(const Sequence& sequence) const {
  const int64_t own = sequence.adapter() == nullptr ? 0 : sequence.adapter()->vocabulary();
  return own > 0 ? own : facts_.vocab;
}

EngineCore::EngineCore(const CoreParts& parts, const ModelFacts& facts, const Limits& limits)
    : parts_(parts),
      facts_(facts),
      limits_(limits),
      pool_(limits.kv_blocks),
      cache_(pool_),
      queue_(limits, static_cast<size_t>(queue_places_max(limits)) + limits.sequences_max),
      shares_(limits.sequences_max) {
  const size_t sequences = limits.sequences_max;
  const size_t places = static_cast<size_t>(queue_places_max(limits)) + sequences;
  waiting_.reserve(places);
  waiting_views_.reserve(places);
  preempted_.reserve(sequences);
  victims_.reserve(sequences);
  claims_.reserve(sequences);
  running_.reserve(sequences);
  views_.reserve(sequences);
  schedule_.reserve(limits.sequences_max);
  plan_.entries.reserve(sequences);
  planned_.reserve(sequences);
  jobs_.reserve(step_logit_rows_max(limits));
  blocked_adapters_.reserve(sequences);
  finished_ids_.reserve(places);
  left_queue_.reserve(places);
  for (int thread = 0; thread < parts.pool.threads(); ++thread) scratches_.emplace_back(facts.vocab + limits.adapter_vocab_extra);
}

EngineCore::~EngineCore() { finish_all(FinishReason::kCancelled, ok_status()); }

void EngineCore::add(Submission submission) {
  waiting_.push_back(std::make_unique<Sequence>(std::move(submission), next_arrival_++));
  Sequence& sequence = *waiting_.back();
  const Request& request = sequence.request();
  sequence.lane = queue_.enter(request.tenant, request.tenant_caps, request.adapter.get());
  sequence.lane_serial = queue_.serial(sequence.lane);
  sequence.stamp = queue_.stamp();
  const bool length_matters =
      facts_.dynamic_rope_context > 0 && sequence.prompt_tokens() > facts_.dynamic_rope_context;
  sequence.caches = limits_.prefix_cache && !length_matters;
}

EngineCore::Outcome EngineCore::step() {
  ++step_;
  const TimePoint now = parts_.clock.now();
  sweep(now);
  admit(now);
  make_plan(now);
  stats_.batch_rows = plan_.rows();
  stats_.batch_adapters = plan_.adapters();
  if (plan_.entries.empty()) {
    if (!schedule_.preempted.empty() || !running_.empty()) return Outcome::kRan;
    return waiting_.empty() ? Outcome::kIdle : Outcome::kBlocked;
  }
  ++stats_.steps;
  const Ticket ticket = parts_.runner.launch(plan_);
  commit(parts_.runner.collect(ticket));
  return Outcome::kRan;
}

// ---- sweep: those that nobody waits for any more --------------------------------------------------------------------

void EngineCore::sweep(TimePoint now) {
  sweep_list(waiting_, now);
  sweep_list(running_, now);
  drop_done();
}

void EngineCore::sweep_list(std::vector<SequencePtr>& list, TimePoint now) {
  for (SequencePtr& sequence : list) {
    if (sequence->stream().abandoned()) {
      finish(*sequence, {.finish = FinishReason::kCancelled}, now);
      continue;
    }
    const std::optional<Duration>& deadline = sequence->request().deadline;
    if (deadline && now - sequence->arrived() >= *deadline) {
      Status late(Code::kDeadlineExceeded, "the request's deadline of " + std::to_string(to_seconds(*deadline)) +
                                               " s is over after " + std::to_string(sequence->answer_tokens()) +
                                               " tokens");
      finish(*sequence, {.finish = FinishReason::kError, .status = std::move(late)}, now);
    }
  }
}

void EngineCore::finish_all(FinishReason reason, const Status& status) {
  const TimePoint now = parts_.clock.now();
  for (auto* list : {&waiting_, &running_}) {
    for (SequencePtr& sequence : *list) finish(*sequence, {.finish = reason, .status = status}, now);
  }
  drop_done();
}

// ---- plan -----------------------------------------------------------------------------------------------------------

void EngineCore::make_plan(TimePoint now) {
  plan_.clear();
  planned_.clear();
  views_.clear();
  for (const SequencePtr& sequence : running_) views_.push_back(sequence->view(pool_));
  claim_ranks(views_, claims_);
  schedule({views_, pool_.available(), step_, limits_, parts_.policy, shares_}, schedule_);
  for (int32_t index : schedule_.preempted) running_[index]->release_blocks();  // the rows below need them
  // One adapter's sequences become neighbours.
  std::sort(schedule_.rows.begin(), schedule_.rows.end(), [&](const ScheduledRows& a, const ScheduledRows& b) {
    const Sequence& left = *running_[a.sequence];
    const Sequence& right = *running_[b.sequence];
    return left.group != right.group ? left.group < right.group : left.arrival() < right.arrival();
  });
  for (const ScheduledRows& share : schedule_.rows) {
    Sequence& sequence = *running_[share.sequence];
    sequence.grow(pool_, sequence.computed() + share.rows);
    const int32_t end = sequence.computed() + share.rows;
    int32_t logit_rows = end == sequence.target() && !sequence.score_only() ? 1 : 0;
    if (sequence.wants_prompt_logprobs()) {
      logit_rows = std::max(0, end - std::max(sequence.logprobs_done(), sequence.computed()));
    }
    plan_.entries.push_back({.position = sequence.computed(),
                             .tokens = sequence.tokens().subspan(sequence.computed(), share.rows),
                             .blocks = sequence.block_table(),
                             .adapter = sequence.adapter(),
                             .prompt_tokens = sequence.prompt_tokens(),
                             .logit_rows = logit_rows});
    planned_.push_back(&sequence);
    if (sequence.scheduled_at == TimePoint{}) sequence.scheduled_at = now;
  }
  for (int32_t index : schedule_.preempted) preempt(running_[index]);
  if (!preempted_.empty()) std::erase(running_, nullptr);
  return_preempted();
}

void EngineCore::preempt(SequencePtr& running) {
  running->release_blocks();
  running->running = false;
  queue_.stopped(running->lane);
  ++stats_.preemptions;
  preempted_.push_back(std::move(running));
}

// Merges those that were preempted in this step with the waiting ones, which stay sorted by arrival.
void EngineCore::return_preempted() {
  const auto older = [](const SequencePtr& a, const SequencePtr& b) { return a->arrival() < b->arrival(); };
  std::sort(preempted_.begin(), preempted_.end(), older);
  size_t from = waiting_.size();
  waiting_.resize(waiting_.size() + preempted_.size());
  for (size_t to = waiting_.size(); !preempted_.empty(); --to) {
    const bool waits_longer = from == 0 || older(waiting_[from - 1], preempted_.back());
    SequencePtr& last = waits_longer ? preempted_.back() : waiting_[from - 1];
    waiting_[to - 1] = std::move(last);
    if (waits_longer) {
      preempted_.pop_back();
    } else {
      --from;
    }
  }
}

// ---- commit ---------------------------------------------------------------------------------------------------------

void EngineCore::collect_jobs() {
  jobs_.clear();
  int64_t row = 0;
  for (size_t index = 0; index < planned_.size(); ++index) {
    const PlanEntry& entry = plan_.entries[index];
    Sequence& sequence = *planned_[index];
    const int32_t end = entry.position + entry.rows();
    for (int32_t position = end - entry.logit_rows; position < end; ++position, ++row) {
      const bool samples = position + 1 == static_cast<int32_t>(sequence.tokens().size());
      jobs_.push_back({.sequence = &sequence, .row = row, .position = position, .samples = samples, .token = -1});
    }
  }
}

void EngineCore::run_job(LogitJob& job, ConstMatrixF logits, SamplerScratch& scratch) const {
  const Sequence& sequence = *job.sequence;
  const Request& request = sequence.request();
  const std::span<const float> row = logits.row_span(job.row).first(static_cast<size_t>(vocabulary_of(sequence)));
  if (!job.samples) {
    job.token = sequence.tokens()[job.position + 1];
    job.logprobs = token_logprobs(row, job.token, request.prompt_logprobs, scratch);
    return;
  }
  SampleInput input{request.sampling, row, sequence.tokens(), sequence.prompt_tokens()};
  if (sequence.answer_tokens() < request.min_tokens) {
    input.banned = request.eos_ids;
    input.banned_more = request.stop_ids;
  }
  if (vocabulary_of(sequence) == facts_.vocab) input.tokenless = facts_.tokenless;  // a resized vocabulary is the adapter's own
  job.token = sample_token(input, scratch);
  if (request.logprobs >= 0 && job.token >= 0) job.logprobs = token_logprobs(row, job.token, request.logprobs, scratch);
}

void EngineCore::commit(ConstMatrixF logits) {
  collect_jobs();
  parts_.pool.parallel_for(static_cast<int64_t>(jobs_.size()), [&](int64_t job, int worker) {
    run_job(jobs_[job], logits, scratches_[worker]);
  });
  const TimePoint now = parts_.clock.now();
  for (size_t index = 0; index < planned_.size(); ++index) {
    Sequence& sequence = *planned_[index];
    const PlanEntry& entry = plan_.entries[index];
    stats_.prompt_tokens += std::clamp(entry.prompt_tokens - entry.position, 0, entry.rows());
    sequence.served_step = step_;
    sequence.advance(entry.rows());
    if (sequence.caches) sequence.remember_blocks(cache_);
  }
  for (LogitJob& job : jobs_) {
    if (job.samples) {
      take_token(*job.sequence, job, now);
    } else {
      job.sequence->add_prompt_logprobs(std::move(job.logprobs));
    }
  }
  for (Sequence* sequence : planned_) {
    if (!sequence->done && sequence->score_only() && sequence->remaining() <= 0) {
      finish(*sequence, {.finish = FinishReason::kLength}, now);
    }
  }
  drop_done();
}

void EngineCore::take_token(Sequence& sequence, LogitJob& job, TimePoint now) {
  const Request& request = sequence.request();
  TokenEvent event;
  if (job.token < 0) {
    event.finish = FinishReason::kError;
    event.status = internal_error("the model gave no usable logits (all of them NaN or -inf)");
    return finish(sequence, std::move(event), now);
  }
  sequence.append(job.token);
  ++stats_.generated_tokens;
  event.token = job.token;
  if (request.logprobs >= 0) event.logprobs = std::move(job.logprobs);
  if (sequence.answer_tokens() == 1) sequence.first_token_at = now;
  if (!request.ignore_eos && contains(request.eos_ids, job.token)) {
    event.finish = FinishReason::kEos;
  } else if (contains(request.stop_ids, job.token)) {
    event.finish = FinishReason::kStop;
  } else if (sequence.answer_tokens() >= request.max_tokens) {
    event.finish = FinishReason::kLength;
  }
  if (event.finish != FinishReason::kNone) return finish(sequence, std::move(event), now);
  event.prompt_logprobs = sequence.take_prompt_logprobs();
  sequence.stream().push(std::move(event));
}

void EngineCore::finish(Sequence& sequence, TokenEvent event, TimePoint now) {
  if (sequence.done) return;
  sequence.done = true;
  if (!sequence.started) left_queue_.push_back(sequence.queue_place());
  if (sequence.running) queue_.stopped(sequence.lane);
  queue_.leave(sequence.lane);
  ++stats_.finished;
  event.prompt_logprobs = sequence.take_prompt_logprobs();
  event.prompt_tokens = sequence.prompt_tokens();
  event.cached_tokens = sequence.cached_tokens;
  const auto since_arrival = [&](TimePoint point) { return point == TimePoint{} ? Duration{} : point - sequence.arrived(); };
  event.times = {since_arrival(sequence.scheduled_at), since_arrival(sequence.first_token_at), now - sequence.arrived()};
  finished_ids_.push_back(sequence.stream().id());
  sequence.stream().push(std::move(event));
}

void EngineCore::drop_done() {
  for (auto* list : {&waiting_, &running_}) {
    std::erase_if(*list, [](const SequencePtr& sequence) { return sequence->done; });
  }
}

EngineStats EngineCore::stats() const {
  EngineStats stats = stats_;
  stats.running = running();
  stats.waiting = waiting();
  stats.kv_blocks_used = pool_.held();
  stats.kv_blocks_total = pool_.blocks();
  return stats;
}

}  // namespace umbel
