//! Faults at work: what becomes of a connection and of a request.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::Decodable as _;
use tokio::time::{Instant, sleep};

use super::fault::{FaultAct, FaultMoment};
use super::refusals::Refused;
use super::rules::Scene;
use super::subject::Subject;
use crate::wire::bounded::header_version;
use crate::wire::call::Peer;
use crate::wire::frame::Answer;
use crate::wire::witness::WireRequest;

/// What a connection knows of itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::wire) struct Counts {
    /// Its number, from 1 in the order in which they came.
    pub(in crate::wire) connection: u64,
}

/// What a client gets.
pub(in crate::wire) enum Reply {
    Whole(i32, Answer),
    /// The first half, and then the connection is cut.
    Half(i32, Answer),
    /// Nothing, and the connection goes on.
    Nothing,
    /// Nothing ever; the connection stays until the client closes it.
    Stall,
    Cut,
}

/// A request as far as faults see it.
struct Request {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client: String,
    body: Bytes,
}

impl Request {
    /// None if the table will refuse it.
    fn read(mut frame: Bytes) -> Option<Self> {
        let mut start = &frame[..];
        let (key, version) = (start.try_get_i16().ok()?, start.try_get_i16().ok()?);
        let api = ApiKey::try_from(key).ok()?;
        let versions = api.valid_versions();
        if !(versions.min..=versions.max).contains(&version) {
            return None;
        }
        let header = RequestHeader::decode(&mut frame, header_version(api, version)).ok()?;
        let client = header.client_id.map(|id| id.to_string()).unwrap_or_default();
        Some(Self { api, version, correlation_id: header.correlation_id, client, body: frame })
    }

    const fn seen<'a>(&'a self, subject: &'a Subject) -> WireRequest<'a> {
        WireRequest {
            api: self.api as i16,
            version: self.version,
            client: self.client.as_str(),
            body: &self.body,
            subject,
        }
    }
}

/// All that strikes at one moment.
#[derive(Default)]
struct Verdict {
    before: Duration,
    after: Duration,
    end: Option<FaultAct>,
    /// What changes around the request.
    changes: Vec<FaultAct>,
}

impl Verdict {
    fn of(acts: Vec<FaultAct>) -> Self {
        let mut verdict = Self::default();
        for act in acts {
            match act {
                FaultAct::Delay(delay) => verdict.before = verdict.before.saturating_add(delay),
                FaultAct::ApplyThenDelay(delay) => {
                    verdict.after = verdict.after.saturating_add(delay);
                }
                FaultAct::Error(_)
                | FaultAct::ApplyThenError(_)
                | FaultAct::Stall
                | FaultAct::ApplyThenStall
                | FaultAct::DisconnectBefore
                | FaultAct::DisconnectWithin
                | FaultAct::ApplyThenDisconnect => {
                    verdict.end.get_or_insert(act);
                }
                FaultAct::NodeAway(_)
                | FaultAct::MoveLeaders
                | FaultAct::MoveCoordinators
                | FaultAct::ExpelMember
                | FaultAct::ExpelGroup
                | FaultAct::FenceProducer
                | FaultAct::TimeOutTransaction
                | FaultAct::Retain(_) => verdict.changes.push(act),
            }
        }
        verdict
    }
}

/// Judges a new connection; says whether it is to be served.
pub(in crate::wire) async fn greet(peer: &Peer, counts: Counts) -> Reply {
    let faults = peer.cluster.faults();
    if faults.is_empty() {
        return Reply::Nothing;
    }
    let subject = Subject::default();
    let scene = Scene {
        moment: FaultMoment::Connect,
        node: peer.node_id,
        connection: counts.connection,
        client: "",
        subject: &subject,
    };
    let verdict = Verdict::of(faults.judge(&scene));
    change(peer, &verdict.changes, &subject);
    sleep(verdict.before.saturating_add(verdict.after)).await;
    match verdict.end {
        None => Reply::Nothing,
        Some(FaultAct::Stall | FaultAct::ApplyThenStall) => Reply::Stall,
        Some(_) => Reply::Cut,
    }
}

/// Answers a request, unless a fault strikes.
///
/// # Errors
/// As [`Table::answer`](crate::wire::dispatch::Table::answer).
pub(in crate::wire) async fn answer(
    peer: &Peer,
    counts: Counts,
    frame: Bytes,
) -> Result<Reply, String> {
    let faults = peer.cluster.faults();
    let witness = peer.cluster.settings().witness.as_deref();
    if faults.is_empty() && witness.is_none() {
        return apply(peer, frame).await;
    }
    let Some(request) = Request::read(frame.clone()) else { return apply(peer, frame).await };
    let subject = match faults.asks_for_names() || witness.is_some() {
        true => {
            let broker = peer.cluster.broker();
            Subject::of(broker, request.api, request.version, &request.body)
        }
        false => Subject::default(),
    };
    let scene = Scene {
        moment: FaultMoment::Api(request.api as i16),
        node: peer.node_id,
        connection: counts.connection,
        client: &request.client,
        subject: &subject,
    };
    let mut acts = faults.judge(&scene);
    let seen = request.seen(&subject);
    if let Some(witness) = witness {
        acts.extend(witness.on_request(&seen));
    }
    let verdict = Verdict::of(acts);
    change(peer, &verdict.changes, &subject);
    if peer.cluster.placement().is_away(peer.node_id) {
        return Ok(Reply::Cut);
    }
    if !verdict.before.is_zero() {
        sleep(verdict.before).await;
    }
    let reply = match verdict.end {
        Some(FaultAct::Stall) => Reply::Stall,
        Some(FaultAct::DisconnectBefore) => Reply::Cut,
        Some(FaultAct::Error(code)) => refuse(&request, code),
        end => {
            let reply = apply(peer, frame).await?;
            if let Some(witness) = witness {
                witness.on_applied(&seen);
            }
            end_with(end, &request, reply)
        }
    };
    if !verdict.after.is_zero() {
        sleep(verdict.after).await;
    }
    Ok(reply)
}

/// What becomes of the answer to a request that was applied.
fn end_with(end: Option<FaultAct>, request: &Request, reply: Reply) -> Reply {
    match (end, reply) {
        (Some(FaultAct::ApplyThenStall), _) => Reply::Stall,
        (Some(FaultAct::ApplyThenDisconnect), _) => Reply::Cut,
        (Some(FaultAct::ApplyThenError(code)), _) => refuse(request, code),
        (Some(FaultAct::DisconnectWithin), Reply::Whole(id, answer)) => Reply::Half(id, answer),
        (Some(FaultAct::DisconnectWithin), _) => Reply::Cut,
        (_, reply) => reply,
    }
}

async fn apply(peer: &Peer, frame: Bytes) -> Result<Reply, String> {
    let (correlation_id, answer) = peer.cluster.table().answer(peer, frame).await?;
    Ok(answer.map_or(Reply::Nothing, |answer| Reply::Whole(correlation_id, answer)))
}

fn refuse(request: &Request, code: i16) -> Reply {
    let refused = Refused { version: request.version, body: &request.body, code };
    let answer = refused.answer(request.api);
    answer.map_or(Reply::Cut, |answer| Reply::Whole(request.correlation_id, answer))
}

/// Changes the world around a request.
fn change(peer: &Peer, acts: &[FaultAct], subject: &Subject) {
    let cluster = &peer.cluster;
    for act in acts {
        match *act {
            FaultAct::NodeAway(time) => cluster.placement().take_away(peer.node_id, Some(time)),
            FaultAct::MoveLeaders => cluster.placement().move_leaders(),
            FaultAct::MoveCoordinators => cluster.placement().move_coordinators(),
            FaultAct::ExpelMember => cluster.broker().change(|state| {
                for (group, member) in subject.groups.iter().zip(&subject.members) {
                    state.expel(group, Some(member), Instant::now());
                }
            }),
            FaultAct::ExpelGroup => cluster.broker().change(|state| {
                for group in &subject.groups {
                    state.expel(group, None, Instant::now());
                }
            }),
            FaultAct::FenceProducer => cluster.broker().change(|state| {
                for id in &subject.transactional_ids {
                    state.fence_newest_producer(&id.as_str().into());
                }
            }),
            FaultAct::TimeOutTransaction => cluster.broker().change(|state| {
                for id in &subject.transactional_ids {
                    state.fence_producer(&id.as_str().into());
                }
            }),
            FaultAct::Retain(records) => cluster.broker().change(|state| {
                for partition in &subject.partitions {
                    if let Some(log) = state.log_mut(partition) {
                        let end = log.end();
                        log.truncate(end.saturating_sub_unsigned(records));
                    }
                }
            }),
            _ => {}
        }
    }
}
