// A scorer's options: a map from a task's file or a flag, read key by key; what nobody asked for is an error.
#pragma once

#include <string>
#include <vector>

#include "base/problems.h"
#include "io/json.h"

namespace umbel::eval {

// One thread. Reading never fails: status() has what was wrong with all of it.
class Options {
 public:
  // values: an object, or null for none; what names the scorer in errors.
  Options(const OrderedJson& values, std::string what);

  double number(const char* name, double fallback);
  // From min on.
  int64_t integer(const char* name, int64_t fallback, int64_t min);
  bool flag(const char* name, bool fallback);
  std::string text(const char* name, std::string fallback);
  // One of these; the first is the fallback.
  std::string choice(const char* name, const std::vector<std::string>& choices);
  std::vector<std::string> texts(const char* name, std::vector<std::string> fallback);

  // What the caller found wrong with a value.
  void reject(const char* name, const std::string& expected) { complain(name, expected); }

  // To be called last: options that nobody read are errors, too.
  Status status();

 private:
  const OrderedJson* find(const char* name);
  void complain(const char* name, const std::string& expected);

  OrderedJson values_;
  std::string what_;
  std::vector<std::string> known_;
  Problems problems_;
};

}  // namespace umbel::eval
