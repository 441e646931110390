//! ApiVersions: what is served.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use crate::wire::call::Call;
use crate::wire::dispatch::{Api, Table};

pub(super) fn apis() -> Vec<Api> {
    vec![Api::at_once(ApiKey::ApiVersions, 0..=4, api_versions)]
}

fn api_versions(call: &Call, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    if call.version() >= 3 {
        let is_name = |text: &str| {
            let inner = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
            text.chars().all(inner)
                && text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        if !is_name(&request.client_software_name) || !is_name(&request.client_software_version) {
            return ApiVersionsResponse::default()
                .with_error_code(ResponseError::InvalidRequest.code());
        }
    }
    let mut response = served(call.cluster().table());
    response.finalized_features_epoch = -1;
    response
}

/// What a client that asks in too new a version is answered.
pub(in crate::wire) fn unsupported(table: &Table) -> ApiVersionsResponse {
    served(table).with_error_code(ResponseError::UnsupportedVersion.code())
}

fn served(table: &Table) -> ApiVersionsResponse {
    let versions = table.versions().map(|(key, versions)| {
        // As Kafka 4 does, although it takes none before 3: older librdkafka (2.6) looks for 0, and
        // does not compress where it is missing (KAFKA-18659).
        let is_produce = key == ApiKey::Produce as i16;
        ApiVersion::default()
            .with_api_key(key)
            .with_min_version(if is_produce { 0 } else { *versions.start() })
            .with_max_version(*versions.end())
    });
    ApiVersionsResponse::default().with_api_keys(versions.collect())
}
