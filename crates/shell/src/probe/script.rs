//! What is understood of shell scripts: assignments and a handful of commands, one after the other, with variables put in.
//! That is what the health scripts of the original, of its chart, and of containers in general are made of. Everything else is
//! refused by name: there is no shell.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::owner::name;

/// A script may be this long.
const MAX_BYTES: u64 = 64 << 10;
/// Scripts may call scripts this deep.
const MAX_DEPTH: usize = 4;
/// Status of what is not there, as of a shell.
const NOT_FOUND: u8 = 127;

/// What a script has done by others.
#[derive(Debug)]
pub(super) enum Call<'a> {
    /// `grpc_health_probe` with these arguments.
    Probe(&'a [String]),
    /// `sleep` with these.
    Pause(&'a [String]),
    /// The process itself with these, its name first.
    Own(Vec<OsString>),
}

/// Runs scripts.
pub(super) struct Shell<F> {
    variables: BTreeMap<String, String>,
    /// `set -e`: the first failure ends the script.
    at_once: bool,
    depth: usize,
    call: F,
}

/// Why a script cannot be run.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    line: usize,
    what: String,
}

/// A command line, cut into words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    line: usize,
    words: Vec<Word>,
}

/// A word before its variables are put in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Word {
    parts: Vec<Part>,
    /// Something of it stood in quotes: it is a word even when it is empty.
    quoted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `$name`, `${name:-otherwise}` (also for one that is empty), `${name-otherwise}`.
    Variable {
        name: String,
        otherwise: Option<String>,
        empty_too: bool,
        quoted: bool,
    },
}

impl<F: FnMut(Call<'_>) -> u8> Shell<F> {
    /// With the variables of the process.
    pub(super) fn from_process(call: F) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::new(variables, call)
    }

    fn new(variables: BTreeMap<String, String>, call: F) -> Self {
        Self {
            variables,
            at_once: false,
            depth: 0,
            call,
        }
    }

    /// Runs what follows `sh`: options, then `-c TEXT` or a file. Gives the status.
    pub(super) fn run(&mut self, words: &[String]) -> u8 {
        let mut text = false;
        for word in words {
            match word.strip_prefix('-') {
                Some(options) if !options.is_empty() && options.chars().all(|c| "celux".contains(c)) => {
                    text |= options.contains('c');
                    self.at_once |= options.contains('e');
                }
                Some(_) => return refuse(word, "no such option: there is no shell in this image"),
                None if text => return self.script("-c", word),
                None => return self.file(word),
            }
        }
        refuse("sh", "there is no shell in this image")
    }

    fn file(&mut self, path: &str) -> u8 {
        let mut text = String::new();
        // A pipe would be waited for as it is opened.
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return refuse(path, "not a file");
        }
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        match read {
            Ok(length) if length as u64 > MAX_BYTES => refuse(path, "longer than 64 KiB"),
            Ok(_) => self.script(path, &text),
            Err(error) => refuse(path, &error.to_string()),
        }
    }

    fn script(&mut self, place: &str, text: &str) -> u8 {
        if self.depth == MAX_DEPTH {
            return refuse(place, "scripts call one another too deep");
        }
        self.depth += 1;
        let outcome = commands(text).and_then(|commands| self.commands(&commands));
        self.depth -= 1;
        outcome.unwrap_or_else(|Refused { line, what }| {
            let place = format!("{place}: line {line}");
            refuse(
                &place,
                &format!("{what}: there is no shell in this image; of scripts, assignments and calls of grpc_health_probe, sleep and trireme are run"),
            )
        })
    }

    fn commands(&mut self, commands: &[Words]) -> Result<u8, Refused> {
        let mut status = 0;
        for command in commands {
            let words = self.expand(command)?;
            let Some((program, arguments)) = words.split_first() else {
                continue;
            };
            let (program, arguments) = match (&**program, arguments) {
                ("exec", [program, arguments @ ..]) => (program, arguments),
                _ => (program, arguments),
            };
            let first = arguments.first().map(String::as_str);
            status = match name(program.as_ref()) {
                ":" | "true" => 0,
                "false" => 1,
                "exit" => {
                    let given = first.map_or(Some(status), |first| first.parse().ok());
                    return given.ok_or_else(|| command.refuse(format!("exit {}", words.join(" "))));
                }
                "set" if arguments.iter().all(|word| is_option(word)) => {
                    self.at_once |= arguments
                        .iter()
                        .any(|word| word.starts_with('-') && word.contains('e'));
                    0
                }
                "grpc_health_probe" => (self.call)(Call::Probe(arguments)),
                "sleep" => (self.call)(Call::Pause(arguments)),
                "trireme" => (self.call)(Call::Own(words.iter().map(OsString::from).collect())),
                "sh" | "bash" | "ash" => self.run(arguments),
                script if Path::new(script).extension().is_some_and(|end| end == "sh") => self.file(program),
                _ => return Err(command.refuse(format!("{program:?}"))),
            };
            if self.at_once && status != 0 {
                break;
            }
        }
        Ok(status)
    }

    /// Puts variables in, and takes the assignments that a command begins with.
    fn expand(&mut self, command: &Words) -> Result<Vec<String>, Refused> {
        let mut words = Vec::new();
        let mut begun = false;
        for word in &command.words {
            let assigned = (!begun).then(|| assignment(word)).flatten();
            if let Some((name, parts)) = assigned {
                let value = parts.iter().map(|part| self.value(part)).collect();
                self.variables.insert(name, value);
                continue;
            }
            let split = self.split(word);
            // `export` is no more than what follows it.
            if !begun && split == ["export"] {
                continue;
            }
            begun |= !split.is_empty();
            words.extend(split);
        }
        Ok(words)
    }

    /// A word, or several where a variable outside of quotes holds spaces.
    fn split(&self, word: &Word) -> Vec<String> {
        let mut words = vec![String::new()];
        for part in &word.parts {
            let value = self.value(part);
            let whole = matches!(part, Part::Text(_) | Part::Variable { quoted: true, .. });
            if whole {
                if let Some(last) = words.last_mut() {
                    last.push_str(&value);
                }
                continue;
            }
            for (index, piece) in value.split([' ', '\t', '\n']).enumerate() {
                match words.last_mut() {
                    Some(last) if index == 0 => last.push_str(piece),
                    _ => words.push(piece.to_owned()),
                }
            }
        }
        if !word.quoted {
            words.retain(|word| !word.is_empty());
        }
        words
    }

    fn value(&self, part: &Part) -> String {
        match part {
            Part::Text(text) => text.clone(),
            Part::Variable {
                name,
                otherwise,
                empty_too,
                ..
            } => {
                let value = self.variables.get(name);
                let value = value.filter(|value| !(*empty_too && value.is_empty()));
                value.or(otherwise.as_ref()).cloned().unwrap_or_default()
            }
        }
    }
}

/// `-e`, `-eu`, `+x`, and the name that goes with `-o`.
fn is_option(word: &str) -> bool {
    word == "pipefail" || word.starts_with(['-', '+'])
}

/// `name=value` in front of a command.
fn assignment(word: &Word) -> Option<(String, Vec<Part>)> {
    let (Part::Text(first), rest) = word.parts.split_first()? else {
        return None;
    };
    let (name, value) = first.split_once('=')?;
    if !is_name(name) {
        return None;
    }
    let mut parts = vec![Part::Text(value.to_owned())];
    parts.extend_from_slice(rest);
    Some((name.to_owned(), parts))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn refuse(place: &str, reason: &str) -> u8 {
    eprintln!("{place}: {reason}");
    NOT_FOUND
}

// === impl Words ===

impl Words {
    fn refuse(&self, what: String) -> Refused {
        Refused {
            line: self.line,
            what,
        }
    }
}

/// Cuts a script into commands.
fn commands(text: &str) -> Result<Vec<Words>, Refused> {
    let mut reader = Reader {
        chars: text.chars().peekable(),
        line: 1,
    };
    let mut commands = Vec::new();
    let mut command = Words::default();
    while let Some(&next) = reader.chars.peek() {
        match next {
            ' ' | '\t' | '\r' => reader.skip(),
            '\n' | ';' => {
                reader.skip();
                commands.push(std::mem::take(&mut command));
            }
            '#' => {
                while reader.chars.peek().is_some_and(|c| *c != '\n') {
                    reader.skip();
                }
            }
            '\\' if reader.continued() => {}
            _ => {
                if command.words.is_empty() {
                    command.line = reader.line;
                }
                command.words.push(reader.word()?);
            }
        }
    }
    commands.push(command);
    commands.retain(|command| !command.words.is_empty());
    Ok(commands)
}

struct Reader<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn skip(&mut self) {
        if self.chars.next() == Some('\n') {
            self.line += 1;
        }
    }

    fn refuse<T>(&self, what: impl Into<String>) -> Result<T, Refused> {
        Err(Refused {
            line: self.line,
            what: what.into(),
        })
    }

    /// Takes a backslash at the end of a line with it, and says whether it was one.
    fn continued(&mut self) -> bool {
        let mut ahead = self.chars.clone();
        ahead.next();
        ahead.next_if_eq(&'\r');
        if ahead.next() != Some('\n') {
            return false;
        }
        self.line += 1;
        self.chars = ahead;
        true
    }

    fn word(&mut self) -> Result<Word, Refused> {
        let mut word = Word::default();
        while let Some(&next) = self.chars.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ';' => break,
                '|' | '&' | '<' | '>' | '(' | ')' | '`' | '*' | '?' | '[' | '{' | '}' | '!' | '~' => {
                    return self.refuse(format!("`{next}`"));
                }
                '\\' => {
                    if self.continued() {
                        continue;
                    }
                    self.skip();
                    let Some(escaped) = self.chars.next() else {
                        return self.refuse("`\\` at the end");
                    };
                    word.push(escaped);
                    word.quoted = true;
                }
                '\'' => {
                    self.skip();
                    word.quoted = true;
                    loop {
                        match self.chars.peek().copied() {
                            None => return self.refuse("a quote without an end"),
                            Some('\'') => break self.skip(),
                            Some(other) => {
                                word.push(other);
                                self.skip();
                            }
                        }
                    }
                }
                '"' => self.quoted(&mut word)?,
                '$' => {
                    let part = self.variable(false)?;
                    word.parts.push(part);
                }
                other => {
                    word.push(other);
                    self.skip();
                }
            }
        }
        Ok(word)
    }

    fn quoted(&mut self, word: &mut Word) -> Result<(), Refused> {
        self.skip();
        word.quoted = true;
        loop {
            match self.chars.peek().copied() {
                None => return self.refuse("a quote without an end"),
                Some('"') => {
                    self.skip();
                    return Ok(());
                }
                Some('`') => return self.refuse("`` ` ``"),
                Some('$') => {
                    let part = self.variable(true)?;
                    word.parts.push(part);
                }
                Some('\\') => {
                    if self.continued() {
                        continue;
                    }
                    self.skip();
                    match self.chars.next() {
                        Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                        Some(other) => {
                            word.push('\\');
                            word.push(other);
                        }
                        None => return self.refuse("a quote without an end"),
                    }
                }
                Some(other) => {
                    word.push(other);
                    self.skip();
                }
            }
        }
    }

    fn variable(&mut self, quoted: bool) -> Result<Part, Refused> {
        self.skip();
        let braces = self.chars.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        if !is_name(&name) {
            return self.refuse("`$` with no name behind it");
        }
        let (mut otherwise, mut empty_too) = (None, false);
        if braces {
            empty_too = self.chars.next_if_eq(&':').is_some();
            if self.chars.next_if_eq(&'-').is_some() {
                let mut text = String::new();
                while let Some(c) = self.chars.next_if(|c| !"}$`\"'\\\n".contains(*c)) {
                    text.push(c);
                }
                otherwise = Some(text);
            }
            if self.chars.next() != Some('}') || (empty_too && otherwise.is_none()) {
                return self.refuse(format!("${{{name}…}}"));
            }
        }
        Ok(Part::Variable {
            name,
            otherwise,
            empty_too,
            quoted,
        })
    }
}

// === impl Word ===

impl Word {
    fn push(&mut self, c: char) {
        if let Some(Part::Text(text)) = self.parts.last_mut() {
            text.push(c);
        } else {
            self.parts.push(Part::Text(c.to_string()));
        }
    }
}

#[cfg(test)]
mod tests;
