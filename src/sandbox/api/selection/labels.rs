//! Label selectors as URLs have them: `app=shop,tier in (web,api),!old,weight>3`
//! (apimachinery/pkg/labels/selector.go, v0.34.4).

use std::collections::BTreeMap;

use crate::sandbox::error::ApiError;

/// Requirements of one selector.
const REQUIREMENTS_MAX: usize = 1_000;

/// Requirements, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sandbox::api) struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Mark(&'static str),
}

impl LabelSelector {
    /// Reads a selector; an empty text selects everything.
    ///
    /// # Errors
    /// 400, with the place that is wrong.
    pub(in crate::sandbox::api) fn parse(text: &str) -> Result<Self, ApiError> {
        let tokens = tokens(text);
        let mut parser = Parser { tokens: &tokens, at: 0 };
        let mut requirements = Vec::new();
        if tokens.is_empty() {
            return Ok(Self(requirements));
        }
        loop {
            if requirements.len() >= REQUIREMENTS_MAX {
                return Err(ApiError::bad_request("unable to parse requirement: too many requirements"));
            }
            requirements.push(
                parser
                    .requirement()
                    .map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))?,
            );
            match parser.next() {
                None => return Ok(Self(requirements)),
                Some(Token::Mark(",")) => {}
                Some(found) => {
                    let found = found.text();
                    let why = format!("unable to parse requirement: found '{found}', expected: ',' or 'end of string'");
                    return Err(ApiError::bad_request(why));
                }
            }
        }
    }

    /// Whether everything is selected.
    pub(in crate::sandbox::api) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object with these labels is selected.
    pub(in crate::sandbox::api) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&String>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
            Test::GreaterThan(than) => number().is_some_and(|number| number > *than),
            Test::LessThan(than) => number().is_some_and(|number| number < *than),
        }
    }
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Mark(mark) => mark,
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    const MARKS: [&str; 9] = ["==", "!=", "=", "!", ",", "(", ")", ">", "<"];
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_whitespace() {
            rest = &rest[1..];
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            tokens.push(Token::Mark(mark));
            rest = &rest[mark.len()..];
        } else {
            let end = rest.find(|c: char| c.is_ascii_whitespace() || "=!,()<>".contains(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    tokens
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == Some(&Token::Mark("!"));
        if absent {
            self.next();
        }
        let key = match self.next() {
            Some(Token::Word(word)) => word.clone(),
            found => return Err(wrong(found, "!, identifier, or 'end of string'")),
        };
        check_key(&key)?;
        if absent {
            return Ok(Requirement { key, test: Test::DoesNotExist });
        }
        let test = match self.peek() {
            None | Some(Token::Mark(",")) => return Ok(Requirement { key, test: Test::Exists }),
            Some(_) => self.test()?,
        };
        Ok(Requirement { key, test })
    }

    fn test(&mut self) -> Result<Test, String> {
        match self.next() {
            Some(Token::Mark("=" | "==")) => Ok(Test::In(vec![self.exact()?])),
            Some(Token::Mark("!=")) => Ok(Test::NotIn(vec![self.exact()?])),
            Some(Token::Mark(">")) => Ok(Test::GreaterThan(self.number()?)),
            Some(Token::Mark("<")) => Ok(Test::LessThan(self.number()?)),
            Some(Token::Word(word)) if word == "in" => Ok(Test::In(self.set()?)),
            Some(Token::Word(word)) if word == "notin" => Ok(Test::NotIn(self.set()?)),
            found => Err(wrong(found, "in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn exact(&mut self) -> Result<String, String> {
        match self.peek() {
            // `app=` asks for an empty value.
            None | Some(Token::Mark(",")) => Ok(String::new()),
            Some(Token::Word(word)) => {
                self.next();
                check_value(word)?;
                Ok(word.clone())
            }
            found => Err(wrong(found, "identifier")),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let text = self.exact()?;
        text.parse().map_err(|_| "for 'Gt', 'Lt' operators, the value must be an integer".to_owned())
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Some(Token::Mark("(")) => {}
            found => return Err(wrong(found, "'('")),
        }
        let mut values = Vec::new();
        let mut word = String::new();
        loop {
            match self.next() {
                Some(Token::Word(found)) if word.is_empty() => {
                    check_value(found)?;
                    word.clone_from(found);
                }
                Some(Token::Mark(",")) => values.push(std::mem::take(&mut word)),
                Some(Token::Mark(")")) => {
                    values.push(word);
                    return Ok(values);
                }
                found => return Err(wrong(found, "',', or ')'")),
            }
        }
    }
}

fn wrong(found: Option<&Token>, expected: &str) -> String {
    format!("found '{}', expected: {expected}", found.map_or("", Token::text))
}

fn check_key(key: &str) -> Result<(), String> {
    let name = key.rsplit('/').next().unwrap_or_default();
    let fine = !name.is_empty()
        && name.len() <= 63
        && key.matches('/').count() <= 1
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    if fine {
        return Ok(());
    }
    Err(format!(
        "<nil>: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must \
         start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
         validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    ))
}

fn check_value(value: &str) -> Result<(), String> {
    let fine = value.len() <= 63
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value.ends_with(|c: char| c.is_ascii_alphanumeric());
    if fine || value.is_empty() {
        return Ok(());
    }
    Err(format!(
        "values[0][]: Invalid value: {value:?}: a valid label must be an empty string or consist of alphanumeric \
         characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
         'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_upstream_reads_them() {
        let web: BTreeMap<String, String> =
            [("app", "shop"), ("tier", "web"), ("weight", "5")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let none = BTreeMap::new();
        let table = [
            ("", true, true),
            ("app=shop", true, false),
            ("app==shop", true, false),
            ("app!=shop", false, true),
            ("app = shop , tier=web", true, false),
            ("app", true, false),
            ("!app", false, true),
            ("app in (shop,store)", true, false),
            ("app in (store)", false, false),
            ("app notin (shop)", false, true),
            ("tier notin (api,),app", true, false),
            ("weight>4", true, false),
            ("weight<5", false, false),
            ("app=", false, false),
            ("example.com/x=y", false, false),
            ("in in (in)", false, false),
        ];
        for (text, for_web, for_none) in table {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!((selector.matches(&web), selector.matches(&none)), (for_web, for_none), "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in
            [",", "app=(", "a b", "app in shop", "app in (", "=x", "!", "app=shop,,", "-a", "a>b", "a/b/c", "a=-"]
        {
            assert_eq!(LabelSelector::parse(text).map_err(|error| error.code), Err(400), "{text}");
        }
    }
}
