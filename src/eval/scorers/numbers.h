// Scorers of numbers.
//
// numeric: 1 where the answer's number equals the reference's. Which number of a text: take = last (default), first, or whole (nothing else may
// stand there). Thousands' commas are read; "$" and "%" beside a number are not part of it. tolerance (0): largest |difference| that is equal.
//
// mae, pearson, spearman: how far the answers' numbers lie from the references'. A row's score is its absolute error (lower is better); an answer
// without a number is as wrong as one at the farther end of `range` ([min, max]; default: the smallest and largest reference), and counted as
// "unreadable". summary: mae, rmse, pearson, spearman (average ranks of equals; null where one side is constant), over the rows that could be read.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "eval/scorers/options.h"
#include "eval/scorers/scorer.h"

namespace umbel::eval {

std::unique_ptr<Scorer> numeric_scorer(Options& options);
std::unique_ptr<Scorer> error_scorer(Options& options);

enum class Take : uint8_t { kLast, kFirst, kWhole };
std::optional<double> number_in(const std::string& text, Take take);

// nullopt with fewer than two values, or where one side is constant. REQUIRES as many of a as of b.
std::optional<double> pearson(std::span<const double> a, std::span<const double> b);
std::optional<double> spearman(std::span<const double> a, std::span<const double> b);

}  // namespace umbel::eval
