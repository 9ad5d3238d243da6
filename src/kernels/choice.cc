#include "kernels/choice.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <vector>

#include "kernels/api.h"
#include "kernels/machine_limits.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace umbel::kernels {
namespace {

// Raise when the kernels change so much that a stored measurement no longer speaks for them.
constexpr int kStoredFormat = 1;

constexpr std::string_view kIsaNames[] = {"generic", "avx2", "avx512", "amx"};
constexpr std::string_view kArithmeticNames[] = {"f32-fma", "bf16-dot", "amx-bf16", "int8-dot"};

template <typename Kind>
std::string names(const std::vector<Kind>& kinds, std::string_view (*name)(Kind)) {
  std::string text;
  for (Kind kind : kinds) text += (text.empty() ? "" : ", ") + std::string(name(kind));
  return text;
}

#if defined(__x86_64__)
// Flags that compilers name differently or not at all. For a processor whose AVX and AVX-512 are usable already.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1u << 29)) != 0;
}
bool has_avx512_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1u << 5)) != 0;
}

bool has_avx512_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & (1u << 11)) != 0;
}

// AMX: the instructions are there, the system saves their registers, and this process may use them. Asking for the
// permission twice is harmless.
bool amx_permitted() {
  constexpr unsigned kTile = 1u << 24;
  constexpr unsigned kBf16 = 1u << 22;
  constexpr unsigned kOsxsave = 1u << 27;
  constexpr unsigned kTileState = 0x60000;  // XCR0 bits 17 and 18
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsxsave) == 0) return false;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTile) == 0 || (d & kBf16) == 0) return false;
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & kTileState) != kTileState) return false;
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// A product of small whole numbers must come out exactly, or the tiles are not used: this kernel was written and tested
// against a model of the instructions on machines without them.
bool amx_agrees() {
  constexpr int64_t kRows = 21;
  constexpr int64_t kOut = 45;
  constexpr int64_t kIn = 70;
  std::vector<float> x(kRows * kIn), w(kOut * kIn), y(kRows * kOut);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i * 7 % 31) - 15);
  for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(static_cast<int>(i * 5 % 29) - 14);
  const Choice choice{.isa = Isa::kAmx, .arithmetic = Arithmetic::kAmxBf16, .reason = "trial"};
  const FrozenMatrix weight = FrozenMatrix::pack({DType::kF32, {kOut, kIn}, w.data()}, DType::kBF16, choice);
  ThreadPool pool(1);
  Arena scratch(matmul_scratch_bytes(kRows, kOut, kIn, 1));
  Context context{table_for(Isa::kAmx), choice, pool, scratch};
  matmul(context, weight, {x.data(), kRows, kIn}, {y.data(), kRows, kOut});
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t out = 0; out < kOut; ++out) {
      float sum = 0;
      for (int64_t k = 0; k < kIn; ++k) sum += x[row * kIn + k] * w[out * kIn + k];
      if (y[row * kOut + out] != sum) return false;
    }
  }
  return true;
}
#endif

// The entry of `known` called `name`, if this machine has it.
template <typename Kind>
Result<Kind> pick(std::string_view what, std::string_view name, std::span<const std::string_view> known,
                  const std::vector<Kind>& available, std::string_view (*name_of)(Kind)) {
  for (size_t i = 0; i < known.size(); ++i) {
    if (known[i] != name) continue;
    for (Kind kind : available) {
      if (kind == static_cast<Kind>(i)) return kind;
    }
    return unsupported(std::string(what) + " \"" + std::string(name) + "\" does not run on this machine (it has: " +
                       names(available, name_of) + ")");
  }
  return invalid_argument("unknown " + std::string(what) + " \"" + std::string(name) + "\" (this machine has: auto, " +
                          names(available, name_of) + ")");
}

// The processor's model string, as a file name can hold it.
std::string machine_key() {
  std::string model = "unknown";
#if defined(__x86_64__)
  unsigned words[12] = {};
  bool found = true;
  for (unsigned leaf = 0; leaf < 3; ++leaf) {
    unsigned* at = words + 4 * leaf;
    found = found && __get_cpuid(0x80000002u + leaf, at, at + 1, at + 2, at + 3) != 0;
  }
  if (found) model.assign(reinterpret_cast<const char*>(words), strnlen(reinterpret_cast<const char*>(words), 48));
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) != 0) {
    char signature[16];
    std::snprintf(signature, sizeof(signature), "-%08x", a);
    model += signature;
  }
#endif
  for (char& c : model) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
    if (!plain) c = '_';
  }
  return model;
}

std::filesystem::path stored_path(const std::string& cache_dir, Isa isa) {
  return std::filesystem::path(cache_dir) / ("arithmetic-v" + std::to_string(kStoredFormat) + "-" +
                                             std::string(isa_name(isa)) + "-" + machine_key() + ".txt");
}

// One line: the arithmetic's name, a tab, the measurement it rests on.
struct Stored {
  Arithmetic arithmetic;
  std::string measurement;
};

std::optional<Stored> read_stored(const std::filesystem::path& path, const std::vector<Arithmetic>& available) {
  std::ifstream file(path);
  std::string name;
  std::string measurement;
  if (!std::getline(file, name, '\t') || !std::getline(file, measurement)) return std::nullopt;
  for (Arithmetic arithmetic : available) {
    if (arithmetic_name(arithmetic) == name) return Stored{arithmetic, measurement};
  }
  return std::nullopt;
}

// Writes beside the target and renames into place, so that a reader sees all or nothing. False when it can't.
bool write_stored(const std::filesystem::path& path, const Stored& stored) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  const std::filesystem::path part = path.string() + "." + std::to_string(getpid()) + ".part";
  {
    std::ofstream file(part);
    file << arithmetic_name(stored.arithmetic) << '\t' << stored.measurement << '\n';
    file.close();
    if (file.fail()) return false;
  }
  std::filesystem::rename(part, path, error);
  return !error;
}

Stored measure(Isa isa, const std::vector<Arithmetic>& available) {
  Stored best{Arithmetic::kF32Fma, ""};
  double best_rate = 0;
  for (Arithmetic arithmetic : available) {
    const double rate = arithmetic_gflops(isa, arithmetic);
    char text[64];
    std::snprintf(text, sizeof(text), "%s%s %.0f GFLOP/s", best.measurement.empty() ? "" : ", ",
                  std::string(arithmetic_name(arithmetic)).c_str(), rate);
    best.measurement += text;
    if (rate > best_rate) {
      best_rate = rate;
      best.arithmetic = arithmetic;
    }
  }
  return best;
}

}  // namespace

std::string_view isa_name(Isa isa) { return kIsaNames[static_cast<int>(isa)]; }
std::string_view arithmetic_name(Arithmetic kind) { return kArithmeticNames[static_cast<int>(kind)]; }

std::vector<Isa> available_isas() {
  std::vector<Isa> isas = {Isa::kGeneric};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (avx2) isas.push_back(Isa::kAvx2);
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512) isas.push_back(Isa::kAvx512);
  if (avx512 && has_avx512_bf16() && amx_permitted() && amx_agrees()) isas.push_back(Isa::kAmx);
#endif
  return isas;
}

std::vector<Arithmetic> available_arithmetics(Isa isa) {
  std::vector<Arithmetic> kinds = {Arithmetic::kF32Fma};
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512 && has_avx512_bf16()) kinds.push_back(Arithmetic::kBf16Dot);
  if (isa == Isa::kAmx) kinds.push_back(Arithmetic::kAmxBf16);
#endif
  return kinds;
}

Arithmetic int8_arithmetic(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512 && has_avx512_vnni()) return Arithmetic::kInt8Dot;
#endif
  (void)isa;
  return Arithmetic::kF32Fma;
}

std::string default_cache_dir() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/') {
    return std::string(cache) + "/umbel";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return std::string(home) + "/.cache/umbel";
  return "";
}

Result<Choice> choose(const ChoiceOptions& options) {
  Choice choice;
  const std::vector<Isa> isas = available_isas();
  choice.isa = isas.back();
  if (options.isa != "auto") {
    ASSIGN_OR_RETURN(choice.isa, pick<Isa>("isa", options.isa, kIsaNames, isas, isa_name));
  }
  // Forcing f32 means f32, whatever the weights are.
  if (options.arithmetic != arithmetic_name(Arithmetic::kF32Fma)) choice.int8 = int8_arithmetic(choice.isa);
  const std::string isa_reason = options.isa == "auto" ? "" : "isa forced; ";
  const std::vector<Arithmetic> kinds = available_arithmetics(choice.isa);
  if (options.arithmetic != "auto") {
    ASSIGN_OR_RETURN(choice.arithmetic,
                     pick<Arithmetic>("arithmetic", options.arithmetic, kArithmeticNames, kinds, arithmetic_name));
    choice.reason = isa_reason + "arithmetic forced";
    return choice;
  }
  if (kinds.size() == 1) {
    choice.reason = isa_reason + "the only arithmetic of this isa";
    return choice;
  }
  const std::filesystem::path path = stored_path(options.cache_dir, choice.isa);
  if (!options.cache_dir.empty()) {
    if (const std::optional<Stored> stored = read_stored(path, kinds)) {
      choice.arithmetic = stored->arithmetic;
      choice.reason = isa_reason + "stored in " + path.string() + ": " + stored->measurement;
      return choice;
    }
  }
  const Stored measured = measure(choice.isa, kinds);
  choice.arithmetic = measured.arithmetic;
  choice.reason = isa_reason + "measured: " + measured.measurement;
  if (options.cache_dir.empty()) {
    choice.reason += " (not stored)";
  } else if (!write_stored(path, measured)) {
    choice.reason += " (could not be stored in " + options.cache_dir + ")";
  }
  return choice;
}

}  // namespace umbel::kernels
