//! ApiVersions: what is served.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

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
    if call.version() >= FEATURES_SINCE {
        add_features(&mut response, call.version());
    }
    response
}

/// The first version that names features, and the first that takes 0 for the lowest level of one.
const FEATURES_SINCE: i16 = 3;
const ZERO_SINCE: i16 = 4;

/// The features of the cluster, with the highest level of each, which is the finalised one.
const FEATURES: &[(&str, i16)] = &[
    // Transactions of the second generation (KIP-890).
    ("transaction.version", 2),
];

fn add_features(response: &mut ApiVersionsResponse, version: i16) {
    let lowest = if version < ZERO_SINCE { 1 } else { 0 };
    for &(name, level) in FEATURES {
        let name = StrBytes::from_static_str(name);
        let supported = SupportedFeatureKey::default()
            .with_name(name.clone())
            .with_min_version(lowest)
            .with_max_version(level);
        let finalized = FinalizedFeatureKey::default()
            .with_name(name)
            .with_min_version_level(level)
            .with_max_version_level(level);
        response.supported_features.push(supported);
        response.finalized_features.push(finalized);
    }
    response.finalized_features_epoch = 1;
}

/// What a client that asks in too new a version is answered: which ones it may ask in.
pub(in crate::wire) fn unsupported(table: &Table) -> ApiVersionsResponse {
    let mut response = served(table).with_error_code(ResponseError::UnsupportedVersion.code());
    response.api_keys.retain(|api| api.api_key == ApiKey::ApiVersions as i16);
    response
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
