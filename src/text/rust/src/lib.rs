//! umbel_text: Hugging Face tokenizers and chat templates behind a small C ABI (`abi.h`).
//!
//! Every entry catches panics; nothing unwinds into C++.

mod abi;
mod clock;
mod generation;
mod jinja;
mod memory;
mod parquet_rows;
mod python_json;
mod python_methods;
mod source;
mod template;
mod tokenizer;
mod train;
