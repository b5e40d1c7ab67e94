//! The text layout: `2026-01-31 12:00:00.123 INFO  [trireme_router::app] message key=value`, one line whatever the
//! values hold.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::chain::chain;
use crate::escape;

/// A value longer than this says nothing more.
const MAX_VALUE_CHARS: usize = 4096;

pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        write_head(
            &mut writer,
            SystemTime::now(),
            *event.metadata().level(),
            event.metadata().target(),
        )?;
        writeln!(writer, "{}{}", fields.message, fields.rest)
    }
}

fn write_head(writer: &mut Writer<'_>, now: SystemTime, level: Level, target: &str) -> fmt::Result {
    let now = OffsetDateTime::from(now);
    let (date, time) = (now.date(), now.time());
    let (word, colour) = match level {
        Level::ERROR => ("ERROR", 31),
        Level::WARN => ("WARN ", 33),
        Level::INFO => ("INFO ", 32),
        Level::DEBUG => ("DEBUG", 34),
        Level::TRACE => ("TRACE", 35),
    };
    write!(
        writer,
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03} ",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )?;
    if writer.has_ansi_escapes() {
        write!(
            writer,
            "\u{1b}[{colour}m{word}\u{1b}[0m \u{1b}[2m[{target}]\u{1b}[0m "
        )
    } else {
        write!(writer, "{word} [{target}] ")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn append(&mut self, field: &Field, value: &str) {
        let value: String = value.chars().take(MAX_VALUE_CHARS).collect();
        match field.name() {
            "message" => escape::append_line(&mut self.message, &value),
            name => {
                self.rest.push(' ');
                self.rest.push_str(name.strip_prefix("r#").unwrap_or(name));
                self.rest.push('=');
                // Quotes keep a value with spaces apart from the next key.
                if value.is_empty() || value.contains([' ', '"', '=']) {
                    let mut quoted = Vec::new();
                    escape::append(&mut quoted, value.as_bytes());
                    self.rest.push('"');
                    self.rest.push_str(&String::from_utf8_lossy(&quoted));
                    self.rest.push('"');
                } else {
                    escape::append_line(&mut self.rest, &value);
                }
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A failing `Debug` leaves what it wrote so far, which is all there is to log.
        write!(text, "{value:?}").ok();
        self.append(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.append(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.append(field, &chain(value));
    }
}
