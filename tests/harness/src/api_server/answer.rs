//! Answers: pages of lists, and watches that go on until something ends them.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::objects::kind_of_path;
use super::request::Request;
use super::selector::selects;
use super::{ApiFault, Shared};

/// Serves the requests of a connection, one after the other, until it ends.
pub(super) fn converse(shared: &Shared, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let Ok(reading) = stream.try_clone() else { return };
    let mut reading = BufReader::new(reading);
    let mut answer = Answer { shared, stream };
    while let Ok(Some(request)) = Request::read(&mut reading) {
        // A client that is gone has its answer.
        if answer.give(&request).is_err() {
            return;
        }
    }
}

struct Answer<'a> {
    shared: &'a Shared,
    stream: TcpStream,
}

impl Answer<'_> {
    fn give(&mut self, request: &Request) -> io::Result<()> {
        let (fault, allowed) = {
            let mut state = self.shared.lock();
            state.requests.push(request.target.clone());
            let due = state.faults.iter().position(|(path, _)| *path == request.path);
            let fault = due.and_then(|index| state.faults.remove(index)).map(|(_, fault)| fault);
            let token = state.behaviour.token.clone();
            (fault, token.is_none() || token == request.token)
        };
        if !allowed {
            return self.status(401, "Unauthorized");
        }
        if let Some(ApiFault::Status(code)) = fault {
            return self.status(code, "told to fail");
        }
        if kind_of_path(&request.path).is_none() {
            return self.status(404, "no such kind");
        }
        if request.get("watch").is_some() { self.watch(request, fault) } else { self.list(request, fault) }
    }

    fn list(&mut self, request: &Request, fault: Option<ApiFault>) -> io::Result<()> {
        let (kind, api_version) = kind_of_path(&request.path).unwrap_or_default();
        let state = self.shared.lock();
        let (version, after) = match request.get("continue").and_then(|token| token.split_once(':')) {
            Some((version, name)) => (version.parse().unwrap_or_default(), Some(name.to_owned())),
            None => (state.objects.version(), None),
        };
        if state.objects.forgot(version) {
            drop(state);
            return self.status(410, "the continue token is too old");
        }
        let limit = request.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let limit = state.behaviour.page_max.min(limit);
        let (labels, fields) = (request.get("labelSelector"), request.get("fieldSelector"));
        let later = |name: &String| after.as_ref().is_none_or(|after| name > after);
        let selected = state.objects.of_path(&request.path);
        let mut selected =
            selected.filter(|(name, object)| later(name) && selects(&object.value, labels, fields));
        let mut items = Vec::new();
        let mut last = String::new();
        for (name, object) in selected.by_ref().take(limit) {
            items.push(object.text.clone());
            last.clone_from(name);
        }
        let rest = selected.by_ref().count();
        let mut metadata = json!({
            "resourceVersion": version.to_string(),
            "continue": if rest > 0 { format!("{version}:{last}") } else { String::new() },
        });
        if rest > 0 && labels.is_none() && fields.is_none() {
            metadata["remainingItemCount"] = rest.into();
        }
        drop(selected);
        drop(state);
        let text = format!(
            r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{metadata},"items":[{}]}}"#,
            items.join(",")
        );
        match fault {
            Some(ApiFault::Truncated) => self.whole(200, &text[..text.len() / 2]),
            Some(ApiFault::Silence) => self.silence(),
            _ => self.whole(200, &text),
        }
    }

    fn watch(&mut self, request: &Request, fault: Option<ApiFault>) -> io::Result<()> {
        let mut position: u64 =
            request.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or_default();
        let streamed = request.get("sendInitialEvents") == Some("true");
        if streamed && !self.shared.lock().behaviour.streaming {
            return self.status(422, "sendInitialEvents is forbidden for watch");
        }
        write!(
            self.stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        if streamed {
            position = self.initial_events(request)?;
        }
        match fault {
            Some(ApiFault::Truncated) => {
                self.raw("20\r\n{\"type\":\"ADDED\",\"obj")?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(ApiFault::Garbage) => self.chunk("{\"type\":\"ADDED\",\"object\":[}\n")?,
            Some(ApiFault::Event(code)) => {
                let status = json!({"kind": "Status", "code": code, "message": "told to fail", "reason": ""});
                self.line("ERROR", &status.to_string())?;
                return self.end();
            }
            Some(ApiFault::Silence) => return self.silence(),
            Some(ApiFault::Deaf) => return self.bookmarks(request, Some(position)),
            Some(ApiFault::Lossy) => return self.bookmarks(request, None),
            _ => {}
        }
        self.changes(request, position)
    }

    /// Every object, then the bookmark that says so.
    fn initial_events(&mut self, request: &Request) -> io::Result<u64> {
        let (texts, version) = {
            let state = self.shared.lock();
            let (labels, fields) = (request.get("labelSelector"), request.get("fieldSelector"));
            let selected = state.objects.of_path(&request.path);
            let selected = selected.filter(|(_, object)| selects(&object.value, labels, fields));
            let texts: Vec<String> = selected.map(|(_, object)| object.text.clone()).collect();
            (texts, state.objects.version())
        };
        let mut stream = io::BufWriter::new(self.stream.try_clone()?);
        for text in texts {
            let line = format!("{{\"type\":\"ADDED\",\"object\":{text}}}\n");
            write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
        }
        stream.flush()?;
        self.bookmark(request, version, r#","annotations":{"k8s.io/initial-events-end":"true"}"#)?;
        Ok(version)
    }

    /// Changes as they come, until the connection ends.
    fn changes(&mut self, request: &Request, mut position: u64) -> io::Result<()> {
        let (labels, fields) = (request.get("labelSelector"), request.get("fieldSelector"));
        let timeout = request.get("timeoutSeconds").and_then(|text| text.parse().ok()).unwrap_or(300);
        let deadline = Instant::now() + Duration::from_secs(timeout);
        loop {
            let state = self.shared.lock();
            if state.objects.forgot(position) {
                drop(state);
                let status = json!({"kind": "Status", "code": 410, "reason": "Expired",
                    "message": "too old resource version"});
                self.line("ERROR", &status.to_string())?;
                return self.end();
            }
            let changes = state.objects.after(&request.path, position);
            if changes.is_empty() {
                let every = state.behaviour.bookmark_every;
                let version = state.objects.version();
                let waited = self.shared.changed.wait_timeout(state, every);
                let (state, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
                let ended = state.down || state.ended;
                drop(state);
                if ended || self.stream.take_error()?.is_some() {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                if outcome.timed_out() {
                    self.bookmark(request, version, "")?;
                    position = version;
                }
                if Instant::now() >= deadline {
                    return self.end();
                }
                continue;
            }
            drop(state);
            for change in changes {
                position = change.version;
                if selects(&change.object.value, labels, fields) {
                    self.line(change.kind, &change.object.text)?;
                }
            }
        }
    }

    /// Bookmarks and nothing else, of one position or of whichever the server is at.
    fn bookmarks(&mut self, request: &Request, position: Option<u64>) -> io::Result<()> {
        loop {
            let (version, every) = {
                let state = self.shared.lock();
                if state.down || state.ended {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                (position.unwrap_or(state.objects.version()), state.behaviour.bookmark_every)
            };
            self.bookmark(request, version, "")?;
            thread::sleep(every);
        }
    }

    fn bookmark(&mut self, request: &Request, version: u64, more: &str) -> io::Result<()> {
        let (kind, api_version) = kind_of_path(&request.path).unwrap_or_default();
        let object = format!(
            r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{version}"{more}}}}}"#
        );
        self.line("BOOKMARK", &object)
    }

    fn line(&mut self, kind: &str, object: &str) -> io::Result<()> {
        self.chunk(&format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"))
    }

    fn chunk(&mut self, text: &str) -> io::Result<()> {
        self.raw(&format!("{:x}\r\n{text}\r\n", text.len()))
    }

    fn end(&mut self) -> io::Result<()> {
        self.raw("0\r\n\r\n")
    }

    fn raw(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    fn status(&mut self, code: u16, message: &str) -> io::Result<()> {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": "", "code": code});
        self.whole(code, &status.to_string())
    }

    fn whole(&mut self, code: u16, text: &str) -> io::Result<()> {
        let length = text.len();
        self.raw(&format!(
            "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{text}"
        ))
    }

    /// Says nothing until the client gives up.
    fn silence(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream.try_clone()?, &mut io::sink())?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}
