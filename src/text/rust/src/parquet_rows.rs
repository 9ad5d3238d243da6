//! Rows of a Parquet file as lines of JSON. Whoever calls this confines the process first (data/parquet_worker): the crate trusts
//! a file's own counts when it takes memory.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, FileReader, Length};
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row};
use ::parquet::schema::types::Type;
use bytes::Bytes as Shared;
use serde_json::{Map, Number, Value};

use crate::abi::{guard, Bytes, Failure, INVALID, UNSUPPORTED};

/// The file, read at places; no descriptor beyond its own.
struct Pages {
    file: Arc<File>,
    size: u64,
}

struct Cursor {
    file: Arc<File>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(target, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Pages {
    type T = std::io::BufReader<Cursor>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(std::io::BufReader::new(Cursor { file: self.file.clone(), at: start }))
    }
    fn get_bytes(&self, start: u64, length: usize) -> Result<Shared, ParquetError> {
        if start > self.size || length as u64 > self.size - start {
            let error = Error::new(ErrorKind::UnexpectedEof, "it names bytes beyond the file's end");
            return Err(ParquetError::External(Box::new(error)));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

pub struct Parquet {
    rows: RowIter<'static>,
    given: u64,
}

fn failure(error: ParquetError) -> Failure {
    let code = if matches!(error, ParquetError::NYI(_)) { UNSUPPORTED } else { INVALID };
    let words = error.to_string();
    let words = words.strip_prefix("Parquet error: ").or(words.strip_prefix("External: ")).unwrap_or(&words);
    Failure { code, message: words.to_string() }
}

/// Two fields of one name would become one in JSON.
fn check_names(group: &Type, place: &str) -> Result<(), Failure> {
    let fields = group.get_fields();
    let mut names = std::collections::HashSet::new();
    for field in fields {
        if !names.insert(field.name()) {
            return Err(Failure::invalid(format!("it has two columns \"{place}{}\"", field.name())));
        }
        if field.is_group() {
            check_names(field, &format!("{place}{}.", field.name()))?;
        }
    }
    Ok(())
}

fn open(file: File) -> Result<Parquet, Failure> {
    let size = file.metadata().map_err(|error| Failure::invalid(error.to_string()))?.len();
    let reader = SerializedFileReader::new(Pages { file: Arc::new(file), size }).map_err(failure)?;
    check_names(reader.metadata().file_metadata().schema(), "")?;
    Ok(Parquet { rows: RowIter::from_file_into(Box::new(reader)), given: 0 })
}

fn object(row: &Row) -> Value {
    let fields = row.get_column_iter();
    Value::Object(fields.map(|(name, field)| (name.clone(), value(field))).collect::<Map<_, _>>())
}

fn value(field: &Field) -> Value {
    match field {
        // The shortest text that is this number, not that of its 64-bit neighbour.
        Field::Float(number) => {
            number.to_string().parse::<f64>().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        }
        // Old writers do not mark their texts as such.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::String(text.to_string()),
            Err(_) => field.to_json_value(),
        },
        Field::Group(row) => object(row),
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(value).collect()),
        Field::MapInternal(map) => {
            let key = |field: &Field| match value(field) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(map.entries().iter().map(|(name, field)| (key(name), value(field))).collect())
        }
        other => other.to_json_value(),
    }
}

impl Parquet {
    /// Rows until there are so many bytes; nothing at the end.
    fn next(&mut self, wanted: usize) -> Result<Vec<u8>, Failure> {
        let mut lines = Vec::new();
        while lines.len() < wanted {
            let Some(row) = self.rows.next() else { break };
            let row = row.map_err(|error| {
                let told = failure(error);
                Failure { code: told.code, message: format!("row {}: {}", self.given + 1, told.message) }
            })?;
            serde_json::to_writer(&mut lines, &object(&row)).map_err(|error| Failure::invalid(error.to_string()))?;
            lines.push(b'\n');
            self.given += 1;
        }
        Ok(lines)
    }
}

/// # Safety
/// `descriptor` is open, and nobody else's from now on.
#[no_mangle]
pub unsafe extern "C" fn umbel_parquet_open(descriptor: i32, out: *mut *mut Parquet, error: *mut Bytes) -> i32 {
    guard(error, || {
        let file = open(File::from_raw_fd(descriptor))?;
        out.write(Box::into_raw(Box::new(file)));
        Ok(())
    })
}

/// # Safety
/// `file` came from umbel_parquet_open; one thread at a time.
#[no_mangle]
pub unsafe extern "C" fn umbel_parquet_next(
    file: *mut Parquet,
    wanted: usize,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        out.write((*file).next(wanted)?.into());
        Ok(())
    })
}

/// # Safety
/// `file` came from umbel_parquet_open and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn umbel_parquet_free(file: *mut Parquet) {
    if !file.is_null() {
        drop(Box::from_raw(file));
    }
}
