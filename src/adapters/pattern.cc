#include "adapters/pattern.h"

#include <memory>
#include <optional>
#include <utility>

namespace umbel {
namespace {

constexpr size_t kPatternBytesMax = 4096;
constexpr size_t kProgramMax = 8192;
constexpr int kDepthMax = 40;
constexpr int kRepeatMax = 1000;
constexpr int64_t kStepsMax = 1'000'000;

using ByteSet = std::bitset<256>;

bool is_word(unsigned char byte) {
  return byte == '_' || (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

// \d, \w, \s and their opposites; nullopt for any other letter.
std::optional<ByteSet> escape_class(char letter) {
  ByteSet set;
  for (int byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<unsigned char>(byte);
    switch (letter) {
      case 'd':
      case 'D':
        set[byte] = value >= '0' && value <= '9';
        break;
      case 'w':
      case 'W':
        set[byte] = is_word(value);
        break;
      case 's':
      case 'S':
        set[byte] = value == ' ' || (value >= 9 && value <= 13);
        break;
      default:
        return std::nullopt;
    }
  }
  return letter < 'a' ? ~set : set;
}

// The byte that an escaped letter stands for; nullopt when it stands for none.
std::optional<char> escape_byte(char letter) {
  switch (letter) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    default:
      break;
  }
  if (is_word(static_cast<unsigned char>(letter)) && letter != '_') return std::nullopt;
  return letter;
}

struct Node {
  enum class Kind { kSet, kSequence, kChoice, kRepeat, kEdge, kAhead } kind = Kind::kSequence;
  ByteSet set;
  char edge = 0;  // kEdge: ^ $ b B; kAhead: = !
  int least = 0;
  int most = 0;  // kRepeat: -1 = no upper bound
  std::vector<std::unique_ptr<Node>> children;
};
using NodePtr = std::unique_ptr<Node>;

NodePtr make(Node::Kind kind) {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  return node;
}

}  // namespace

// Recursive descent over the text, then emission of the program.
class PatternCompiler {
 public:
  explicit PatternCompiler(std::string_view text) : text_(text) {}

  Result<Pattern> compile() {
    if (text_.size() > kPatternBytesMax) {
      return Status(Code::kTooLong, "the pattern has " + std::to_string(text_.size()) + " bytes, at most " +
                                        std::to_string(kPatternBytesMax) + " are allowed");
    }
    ASSIGN_OR_RETURN(NodePtr root, choice(0));
    if (!at_end()) return bad("unbalanced parenthesis");
    emit(*root);
    add({Pattern::Op::kMatch});
    if (overflow_) return Status(Code::kTooLong, "the pattern '" + std::string(text_) + "' is too large");
    pattern_.text_ = text_;
    return std::move(pattern_);
  }

 private:
  bool at_end() const { return position_ >= text_.size(); }
  char peek() const { return text_[position_]; }
  bool eat(std::string_view token) {
    if (text_.substr(position_, token.size()) != token) return false;
    position_ += token.size();
    return true;
  }
  Status bad(const std::string& why) const {
    return invalid_argument("the pattern '" + std::string(text_) + "' is not a regular expression: " + why +
                            " at character " + std::to_string(position_));
  }
  Status refused(const std::string& what) const {
    return unsupported("the pattern '" + std::string(text_) + "' uses " + what + ", which is not supported here");
  }

  Result<NodePtr> choice(int depth) {
    if (depth > kDepthMax) return Status(Code::kTooLong, "the pattern nests deeper than 40 groups");
    NodePtr node = make(Node::Kind::kChoice);
    do {
      ASSIGN_OR_RETURN(NodePtr branch, sequence(depth));
      node->children.push_back(std::move(branch));
    } while (eat("|"));
    return node;
  }

  Result<NodePtr> sequence(int depth) {
    NodePtr node = make(Node::Kind::kSequence);
    while (!at_end() && peek() != '|' && peek() != ')') {
      ASSIGN_OR_RETURN(NodePtr atom_node, atom(depth));
      ASSIGN_OR_RETURN(NodePtr item, repeat(std::move(atom_node)));
      node->children.push_back(std::move(item));
    }
    return node;
  }

  Result<NodePtr> repeat(NodePtr atom_node) {
    int least = 0, most = -1;
    if (at_end()) return atom_node;
    if (eat("*")) {
    } else if (eat("+")) {
      least = 1;
    } else if (eat("?")) {
      most = 1;
    } else if (peek() != '{' || !counts(least, most)) {
      return atom_node;
    }
    if (most >= 0 && least > most) return bad("the repeat's minimum exceeds its maximum");
    if (least > kRepeatMax || most > kRepeatMax)
      return Status(Code::kTooLong, "the pattern repeats more than 1000 times");
    if (eat("+")) return refused("possessive repetition");
    eat("?");  // lazy or greedy is the same for a full match
    if (!at_end() && (peek() == '*' || peek() == '+' || peek() == '?')) return bad("multiple repeat");
    NodePtr node = make(Node::Kind::kRepeat);
    node->least = least;
    node->most = most;
    node->children.push_back(std::move(atom_node));
    return node;
  }

  // {m}, {m,}, {,n}, {m,n}; anything else after "{" is literal text, as in Python.
  bool counts(int& least, int& most) {
    const size_t start = position_++;
    const auto number = [&]() -> std::optional<int> {
      std::optional<int> value;
      while (!at_end() && peek() >= '0' && peek() <= '9') {
        value = std::min(value.value_or(0) * 10 + (peek() - '0'), kRepeatMax + 1);
        ++position_;
      }
      return value;
    };
    const std::optional<int> first = number();
    const bool comma = eat(",");
    const std::optional<int> second = comma ? number() : first;
    if ((!first && !comma) || !eat("}")) {
      position_ = start;
      return false;
    }
    least = first.value_or(0);
    most = second.value_or(-1);
    return true;
  }

  Result<NodePtr> atom(int depth) {
    const char byte = text_[position_];
    if (byte == '*' || byte == '+' || byte == '?') return bad("nothing to repeat");
    if (byte == '(') return group(depth);
    if (byte == '[') return byte_class();
    if (byte == '\\') return escaped();
    ++position_;
    if (byte == '^' || byte == '$') return edge(byte);
    NodePtr node = make(Node::Kind::kSet);
    if (byte == '.') {
      node->set.set();
      node->set.reset('\n');
    } else {
      node->set.set(static_cast<unsigned char>(byte));
    }
    return node;
  }

  Result<NodePtr> edge(char which) {
    NodePtr node = make(Node::Kind::kEdge);
    node->edge = which;
    return node;
  }

  Result<NodePtr> group(int depth) {
    ++position_;
    char ahead = 0;
    if (eat("?")) {
      if (eat("=")) {
        ahead = '=';
      } else if (eat("!")) {
        ahead = '!';
      } else if (eat("P<")) {
        const size_t end = text_.find('>', position_);
        if (end == std::string_view::npos) return bad("a group name without end");
        position_ = end + 1;
      } else if (eat("<")) {
        return refused("lookbehind");
      } else if (eat("P=")) {
        return refused("a back reference");
      } else if (!eat(":")) {
        return refused("an inline flag or a conditional group");
      }
    }
    ASSIGN_OR_RETURN(NodePtr inner, choice(depth + 1));
    if (!eat(")")) return bad("missing )");
    if (ahead == 0) return inner;
    NodePtr node = make(Node::Kind::kAhead);
    node->edge = ahead;
    node->children.push_back(std::move(inner));
    return node;
  }

  Result<NodePtr> escaped() {
    ++position_;
    if (at_end()) return bad("a backslash at the end");
    const char letter = text_[position_++];
    if (letter == 'A') return edge('^');
    if (letter == 'Z') return edge('$');
    if (letter == 'b' || letter == 'B') return edge(letter);
    if (letter >= '0' && letter <= '9') return refused("a back reference or an octal escape");
    NodePtr node = make(Node::Kind::kSet);
    if (const auto set = escape_class(letter)) {
      node->set = *set;
    } else if (const auto literal = escape_byte(letter)) {
      node->set.set(static_cast<unsigned char>(*literal));
    } else {
      return refused(std::string("the escape \\") + letter);
    }
    return node;
  }

  Result<NodePtr> byte_class() {
    ++position_;
    NodePtr node = make(Node::Kind::kSet);
    const bool negated = eat("^");
    for (bool first = true; at_end() || peek() != ']' || first; first = false) {
      if (at_end()) return bad("missing ]");
      std::optional<unsigned char> low;
      RETURN_IF_ERROR(class_item(*node, low));
      if (!low || position_ + 1 >= text_.size() || peek() != '-' || text_[position_ + 1] == ']') {
        if (low) node->set.set(*low);
        continue;
      }
      ++position_;
      std::optional<unsigned char> high;
      RETURN_IF_ERROR(class_item(*node, high));
      if (!high || *high < *low) return bad("a bad range in a class");
      for (int value = *low; value <= *high; ++value) node->set.set(value);
    }
    ++position_;
    if (negated) node->set = ~node->set;
    return node;
  }

  // One member of a class: a byte (through `byte`), or an escaped set that is added at once.
  Status class_item(Node& node, std::optional<unsigned char>& byte) {
    char letter = text_[position_++];
    if (letter == '\\') {
      if (at_end()) return bad("a backslash at the end");
      letter = text_[position_++];
      if (const auto set = escape_class(letter)) {
        node.set |= *set;
        return ok_status();
      }
      const auto literal = escape_byte(letter);
      if (!literal) return refused(std::string("the escape \\") + letter + " in a class");
      letter = *literal;
    }
    byte = static_cast<unsigned char>(letter);
    return ok_status();
  }

  int32_t add(Pattern::Instruction instruction) {
    if (pattern_.program_.size() >= kProgramMax) {
      overflow_ = true;
      return 0;
    }
    pattern_.program_.push_back(instruction);
    return static_cast<int32_t>(pattern_.program_.size()) - 1;
  }
  int32_t here() const { return static_cast<int32_t>(pattern_.program_.size()); }

  void emit(const Node& node) {
    if (overflow_) return;
    switch (node.kind) {
      case Node::Kind::kSet:
        pattern_.sets_.push_back(node.set);
        add({Pattern::Op::kByteSet, static_cast<int32_t>(pattern_.sets_.size()) - 1});
        break;
      case Node::Kind::kSequence:
        for (const NodePtr& child : node.children) emit(*child);
        break;
      case Node::Kind::kChoice:
        emit_choice(node);
        break;
      case Node::Kind::kRepeat:
        emit_repeat(node);
        break;
      case Node::Kind::kEdge:
        emit_edge(node.edge);
        break;
      case Node::Kind::kAhead: {
        const int32_t at = add({node.edge == '=' ? Pattern::Op::kAhead : Pattern::Op::kNotAhead});
        emit(*node.children[0]);
        add({Pattern::Op::kMatch});
        if (!overflow_) pattern_.program_[at].x = here();
        break;
      }
    }
  }

  void emit_edge(char which) {
    switch (which) {
      case '^':
        add({Pattern::Op::kBegin});
        break;
      case '$':
        add({Pattern::Op::kEnd});
        break;
      case 'b':
        add({Pattern::Op::kWordEdge});
        break;
      default:
        add({Pattern::Op::kNotWordEdge});
        break;
    }
  }

  void emit_choice(const Node& node) {
    std::vector<int32_t> ends;
    for (size_t i = 0; i < node.children.size(); ++i) {
      if (i + 1 == node.children.size()) {
        emit(*node.children[i]);
        break;
      }
      const int32_t split = add({Pattern::Op::kSplit, here() + 1});
      emit(*node.children[i]);
      ends.push_back(add({Pattern::Op::kJump}));
      if (overflow_) return;
      pattern_.program_[split].y = here();
    }
    if (overflow_) return;
    for (const int32_t end : ends) pattern_.program_[end].x = here();
  }

  void emit_repeat(const Node& node) {
    const Node& body = *node.children[0];
    for (int i = 0; i < node.least; ++i) emit(body);
    if (node.most < 0) {
      const int32_t split = add({Pattern::Op::kSplit, here() + 1});
      emit(body);
      add({Pattern::Op::kJump, split});
      if (!overflow_) pattern_.program_[split].y = here();
      return;
    }
    std::vector<int32_t> splits;
    for (int i = node.least; i < node.most && !overflow_; ++i) {
      splits.push_back(add({Pattern::Op::kSplit, here() + 1}));
      emit(body);
    }
    if (overflow_) return;
    for (const int32_t split : splits) pattern_.program_[split].y = here();
  }

  std::string_view text_;
  size_t position_ = 0;
  Pattern pattern_;
  bool overflow_ = false;
};

// One match: the set of program positions that are alive, advanced byte by byte.
class PatternRun {
 public:
  PatternRun(const Pattern& pattern, std::string_view text) : pattern_(pattern), text_(text) {}

  bool exhausted() const { return steps_ > kStepsMax; }

  // From `start` at text position `begin`: the whole rest when `full`, any prefix of it otherwise.
  bool run(int32_t start, size_t begin, bool full) {
    const size_t size = pattern_.program_.size();
    std::vector<int32_t> current, next;
    std::vector<size_t> mark(size, SIZE_MAX);  // the position at which an instruction was last added
    follow(start, begin, current, mark);
    for (size_t at = begin;; ++at) {
      if (exhausted() || current.empty()) return false;
      for (const int32_t pc : current) {
        if (pattern_.program_[pc].op == Pattern::Op::kMatch && (!full || at == text_.size())) return true;
      }
      if (at == text_.size()) return false;
      next.clear();
      for (const int32_t pc : current) {
        const Pattern::Instruction& instruction = pattern_.program_[pc];
        if (instruction.op != Pattern::Op::kByteSet) continue;
        if (!pattern_.sets_[instruction.x][static_cast<unsigned char>(text_[at])]) continue;
        follow(pc + 1, at + 1, next, mark);
      }
      std::swap(current, next);
    }
  }

 private:
  bool word_edge(size_t at) const {
    const bool before = at > 0 && is_word(static_cast<unsigned char>(text_[at - 1]));
    const bool after = at < text_.size() && is_word(static_cast<unsigned char>(text_[at]));
    return before != after;
  }

  // Adds pc and all that follows it without eating a byte.
  void follow(int32_t pc, size_t at, std::vector<int32_t>& into, std::vector<size_t>& mark) {
    std::vector<int32_t> stack = {pc};
    while (!stack.empty() && ++steps_ <= kStepsMax) {
      pc = stack.back();
      stack.pop_back();
      if (mark[pc] == at) continue;
      mark[pc] = at;
      const Pattern::Instruction& instruction = pattern_.program_[pc];
      switch (instruction.op) {
        case Pattern::Op::kByteSet:
        case Pattern::Op::kMatch:
          into.push_back(pc);
          break;
        case Pattern::Op::kSplit:
          stack.push_back(instruction.x);
          stack.push_back(instruction.y);
          break;
        case Pattern::Op::kJump:
          stack.push_back(instruction.x);
          break;
        case Pattern::Op::kBegin:
          if (at == 0) stack.push_back(pc + 1);
          break;
        case Pattern::Op::kEnd:
          if (at == text_.size()) stack.push_back(pc + 1);
          break;
        case Pattern::Op::kWordEdge:
          if (word_edge(at)) stack.push_back(pc + 1);
          break;
        case Pattern::Op::kNotWordEdge:
          if (!word_edge(at)) stack.push_back(pc + 1);
          break;
        case Pattern::Op::kAhead:
          if (run(pc + 1, at, false)) stack.push_back(instruction.x);
          break;
        case Pattern::Op::kNotAhead:
          if (!run(pc + 1, at, false)) stack.push_back(instruction.x);
          break;
      }
    }
  }

  const Pattern& pattern_;
  std::string_view text_;
  int64_t steps_ = 0;
};

Result<Pattern> Pattern::compile(std::string_view pattern) { return PatternCompiler(pattern).compile(); }

Result<bool> Pattern::full_match(std::string_view text) const {
  PatternRun run(*this, text);
  const bool matched = run.run(0, 0, true);
  if (run.exhausted()) return Status(Code::kTooLong, "the pattern '" + text_ + "' needs too many steps to match");
  return matched;
}

}  // namespace umbel
