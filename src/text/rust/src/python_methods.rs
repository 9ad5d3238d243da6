//! Python's methods on str, list and dict where minijinja-contrib has none or differs from Python.

use minijinja::value::{from_args, Kwargs, Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// str.isspace for one character.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.into())
}

/// Anything that minijinja has no method for. Methods that change their object (append, pop, update ...) are refused,
/// as they are by the sandbox of transformers.
pub fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => string_method(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq => list_method(value, method, args)?,
        ValueKind::Map => dict_method(value, method, args)?,
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args).map_err(|error| {
            if error.kind() == ErrorKind::UnknownMethod {
                wrong(format!("{} has no method named {method} in chat templates", value.kind()))
            } else {
                error
            }
        }),
    }
}

/// Where to strip: the characters of `chars`, or white space.
fn strip(text: &str, chars: Option<&str>, left: bool, right: bool) -> String {
    let hit = |c: char| chars.map_or_else(|| is_space(c), |set| set.contains(c));
    let text = if left { text.trim_start_matches(hit) } else { text };
    (if right { text.trim_end_matches(hit) } else { text }).to_string()
}

/// (separator, maxsplit) of split and rsplit, by place or by name.
fn split_arguments(args: &[Value]) -> Result<(Option<String>, usize), Error> {
    let (separator, limit, options): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
    let separator = match separator {
        Some(value) => Some(value),
        None => options.get::<Option<Value>>("sep")?,
    };
    let limit = match limit {
        Some(limit) => limit,
        None => options.get::<Option<i64>>("maxsplit")?.unwrap_or(-1),
    };
    options.assert_all_used()?;
    let separator = match separator.filter(|value| !value.is_none() && !value.is_undefined()) {
        None => None,
        Some(value) => {
            let text = value.as_str().ok_or_else(|| wrong("split: the separator must be a string"))?;
            if text.is_empty() {
                return Err(wrong("split: empty separator"));
            }
            Some(text.to_string())
        }
    };
    Ok((separator, usize::try_from(limit).unwrap_or(usize::MAX)))
}

fn split_spaces(text: &str, limit: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        match rest.find(is_space).filter(|_| out.len() < limit) {
            Some(at) => {
                out.push(rest[..at].to_string());
                rest = rest[at..].trim_start_matches(is_space);
            }
            None => {
                out.push(rest.trim_end_matches(is_space).to_string());
                break;
            }
        }
    }
    out
}

fn rsplit_spaces(text: &str, limit: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        match rest.char_indices().rev().find(|(_, c)| is_space(*c)).filter(|_| out.len() < limit) {
            Some((at, c)) => {
                out.push(rest[at + c.len_utf8()..].to_string());
                rest = rest[..at].trim_end_matches(is_space);
            }
            None => {
                out.push(rest.trim_start_matches(is_space).to_string());
                break;
            }
        }
    }
    out.reverse();
    out
}

fn split(text: &str, args: &[Value], from_right: bool) -> Result<Value, Error> {
    let (separator, limit) = split_arguments(args)?;
    let parts: Vec<String> = match (separator, from_right) {
        (None, false) => split_spaces(text, limit),
        (None, true) => rsplit_spaces(text, limit),
        (Some(separator), false) => text.splitn(limit.saturating_add(1), &separator).map(str::to_string).collect(),
        (Some(separator), true) => {
            let mut parts: Vec<_> = text.rsplitn(limit.saturating_add(1), &separator).map(str::to_string).collect();
            parts.reverse();
            parts
        }
    };
    Ok(Value::from(parts))
}

fn split_lines(text: &str, keep_ends: bool) -> Vec<String> {
    let is_break = |c: char| {
        matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(at) = rest.find(is_break) else {
            out.push(rest.to_string());
            break;
        };
        let width =
            if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(1, char::len_utf8) };
        out.push(rest[..if keep_ends { at + width } else { at }].to_string());
        rest = &rest[at + width..];
    }
    out
}

fn partition(text: &str, separator: &str, from_right: bool) -> Result<Value, Error> {
    if separator.is_empty() {
        return Err(wrong("partition: empty separator"));
    }
    let at = if from_right { text.rfind(separator) } else { text.find(separator) };
    let parts = match at {
        Some(at) => [&text[..at], separator, &text[at + separator.len()..]],
        None if from_right => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from(Tuple::new(parts.iter().map(|part| Value::from(*part)).collect())))
}

fn pad(text: &str, args: &[Value], method: &str) -> Result<String, Error> {
    let (width, fill): (i64, Option<&str>) = from_args(args)?;
    let mut fills = fill.unwrap_or(" ").chars();
    let (Some(fill), None) = (fills.next(), fills.next()) else {
        return Err(wrong(format!("{method}: the fill character must be exactly one character long")));
    };
    let width = width.clamp(0, 1 << 16) as usize;
    let length = text.chars().count();
    let missing = width.saturating_sub(length);
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        _ => missing / 2 + (missing & width & 1),
    };
    let line = |count: usize| fill.to_string().repeat(count);
    Ok(format!("{}{text}{}", line(left), line(missing - left)))
}

fn zero_fill(text: &str, width: i64) -> String {
    let missing = (width.clamp(0, 1 << 16) as usize).saturating_sub(text.chars().count());
    let (sign, digits) = match text.chars().next() {
        Some('+') | Some('-') => text.split_at(1),
        _ => ("", text),
    };
    format!("{sign}{}{digits}", "0".repeat(missing))
}

fn swap_case(text: &str) -> String {
    text.chars()
        .flat_map(|c| -> Vec<char> {
            if c.is_uppercase() {
                c.to_lowercase().collect()
            } else {
                c.to_uppercase().collect()
            }
        })
        .collect()
}

/// str.title: every letter that follows no letter becomes upper case.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        if in_word {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        in_word = c.is_alphabetic();
    }
    out
}

/// str.join: only strings can be joined.
fn join(separator: &str, args: &[Value]) -> Result<Value, Error> {
    let (items,): (&Value,) = from_args(args)?;
    let mut parts = Vec::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let text = item.as_str().map(str::to_string);
        parts.push(text.ok_or_else(|| wrong(format!("join: item {index} is not a string but {}", item.kind())))?);
    }
    Ok(Value::from(parts.join(separator)))
}

fn string_method(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let result = match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            Value::from(strip(text, chars, method != "rstrip", method != "lstrip"))
        }
        "split" | "rsplit" => split(text, args, method == "rsplit")?,
        "splitlines" => {
            let (keep_ends, options): (Option<bool>, Kwargs) = from_args(args)?;
            let by_name: Option<bool> = options.get("keepends")?;
            Value::from(split_lines(text, keep_ends.or(by_name).unwrap_or(false)))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            partition(text, separator, method == "rpartition")?
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(args)?;
            let at = if method == "index" { text.find(what) } else { text.rfind(what) };
            Value::from(text[..at.ok_or_else(|| wrong("substring not found"))?].chars().count())
        }
        "ljust" | "rjust" | "center" => Value::from(pad(text, args, method)?),
        "zfill" => Value::from(zero_fill(text, from_args::<(i64,)>(args)?.0)),
        "swapcase" => Value::from(swap_case(text)),
        "title" => Value::from(title(text)),
        "casefold" => Value::from(text.to_lowercase().replace('ß', "ss")),
        "isdecimal" => Value::from(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())),
        "isspace" => Value::from(!text.is_empty() && text.chars().all(is_space)),
        "join" => join(text, args)?,
        _ => return Ok(None),
    };
    Ok(Some(result))
}

fn list_method(list: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "index" => {
            let (what,): (&Value,) = from_args(args)?;
            let at = list.try_iter()?.position(|item| item == *what);
            Ok(Some(Value::from(at.ok_or_else(|| wrong("the value is not in the list"))?)))
        }
        "copy" => Ok(Some(list.clone())),
        _ => Ok(None),
    }
}

fn dict_method(dict: &Value, method: &str, _args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(if method == "copy" { Some(dict.clone()) } else { None })
}
