#include "text/template_workers.h"

#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "text/compiled_template.h"

namespace umbel {
namespace {

// One helper, one order at a time, first come first served.
class Lane {
 public:
  Lane(const TemplateWorkersOptions& options, Duration wait_max) : options_(options), wait_max_(wait_max) {}

  // Waits its turn; when ok, leave() must follow.
  Status enter();
  void leave();

  struct Outcome {
    Result<RenderAnswer> answer;
    bool is_death = false;  // the template's doing
  };
  // REQUIRES between enter() and leave().
  Outcome render(std::string_view order);

 private:
  Status start();
  Outcome ask(std::string_view order, bool& retired);
  Status death(const Status& failure);

  const TemplateWorkersOptions& options_;
  const Duration wait_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<uint64_t> waiting_;  // tickets; the front one is next, or has its turn
  uint64_t next_ticket_ = 0;
  std::unique_ptr<HelperProcess> helper_;  // of whoever has its turn
};

Status Lane::enter() {
  std::unique_lock lock(mutex_);
  if (waiting_.size() > options_.waiting_max) {
    return Status(Code::kOverloaded, "too many chats wait for adapters' own chat templates; send again later");
  }
  const uint64_t ticket = next_ticket_++;
  waiting_.push_back(ticket);
  if (changed_.wait_for(lock, wait_max_, [&] { return waiting_.front() == ticket; })) return ok_status();
  std::erase(waiting_, ticket);
  return Status(Code::kUnavailable, "other chat templates take their time; send again");
}

void Lane::leave() {
  {
    const std::lock_guard lock(mutex_);
    waiting_.pop_front();
  }
  changed_.notify_all();
}

Status Lane::start() {
  ASSIGN_OR_RETURN(helper_, HelperProcess::start(options_.command));
  const TimePoint deadline = RealClock().now() + options_.start_max;
  Status ready = helper_->send(encode(options_.worker), deadline);
  if (ready.ok()) ready = helper_->receive(0, deadline).status();
  if (ready.ok()) return ready;
  helper_.reset();
  return Status(Code::kUnavailable, "the process for adapters' chat templates does not start: " + ready.message());
}

// What the helper's end says about the template.
Status Lane::death(const Status& failure) {
  if (failure.code() == Code::kTooLong) return failure;
  if (failure.code() == Code::kDeadlineExceeded) {
    return data_loss("it takes longer than " + std::to_string(options_.render_max.count() / 1'000'000) + " ms");
  }
  const HelperEnd end = helper_->end();
  if (end.signal == SIGXCPU) return data_loss("it computes for too long");
  if (end.signal == SIGSEGV || end.signal == SIGBUS) return data_loss("it nests or recurses too deeply");
  return data_loss("it needs more than " + std::to_string(options_.worker.memory_bytes >> 20) +
                   " MiB, or ends the process that renders it");
}

Lane::Outcome Lane::ask(std::string_view order, bool& retired) {
  const TimePoint deadline = RealClock().now() + options_.render_max;
  Status sent = helper_->send(order, deadline);
  Result<std::string> message = sent.ok() ? helper_->receive(options_.worker.output_bytes_max * 2 + 4096, deadline)
                                          : Result<std::string>(sent);
  if (message.ok()) return {decode_answer(*message)};
  const bool is_gone = message.status().code() == Code::kUnavailable;
  retired = is_gone && helper_->end().signal == 0 && helper_->end().exit_status == 0;
  Outcome outcome{retired ? message.status() : death(message.status()), !retired};
  helper_.reset();
  return outcome;
}

Lane::Outcome Lane::render(std::string_view order) {
  for (;;) {
    const bool is_fresh = !helper_ || helper_->has_left();
    if (is_fresh) {
      if (Status started = start(); !started.ok()) return {started};
    }
    bool retired = false;
    Outcome outcome = ask(order, retired);
    // A helper that another template had made large left between our look and our order: that is nobody's fault.
    if (!retired || is_fresh) return outcome;
  }
}

// Between enter() and leave().
class Turn {
 public:
  explicit Turn(Lane& lane) : lane_(lane) {}
  ~Turn() { lane_.leave(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Lane& lane_;
};

class Workers final : public TemplateWorkers, public std::enable_shared_from_this<Workers> {
 public:
  explicit Workers(const TemplateWorkersOptions& options)
      : options_(options), trusted_(options_, options.wait_max), others_(options_, options.wait_untrusted_max) {}

  std::shared_ptr<const ChatTemplate> make(std::string whose, TemplateSources sources) override;
  const TemplateWorkersOptions& options() const { return options_; }
  Lane& lane(bool is_trusted) { return is_trusted ? trusted_ : others_; }

 private:
  const TemplateWorkersOptions options_;
  Lane trusted_;
  Lane others_;
};

class ConfinedTemplate final : public ChatTemplate {
 public:
  ConfinedTemplate(std::shared_ptr<Workers> workers, std::string whose, TemplateSources sources)
      : workers_(std::move(workers)), whose_(std::move(whose)), sources_(std::move(sources)), digest_(sources_.digest()),
        tokens_(text_internal::tokens_json(sources_.special_tokens)), record_(workers_->options().record) {}

  Result<ChatText> render(const ChatInput& input) const override;
  const std::string& source() const override { return sources_.main(); }
  const std::string& digest() const override { return digest_; }

 private:
  Status check_pause() const;
  void note(const Lane::Outcome& outcome, size_t order_bytes) const;

  const std::shared_ptr<Workers> workers_;
  const std::string whose_;
  const TemplateSources sources_;
  const std::string digest_;
  const std::string tokens_;
  const RealClock clock_;
  mutable std::mutex mutex_;
  mutable TemplateRecord record_;
  mutable Status last_trouble_;
};

Status ConfinedTemplate::check_pause() const {
  const std::lock_guard lock(mutex_);
  const Duration pause = record_.pause(clock_.now());
  if (pause <= Duration::zero()) return ok_status();
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(pause).count();
  return Status(last_trouble_.code(), last_trouble_.message() + "; it is not tried again for " + std::to_string(seconds) + " s");
}

void ConfinedTemplate::note(const Lane::Outcome& outcome, size_t order_bytes) const {
  using Outcome = TemplateRecord::Outcome;
  const std::lock_guard lock(mutex_);
  if (outcome.is_death) {
    record_.note(Outcome::kDied, Duration::zero(), clock_.now());
    last_trouble_ = outcome.answer.status();
  } else if (outcome.answer.ok()) {
    const Status& own = outcome.answer->status;
    const Duration cost = outcome.answer->cost / (1 + static_cast<int64_t>(order_bytes >> 20));
    record_.note(own.ok() ? Outcome::kRendered : Outcome::kFailed, cost, clock_.now());
    last_trouble_ = own.ok() ? data_loss("it takes too much time") : own;
  }
}

Result<ChatText> ConfinedTemplate::render(const ChatInput& input) const {
  const auto named = [this](const Status& status) { return status.with_context(whose_ + " chat template"); };
  if (Status pause = check_pause(); !pause.ok()) return named(pause);
  const std::string* with_tools = input.tools.is_null() ? nullptr : sources_.with_tools();
  const std::string input_text = text_internal::input_json(input);
  const std::string order = encode(RenderOrder{
      .source = with_tools != nullptr ? *with_tools : sources_.main(), .special_tokens = tokens_, .input = input_text});
  bool is_trusted = false;
  {
    const std::lock_guard lock(mutex_);
    is_trusted = record_.trusted();
  }
  Lane& lane = workers_->lane(is_trusted);
  if (Status entered = lane.enter(); !entered.ok()) return named(entered);
  const Turn turn(lane);
  if (Status pause = check_pause(); !pause.ok()) return named(pause);  // it died meanwhile, at somebody else's order
  Lane::Outcome outcome = lane.render(order);
  note(outcome, order.size());
  if (!outcome.answer.ok()) return named(outcome.answer.status());
  if (outcome.answer->status.code() == Code::kInvalidArgument) return outcome.answer->status;  // its own words
  if (!outcome.answer->status.ok()) return named(outcome.answer->status);
  return std::move(outcome.answer->text);
}

std::shared_ptr<const ChatTemplate> Workers::make(std::string whose, TemplateSources sources) {
  return std::make_shared<ConfinedTemplate>(shared_from_this(), std::move(whose), std::move(sources));
}

void add_base_tokens(const Tokenizer& base, Json& tokens) {
  const auto add = [&](const char* name, std::optional<TokenId> id) {
    if (!id || tokens.contains(name)) return;
    if (const auto text = base.token(*id)) tokens[name] = *text;
  };
  add("bos_token", base.bos());
  add("eos_token", base.eos());
}

}  // namespace

Result<std::shared_ptr<const ChatTemplate>> TemplateWorkers::find(const std::string& whose, const TextFiles& files,
                                                                  const Tokenizer& base) {
  Result<TemplateSources> sources = read_template_sources(files);
  if (sources.status().code() == Code::kNotFound) return std::shared_ptr<const ChatTemplate>();
  if (!sources.ok()) return sources.status().with_context(whose + " chat template");
  add_base_tokens(base, sources->special_tokens);
  return make(whose, std::move(*sources));
}

std::shared_ptr<TemplateWorkers> TemplateWorkers::create(const TemplateWorkersOptions& options) {
  return std::make_shared<Workers>(options);
}

}  // namespace umbel
