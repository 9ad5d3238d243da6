# Debian 12 packages that umbel is built and tested with; sourced by the other scripts. Why each is here: docs/dependencies.md.
UMBEL_PACKAGES_BUILD="g++ cmake ninja-build ccache git ca-certificates pkg-config python3
  libboost1.81-dev nlohmann-json3-dev libcli11-dev libspdlog-dev prometheus-cpp-dev
  libyaml-cpp-dev libpcre2-dev libcurl4-openssl-dev libssl-dev zlib1g-dev libzstd-dev libicu-dev libsqlite3-dev libgtest-dev libgmock-dev"
UMBEL_PACKAGES_TEST="bubblewrap clang-16 libclang-rt-16-dev python3-venv curl dpkg-dev"
UMBEL_PACKAGES_RUST="rustc-web cargo-web"

# install_packages NAME...: installs what is missing, and says so; needs root or sudo only then.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "installing: ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these Debian packages are missing, and there is no sudo: ${missing[*]}" >&2; return 2; }
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# A Rust toolchain new enough for text/rust: an existing one, else Debian's.
ensure_rust() {
  export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  command -v cargo >/dev/null && command -v rustc >/dev/null && return 0
  install_packages $UMBEL_PACKAGES_RUST
}

# What was compiled once is not compiled again, whichever folder it is checked out in: paths inside it are hashed as relative ones,
# and precompiled headers by their content.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
