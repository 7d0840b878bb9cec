use super::commands::{ExecStatus, exec, exec_status_of, set_time, shutdown};
use super::*;

const NOW: Instant = Instant::from_ns(1000);

/// The id in the `guest-sync-delimited` that the agent was just sent.
fn sync_id(outgoing: &[u8]) -> u64 {
    let (delimiter, line) = outgoing.split_first().unwrap();
    assert_eq!(*delimiter, DELIMITER);
    let message: Value = serde_json::from_slice(line).unwrap();
    assert_eq!(message["execute"], "guest-sync-delimited");
    message["arguments"]["id"].as_u64().unwrap()
}

fn up() -> Agent {
    let mut agent = Agent::new();
    agent.opened(Beginning::Opened, NOW);
    let id = sync_id(&agent.take_outgoing());
    agent.received(format!("\u{0}{{\"return\": {id}}}\n").as_bytes(), NOW);
    assert!(!agent.is_up(), "an answer without delimiter belongs to an older session");
    agent.received(b"rest of an old answer}\n\xff", NOW);
    agent.received(format!("{{\"return\": {id}}}\n").as_bytes(), NOW);
    assert!(matches!(agent.next_event(), Some(AgentEvent::Up)));
    agent
}

fn answer(agent: &mut Agent) -> Result<Value, AgentError> {
    match agent.next_event() {
        Some(AgentEvent::Answered { result, .. }) => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_become_results() {
    let check = |said: &str, expected: Result<Value, AgentError>| {
        let mut agent = up();
        agent.call(exec("/bin/true", &[]), NOW).unwrap();
        let sent: Value = serde_json::from_slice(&agent.take_outgoing()).unwrap();
        assert_eq!(sent["execute"], "guest-exec");
        for byte in said.as_bytes() {
            agent.received(&[*byte], NOW);
        }
        assert_eq!(answer(&mut agent), expected, "{said}");
    };
    check("{\"return\": {\"pid\": 7}}\r\n", Ok(json!({ "pid": 7 })));
    let (class, description) = ("GenericError".to_owned(), "no such file".to_owned());
    let refused = AgentError::Refused { command: "guest-exec", class, description };
    check("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such file\"}}\n", Err(refused));
    let answer = "nonsense".to_owned();
    check("nonsense\n", Err(AgentError::Malformed { command: "guest-exec", answer }));
}

#[test]
fn one_command_at_a_time_in_order() {
    let mut agent = up();
    let first = agent.call(set_time(1), NOW).unwrap();
    let second = agent.call(set_time(2), NOW).unwrap();
    assert_eq!(agent.take_outgoing().iter().filter(|byte| **byte == b'\n').count(), 1);
    agent.received(b"{\"return\": {}}\n", NOW);
    assert!(matches!(agent.next_event(), Some(AgentEvent::Answered { call, .. }) if call == first));
    assert!(String::from_utf8(agent.take_outgoing()).unwrap().contains("\"time\":2"));
    agent.received(b"{\"return\": {}}\n", NOW);
    assert!(
        matches!(agent.next_event(), Some(AgentEvent::Answered { call, .. }) if call == second)
    );
}

#[test]
fn a_late_answer_is_not_taken_for_the_next_one() {
    let mut agent = up();
    agent.call(set_time(1), NOW).unwrap();
    agent.call(exec("/bin/true", &[]), NOW).unwrap();
    agent.take_outgoing();
    let late = agent.deadline().unwrap();
    agent.expire(late);
    assert!(matches!(answer(&mut agent), Err(AgentError::Timeout { .. })));
    assert!(matches!(agent.next_event(), Some(AgentEvent::Down)));
    agent.received(b"{\"return\": {}}\n", late);
    assert!(agent.next_event().is_none());
    let id = sync_id(&agent.take_outgoing());
    agent.received(format!("x{{\"return\": {id}}}\n").replace('x', "").as_bytes(), late);
    assert!(!agent.is_up());
    agent.received(b"\xff", late);
    agent.received(format!("{{\"return\": {id}}}\n").as_bytes(), late);
    assert!(agent.is_up());
    assert!(String::from_utf8(agent.take_outgoing()).unwrap().contains("guest-exec"));
}

/// An agent that hears byte by byte and answers as `qemu-ga` does: one command after the other, and
/// an error for what a delimiter cuts off. For exchanges that are cut at every byte.
#[derive(Clone, Default)]
struct FakeAgent {
    line: Vec<u8>,
}

impl FakeAgent {
    fn hears(&mut self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().flat_map(|byte| self.hears_byte(*byte)).collect()
    }

    fn hears_byte(&mut self, byte: u8) -> Vec<u8> {
        let line = match byte {
            DELIMITER | b'\n' => std::mem::take(&mut self.line),
            _ => {
                self.line.push(byte);
                return Vec::new();
            }
        };
        let Ok(message) = serde_json::from_slice::<Value>(&line) else {
            let error = json!({ "class": "GenericError", "desc": "JSON parse error" });
            return format!("{}\n", json!({ "error": error })).into_bytes();
        };
        let (delimiter, value): (&[u8], _) = match message["execute"].as_str() {
            Some("guest-sync-delimited") => (&[DELIMITER], message["arguments"]["id"].clone()),
            _ => (b"", json!({ "pid": message["arguments"]["arg"][0] })),
        };
        [delimiter, format!("{}\n", json!({ "return": value })).as_bytes()].concat()
    }
}

#[test]
fn a_session_begins_anywhere_in_anothers_exchange() {
    let mut recorded = Agent::new();
    recorded.opened(Beginning::Opened, NOW);
    let mut sent = recorded.take_outgoing();
    recorded.received(&FakeAgent::default().hears(&sent), NOW);
    recorded.call(exec("/bin/sh", &["old".to_owned()]), NOW).unwrap();
    sent.extend(recorded.take_outgoing());
    // Of what the recorded session sent, the agent has read a part, the rest waits at the port or
    // never arrives; of its answers, a part was taken by the recorded session.
    for (sent_cut, read) in (0..=sent.len()).flat_map(|cut| (0..=cut).map(move |read| (cut, read)))
    {
        let mut fake = FakeAgent::default();
        let said = fake.hears(&sent[..read]);
        for taken in [0, 1, said.len() / 2, said.len()] {
            let (mut fake, mut agent) = (fake.clone(), Agent::new());
            agent.opened(Beginning::ThrowAway, NOW);
            agent.call(exec("/bin/sh", &["new".to_owned()]), NOW).unwrap();
            agent.received(&said[taken.min(said.len())..], NOW);
            agent.received(&fake.hears(&sent[read..sent_cut]), NOW);
            loop {
                let bytes = agent.take_outgoing();
                if bytes.is_empty() {
                    break;
                }
                for byte in fake.hears(&bytes) {
                    agent.received(&[byte], NOW);
                }
            }
            let place = (sent_cut, read, taken);
            assert!(matches!(agent.next_event(), Some(AgentEvent::Up)), "at {place:?}");
            assert_eq!(answer(&mut agent), Ok(json!({ "pid": "new" })), "at {place:?}");
        }
    }
}

#[test]
fn a_sync_that_nobody_awaits_is_no_answer() {
    let mut agent = up();
    agent.call(set_time(1), NOW).unwrap();
    agent.received(b"\xff{\"return\": 77}\n{\"return\": {}}\n", NOW);
    assert_eq!(answer(&mut agent), Ok(json!({})));
    assert!(agent.is_up());
}

#[test]
fn a_shutdown_that_is_not_refused_has_worked() {
    let check = |event: fn(&mut Agent), works: bool| {
        let mut agent = up();
        agent.call(shutdown(), NOW).unwrap();
        event(&mut agent);
        assert_eq!(answer(&mut agent).is_ok(), works);
    };
    check(Agent::closed, true);
    check(|agent| agent.expire(agent.deadline().unwrap()), true);
    check(
        |agent| agent.received(b"{\"error\": {\"class\": \"X\", \"desc\": \"y\"}}\n", NOW),
        false,
    );
}

#[test]
fn a_deaf_agent_is_given_up_and_a_new_one_welcomed() {
    let mut agent = Agent::new();
    agent.opened(Beginning::Opened, NOW);
    agent.call(set_time(1), NOW).unwrap();
    let mut ids = Vec::new();
    while let Some(deadline) = agent.deadline() {
        ids.push(sync_id(&agent.take_outgoing()));
        agent.expire(deadline);
    }
    assert_eq!(ids.len(), SYNCS_MAX as usize);
    ids.dedup();
    assert_eq!(ids.len(), SYNCS_MAX as usize, "an id was used twice");
    assert_eq!(answer(&mut agent), Err(AgentError::Absent));
    assert_eq!(agent.call(set_time(1), NOW), Err(AgentError::Absent));
    agent.closed();
    agent.opened(Beginning::Opened, NOW);
    assert!(agent.call(set_time(1), NOW).is_ok());
}

#[test]
fn what_is_asked_early_waits_for_the_guest() {
    let mut agent = Agent::new();
    agent.call(set_time(7), NOW).unwrap();
    agent.opened(Beginning::Opened, NOW);
    let id = sync_id(&agent.take_outgoing());
    agent.received(format!("\n{{\"return\": {id}}}\n").as_bytes(), NOW);
    assert!(!agent.is_up());
    agent.received(&[b"\xff", format!("{{\"return\": {id}}}\n").as_bytes()].concat(), NOW);
    assert!(String::from_utf8(agent.take_outgoing()).unwrap().contains("\"time\":7"));
    agent.received(b"{\"return\": {}}\n", NOW);
    assert!(matches!(agent.next_event(), Some(AgentEvent::Up)));
    assert!(answer(&mut agent).is_ok());
}

#[test]
fn limits_hold() {
    let mut agent = up();
    for _ in 0..=WAITING_MAX {
        agent.call(set_time(1), NOW).unwrap();
    }
    assert_eq!(agent.call(set_time(1), NOW), Err(AgentError::Busy));
    agent.received(&vec![b'x'; LINE_BYTES_MAX + 1], NOW);
    assert!(matches!(answer(&mut agent), Err(AgentError::Malformed { .. })));
    assert!(!agent.is_up());
}

#[test]
fn exit_statuses_are_a_shells() {
    let check = |answer: Value, expected: Option<ExecStatus>| {
        assert_eq!(exec_status_of(&answer).ok(), expected, "{answer}");
    };
    check(json!({ "exited": false }), Some(ExecStatus::Running));
    check(json!({ "exited": true, "exitcode": 0 }), Some(ExecStatus::Exited(0)));
    check(json!({ "exited": true, "exitcode": 3 }), Some(ExecStatus::Exited(3)));
    check(json!({ "exited": true, "exitcode": 256 }), Some(ExecStatus::Exited(255)));
    check(json!({ "exited": true, "signal": 9 }), Some(ExecStatus::Exited(137)));
    check(json!({ "exited": true }), None);
    check(json!({ "exited": 1 }), None);
    check(Value::Null, None);
}

#[test]
fn hostile_agents_never_panic() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let pieces: [&[u8]; 9] =
        [b"{", b"}", b"\xff", b"\n", b"{\"return\":", b"\"", b"{\"error\":{}}\n", b"7", b"[[[["];
    for round in 0..2000 {
        let mut agent = if round % 2 == 0 { up() } else { Agent::new() };
        agent.opened(Beginning::Opened, NOW);
        let mut now = NOW;
        for _ in 0..50 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            agent.received(pieces[(state >> 33) as usize % pieces.len()], now);
            if state >> 62 == 0 {
                let _ = agent.call(set_time(1), now);
            }
            if let Some(deadline) = agent.deadline().filter(|_| state >> 60 == 1) {
                now = deadline;
                agent.expire(now);
            }
        }
        agent.closed();
        let answered = std::iter::from_fn(|| agent.next_event())
            .filter(|event| matches!(event, AgentEvent::Answered { .. }));
        assert_eq!(answered.count() as u64, agent.calls, "each call has one answer");
    }
}
