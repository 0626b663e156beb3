//! The one place where the broker writes lines for its operator. A line is made of words from this file, registered
//! model names and numbers: nothing of a peer, no key, no free text (I12).

use std::{
    io::Write,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use wire::ids::ModelId;

use crate::refusal::RefusalCode;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The audit log was verified and the listeners are open.
    Started,
    /// A listener accepts connections.
    Listening,
    /// A key was released.
    Released,
    /// A request got no key.
    Refused,
    /// A connection ended before it was a request.
    ConnectionFailed,
    /// A registration, disablement or rotation was recorded.
    Changed,
    /// A record could not be written.
    AuditUnavailable,
    /// The broker is stopping.
    Stopping,
    /// The broker has stopped.
    Stopped,
}

impl Event {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Listening => "listening",
            Self::Released => "released",
            Self::Refused => "refused",
            Self::ConnectionFailed => "connection-failed",
            Self::Changed => "changed",
            Self::AuditUnavailable => "audit-unavailable",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// One line.
#[must_use = "a line is written with Log::write"]
pub struct Line<'a> {
    event: Event,
    code: Option<&'static str>,
    what: Option<&'static str>,
    model: Option<&'a ModelId>,
    address: Option<SocketAddr>,
    audit_index: Option<u64>,
    duration: Option<Duration>,
}

impl<'a> Line<'a> {
    /// A line about `event`.
    pub fn new(event: Event) -> Self {
        Self {
            event,
            code: None,
            what: None,
            model: None,
            address: None,
            audit_index: None,
            duration: None,
        }
    }

    /// With the refusal's code.
    pub fn refusal(mut self, code: RefusalCode) -> Self {
        self.code = Some(code.as_str());
        self
    }

    /// With a code of this program.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// With a word of this program: a listener, an operation, an appraisal clause.
    pub fn what(mut self, what: &'static str) -> Self {
        self.what = Some(what);
        self
    }

    /// With the name of a registered model.
    pub fn model(mut self, model: &'a ModelId) -> Self {
        self.model = Some(model);
        self
    }

    /// With one of our own addresses.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// With the index of an audit entry.
    pub fn audit_index(mut self, index: u64) -> Self {
        self.audit_index = Some(index);
        self
    }

    /// With how long it took.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Every field holds only characters that JSON needs no escape for: words of this file, model ids, numbers.
    fn render(&self, json: bool, now_seconds: u64) -> String {
        let mut fields: Vec<(&str, String, bool)> = vec![("event", self.event.as_str().to_owned(), true)];
        fields.extend(self.what.map(|what| ("what", what.to_owned(), true)));
        fields.extend(self.code.map(|code| ("code", code.to_owned(), true)));
        fields.extend(self.model.map(|model| ("model", model.to_string(), true)));
        fields.extend(self.address.map(|address| ("address", address.to_string(), true)));
        fields.extend(
            self.audit_index
                .map(|index| ("audit_index", index.to_string(), false)),
        );
        fields.extend(
            self.duration
                .map(|took| ("microseconds", took.as_micros().to_string(), false)),
        );
        let mut text = if json {
            format!("{{\"time\":{now_seconds}")
        } else {
            now_seconds.to_string()
        };
        for (name, value, quoted) in fields {
            match (json, quoted) {
                (true, true) => text.push_str(&format!(",\"{name}\":\"{value}\"")),
                (true, false) => text.push_str(&format!(",\"{name}\":{value}")),
                (false, _) if name == "event" => text.push_str(&format!(" {value}")),
                (false, _) => text.push_str(&format!(" {name}={value}")),
            }
        }
        text.push_str(if json { "}\n" } else { "\n" });
        text
    }
}

/// Writes lines to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Log(Form);

#[derive(Clone, Copy, Debug)]
enum Form {
    Json,
    Plain,
    Nothing,
}

impl Log {
    /// A log of JSON lines, or of plain ones.
    pub fn new(json: bool) -> Self {
        Self(if json { Form::Json } else { Form::Plain })
    }

    /// A log that nobody reads, for a broker inside another program.
    pub fn discard() -> Self {
        Self(Form::Nothing)
    }

    /// Writes one line whole. A pipe that nobody reads any more costs the line, not the service.
    pub fn write(&self, line: Line<'_>) {
        let json = match self.0 {
            Form::Json => true,
            Form::Plain => false,
            Form::Nothing => return,
        };
        let now_seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let _ = std::io::stderr()
            .lock()
            .write_all(line.render(json, now_seconds).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_with_the_fields_of_the_allow_list() {
        let model = ModelId::new("meta/Llama-3.1:8b").expect("well-formed");
        let line = Line::new(Event::Refused)
            .refusal(RefusalCode::EvidenceRejected)
            .what("snp-measurement")
            .model(&model)
            .address("127.0.0.1:7443".parse().expect("an address"))
            .audit_index(7)
            .duration(Duration::from_micros(1500));
        let value: serde_json::Value = serde_json::from_str(&line.render(true, 5)).expect("JSON");
        let names: Vec<&str> = value
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            [
                "address",
                "audit_index",
                "code",
                "event",
                "microseconds",
                "model",
                "time",
                "what"
            ]
        );
        assert_eq!(value["model"], "meta/Llama-3.1:8b");
        assert_eq!(
            line.render(false, 5),
            "5 refused what=snp-measurement code=evidence-rejected model=meta/Llama-3.1:8b address=127.0.0.1:7443 audit_index=7 microseconds=1500\n"
        );
    }
}
