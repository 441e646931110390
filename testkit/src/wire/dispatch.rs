//! The table of what is served: from a request to the function that answers it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::{Buf as _, Bytes};
use futures::future::{BoxFuture, FutureExt as _, ready};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use super::api;
use super::bounded::{decode, header_version};
use super::call::{Call, Peer};
use super::frame::Answer;

/// An answer, or none if the client expects none; or why the connection ends.
pub(super) type Answered = Result<Option<Answer>, String>;

type Handle = Box<dyn Fn(Call, &Bytes) -> BoxFuture<'static, Answered> + Send + Sync>;

/// One API of the protocol, in the versions that are served whole.
pub(super) struct Api {
    key: ApiKey,
    versions: RangeInclusive<i16>,
    handle: Handle,
}

impl Api {
    /// One whose answer is there at once.
    pub(super) fn at_once<Q, R>(
        key: ApiKey,
        versions: RangeInclusive<i16>,
        answer: fn(&Call, &Q) -> R,
    ) -> Self
    where
        Q: Decodable + HeaderVersion + 'static,
        R: Encodable + HeaderVersion + 'static,
    {
        let handle = move |call: Call, body: &Bytes| {
            let answered = decode(body, call.version())
                .and_then(|request| Answer::of(&answer(&call, &request), call.version()).map(Some));
            ready(answered).boxed()
        };
        Self { key, versions, handle: Box::new(handle) }
    }

    /// One whose answer may have to wait. The connection reads no other request meanwhile.
    pub(super) fn in_time<Q, R, F>(
        key: ApiKey,
        versions: RangeInclusive<i16>,
        answer: fn(Call, Q) -> F,
    ) -> Self
    where
        Q: Decodable + HeaderVersion + Send + 'static,
        R: Encodable + HeaderVersion + Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let handle = move |call: Call, body: &Bytes| {
            let version = call.version();
            let response = decode(body, version).map(|request| answer(call, request));
            async move { Answer::of(&response?.await, version).map(Some) }.boxed()
        };
        Self { key, versions, handle: Box::new(handle) }
    }

    /// One that encodes its answer itself, or sends none.
    pub(super) fn encoded<Q, F>(
        key: ApiKey,
        versions: RangeInclusive<i16>,
        answer: fn(Call, Q) -> F,
    ) -> Self
    where
        Q: Decodable + HeaderVersion + Send + 'static,
        F: Future<Output = Answered> + Send + 'static,
    {
        let handle = move |call: Call, body: &Bytes| {
            let answered = decode(body, call.version()).map(|request| answer(call, request));
            async move { answered?.await }.boxed()
        };
        Self { key, versions, handle: Box::new(handle) }
    }
}

/// Every API that is served, by its key.
pub(super) struct Table(BTreeMap<i16, Api>);

impl Table {
    pub(super) fn new() -> Self {
        let apis = api::GROUPS.iter().flat_map(|apis| apis());
        Self(apis.map(|api| (api.key as i16, api)).collect())
    }

    /// The key and the versions of each API, ascending.
    pub(super) fn versions(&self) -> impl Iterator<Item = (i16, RangeInclusive<i16>)> + '_ {
        self.0.iter().map(|(&key, api)| (key, api.versions.clone()))
    }

    /// Answers one frame; gives its correlation id, too.
    ///
    /// # Errors
    /// Says why the connection ends: the API or the version is not served, or the bytes are wrong.
    pub(super) async fn answer(
        &self,
        peer: &Peer,
        mut frame: Bytes,
    ) -> Result<(i32, Option<Answer>), String> {
        let mut start = &frame[..];
        let (Ok(key), Ok(version)) = (start.try_get_i16(), start.try_get_i16()) else {
            return Err("a frame that is too short for a request".to_owned());
        };
        let api = self.0.get(&key).ok_or_else(|| format!("API {key} is not served"))?;
        if !api.versions.contains(&version) {
            if api.key == ApiKey::ApiVersions {
                return self.unsupported(start);
            }
            return Err(format!("version {version} of {:?} is not served", api.key));
        }
        let header = RequestHeader::decode(&mut frame, header_version(api.key, version))
            .map_err(|error| format!("{:?}: {error}", api.key))?;
        let call = Call::new(peer.clone(), version, header.client_id);
        let answer = (api.handle)(call, &frame).await;
        let answer = answer.map_err(|error| format!("{:?} {version}: {error}", api.key))?;
        Ok((header.correlation_id, answer))
    }

    /// A version of ApiVersions that is not known is answered in version 0 (KIP-511).
    fn unsupported(&self, mut rest: &[u8]) -> Result<(i32, Option<Answer>), String> {
        let correlation_id = rest.try_get_i32().map_err(|error| error.to_string())?;
        let answer = Answer::of(&api::versions::unsupported(self), 0)?;
        Ok((correlation_id, Some(answer)))
    }
}
