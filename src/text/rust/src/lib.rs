//! umbel_text: Hugging Face tokenizers and chat templates behind a small C ABI (`abi.h`).
//!
//! Every entry catches panics; nothing unwinds into C++.

mod abi;
mod tokenizer;
