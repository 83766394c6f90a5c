//! What a scalar means: YAML 1.2.2, section 10.3.2, the core schema.

use serde_json::Value as Json;

/// Why a plain scalar has no meaning here, as what is wrong and what to write instead.
pub(super) type Refusal = (String, String);

/// The meaning of a scalar that is written without quotes.
pub(super) fn plain(text: &str) -> Result<Json, Refusal> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Json::Null),
        "true" | "True" | "TRUE" => return Ok(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Json::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&unsigned) {
        return Err((format!("{text} is not a number that can be used"), format!("write {text:?} if a text is meant")));
    }
    if let Some(meaning) = whole(text, unsigned)? {
        return Ok(meaning);
    }
    Ok(decimal(text, unsigned).unwrap_or_else(|| Json::String(text.to_owned())))
}

fn digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

fn whole(text: &str, unsigned: &str) -> Result<Option<Json>, Refusal> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(rest) = text.strip_prefix(prefix).filter(|rest| digits(rest, radix)) {
            let too_large = || (format!("{text} is too large a number"), format!("write {text:?} if a text is meant"));
            return u64::from_str_radix(rest, radix).map(|number| Some(number.into())).map_err(|_| too_large());
        }
    }
    if !digits(unsigned, 10) {
        return Ok(None);
    }
    // YAML 1.1, which kubectl reads, takes 0644 for octal; YAML 1.2 takes it for six hundred and forty-four.
    if unsigned.len() > 1 && unsigned.starts_with('0') {
        return Err((
            format!("{text} is octal to some readers and decimal to others"),
            format!("write {text:?} if a text is meant, 0o… if octal is, and without leading zeros if decimal is"),
        ));
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    let exact = plain.parse::<i64>().map(Json::from).or_else(|_| plain.parse::<u64>().map(Json::from));
    Ok(exact.ok().or_else(|| plain.parse().ok().and_then(super::number)))
}

fn decimal(text: &str, unsigned: &str) -> Option<Json> {
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let well_formed = all_digits(before)
        && all_digits(after)
        && !(before.is_empty() && after.is_empty())
        && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent), 10);
    if well_formed { text.parse().ok().and_then(super::number) } else { None }
}
